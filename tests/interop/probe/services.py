"""What later RFCs added: rapid commit (4039), IPv6-only preferred (8925), lease queries (4388), and the check before an address is offered.

Served: as for protocol.py, with rapid commit, option 108 = 300 s, and lease queries from 10.77.2.5.
"""

from wire import SERVER, SILENCE, case, octets, run

KNOWN, KNOWN_TOO = "52:54:00:77:cd:01", "52:54:00:77:cd:02"
CONCENTRATOR = "10.77.2.5"


@case(reply="ACK 10.77.2.60", option="", lease=3600)
def rapid_commit_takes_two_messages(wire):
    ack = wire.discover(KNOWN, [(80, b"")])
    return {"reply": ack, "option": ack.hex(80), "lease": ack.number(51)}


@case(reply="OFFER 10.77.2.60", option=None)
def four_messages_without_rapid_commit(wire):
    offer = wire.discover(KNOWN)
    return {"reply": offer, "option": offer.hex(80)}


@case(wanted="0000012c", unwanted=None)
def ipv6_only_is_told_to_who_asks(wire):
    wanted = wire.discover(KNOWN, [("param_req_list", [1, 108])])
    unwanted = wire.discover(KNOWN, [("param_req_list", [1])])
    return {"wanted": wanted.hex(108), "unwanted": unwanted.hex(108)}


@case(offered="another")
def an_address_that_somebody_uses_is_not_offered(wire):
    wire.owned = {"10.77.2.171"}
    offer = wire.discover(wire.mac(), [("requested_addr", "10.77.2.171")])
    return {"offered": "that" if offer.address == "10.77.2.171" else "another"}


# A server that has not answered the first query answers none.
QUERY_PATIENCE = [30.0]


def query(wire, options=(), giaddr=CONCENTRATOR, chaddr=bytes(16), **fields):
    wire.owned = {CONCENTRATOR}
    hardware = {"chaddr": chaddr, "htype": 1 if any(chaddr) else 0, "hlen": 6 if any(chaddr) else 0}
    fields |= hardware | {"sport": 67, "to": SERVER, "ip": CONCENTRATOR, "giaddr": giaddr}
    reply = wire.ask(wire.mac(), [(53, b"\x0a"), *options], patience=QUERY_PATIENCE[0], **fields)
    if reply is None:
        QUERY_PATIENCE[0] = SILENCE
    return reply


def told(reply):
    return f"{reply.kind} {reply.bootp.ciaddr}" if reply else "silence"


@case(reply="LEASEACTIVE 10.77.2.61 of 52540077cd02, 0152540077cd02, time left, to 10.77.2.5:67")
def a_lease_is_found_by_its_address(wire):
    wire.lease(KNOWN_TOO, [(61, bytes.fromhex("0152540077cd02"))])
    reply = query(wire, [(55, bytes([51, 61, 91]))], ciaddr="10.77.2.61")
    if reply is None:
        return {"reply": "silence"}
    left = "time left" if 0 < (reply.number(51) or 0) <= 3600 else "no time left"
    client = f"{bytes(reply.bootp.chaddr)[:6].hex()}, {reply.hex(61)}"
    return {"reply": f"{told(reply)} of {client}, {left}, to {reply.to.split(', ')[1]}"}


@case(reply="LEASEACTIVE 10.77.2.60")
def a_lease_is_found_by_the_hardware_address(wire):
    wire.lease(KNOWN)
    return {"reply": told(query(wire, chaddr=bytes.fromhex(KNOWN.replace(":", "")).ljust(16, b"\0")))}


@case(reply="LEASEACTIVE 10.77.2.61")
def a_lease_is_found_by_the_client_identifier(wire):
    wire.lease(KNOWN_TOO, [(61, bytes.fromhex("0152540077cd02"))])
    return {"reply": told(query(wire, [(61, bytes.fromhex("0152540077cd02"))]))}


@case(replies="LEASEUNASSIGNED, LEASEUNKNOWN, LEASEUNKNOWN, LEASEUNKNOWN", options="53 54")
def a_query_for_what_is_not_leased(wire):
    kind = lambda reply: reply.kind if reply else "silence"
    free, foreign = query(wire, ciaddr="10.77.2.199"), query(wire, ciaddr="192.0.2.9")
    nobody = query(wire, chaddr=bytes.fromhex("525400ffffff").ljust(16, b"\0"))
    unnamed = query(wire, [(61, b"\0nobody")])
    replies = ", ".join(kind(reply) for reply in (free, foreign, nobody, unnamed))
    return {"replies": replies, "options": " ".join(map(str, unnamed.order)) if unnamed else None}


@case(reply="silence")
def nobody_else_may_query(wire):
    reply = query(wire, ciaddr="10.77.2.60", giaddr="10.77.2.6")
    return {"reply": reply.kind if reply else "silence"}


run()
