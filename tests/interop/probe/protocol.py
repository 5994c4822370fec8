"""The states of a client without a relay: RFC 2131 §3 and §4.3, and what odd clients do.

Served: 10.77.2.0/24, pool .100-.199, leases of 3600 s (300 to 86400), .60 reserved with the host name node-1 for 52:54:00:77:cd:01,
.61 for 52:54:00:77:cd:02.
"""

from wire import BROADCAST, LONG_SILENCE, MAGIC, SERVER, case, dotted, octets, run

KNOWN, KNOWN_TOO = "52:54:00:77:cd:01", "52:54:00:77:cd:02"


def of_pool(reply):
    number = int(reply.address.split(".")[3])
    return f"{reply.kind} in the pool" if 100 <= number <= 199 else str(reply)


@case(
    reply="OFFER 10.77.2.60",
    to="unicast frame, 10.77.2.60:68",
    server=SERVER,
    lease=3600,
    t1="a half",
    t2="seven eighths",
    mask="255.255.255.0",
    router="10.77.2.1",
    host="node-1",
    least_octets=True,
    end_before_pads=True,
)
def a_reserved_client_is_offered_its_address(wire):
    offer = wire.discover(KNOWN, [("param_req_list", [1, 3, 12, 58, 59])])
    # A thirty-second part earlier or later: machines are not to come back all at once.
    about = lambda code, seconds, name: name if abs(offer.number(code) - seconds) <= 3600 / 32 else offer.number(code)
    return {
        "reply": offer,
        "to": offer.to,
        "server": offer.addresses(54),
        "lease": offer.number(51),
        "t1": about(58, 1800, "a half"),
        "t2": about(59, 3150, "seven eighths"),
        "mask": offer.addresses(1),
        "router": offer.addresses(3),
        "host": offer.text(12),
        "least_octets": len(offer.udp) >= 300,
        "end_before_pads": offer.end is not None and not any(offer.udp[offer.end + 1 :]),
    }


@case(reply="OFFER 10.77.2.60", to="broadcast frame, 255.255.255.255:68", flags="0x8000")
def the_broadcast_flag_is_obeyed_and_echoed(wire):
    offer = wire.discover(KNOWN, flags=0x8000)
    return {"reply": offer, "to": offer.to, "flags": f"{int(offer.bootp.flags):#06x}"}


@case(offer="OFFER 10.77.2.60", to="unicast frame, 10.77.2.60:68")
def what_a_discover_says_in_ciaddr_is_not_believed(wire):
    wire.owned = set()
    offer = wire.discover(KNOWN, ciaddr="10.77.2.77")
    return {"offer": offer, "to": offer.to}


@case(ack="ACK 10.77.2.60", lease=3600, ciaddr="0.0.0.0")
def selecting_is_acknowledged(wire):
    ack = wire.lease(KNOWN)
    return {"ack": ack, "lease": ack.number(51), "ciaddr": ack.bootp.ciaddr}


@case(other="silence", again="ACK 10.77.2.60")
def a_request_for_another_server_is_not_answered(wire):
    offer = wire.discover(KNOWN)
    other = wire.silent(
        KNOWN, [("message-type", "request"), ("requested_addr", offer.address), ("server_id", "10.77.2.9")]
    )
    return {"other": other, "again": wire.lease(KNOWN)}


@case(reply="NAK", to="broadcast frame, 255.255.255.255:68", yiaddr="0.0.0.0", lease=None, server=SERVER)
def a_known_client_from_another_network_is_refused(wire):
    wire.lease(KNOWN)
    nak = wire.request(KNOWN, [("requested_addr", "192.0.2.7")])
    seen = {"reply": nak, "to": nak.to, "yiaddr": nak.address, "lease": nak.number(51)}
    return seen | {"server": nak.addresses(54)}


@case(reply="NAK")
def a_stranger_from_another_network_is_refused_by_an_authoritative_server(wire):
    return {"reply": wire.request(wire.mac(), [("requested_addr", "192.0.2.7")])}


@case(reply="silence")
def a_stranger_who_reboots_with_an_address_of_this_network_hears_nothing(wire):
    request = [("message-type", "request"), ("requested_addr", "10.77.2.190")]
    return {"reply": wire.silent(wire.mac(), request, patience=LONG_SILENCE)}


@case(reply="ACK 10.77.2.60")
def a_client_that_reboots_with_its_address_keeps_it(wire):
    wire.lease(KNOWN)
    return {"reply": wire.request(KNOWN, [("requested_addr", "10.77.2.60")])}


@case(reply="NAK")
def a_client_that_reboots_with_the_address_of_another_is_refused(wire):
    taken, client = wire.lease(KNOWN), wire.mac()
    wire.lease(client)
    return {"reply": wire.request(client, [("requested_addr", taken.address)])}


@case(reply="ACK 10.77.2.60", to="unicast frame, 10.77.2.60:68", ciaddr="10.77.2.60")
def renewing_is_answered_by_unicast(wire):
    wire.lease(KNOWN)
    wire.owned = {"10.77.2.60"}
    ack = wire.request(KNOWN, to=SERVER, ip="10.77.2.60", ciaddr="10.77.2.60")
    return {"reply": ack, "to": ack.to, "ciaddr": ack.bootp.ciaddr}


@case(reply="ACK 10.77.2.60", to="unicast frame, 10.77.2.60:68")
def rebinding_is_answered_by_unicast(wire):
    wire.lease(KNOWN)
    wire.owned = {"10.77.2.60"}
    ack = wire.request(KNOWN, ip="10.77.2.60", ciaddr="10.77.2.60")
    return {"reply": ack, "to": ack.to}


@case(reply="ACK 10.77.2.61")
def a_request_that_names_no_address_means_the_one_offered(wire):
    wire.discover(KNOWN_TOO)
    return {"reply": wire.request(KNOWN_TOO, [("server_id", SERVER)])}


@case(reply="ACK 0.0.0.0", to="unicast frame, 10.77.2.200:68", lease=None, router="10.77.2.1", ciaddr="10.77.2.200")
def inform_gets_options_and_no_lease(wire):
    wire.owned = {"10.77.2.200"}
    options = [("message-type", "inform"), ("param_req_list", [1, 3])]
    ack = wire.ask(wire.mac(), options, ip="10.77.2.200", ciaddr="10.77.2.200")
    seen = {"reply": ack, "to": ack.to, "lease": ack.number(51), "router": ack.addresses(3)}
    return seen | {"ciaddr": ack.bootp.ciaddr}


@case(answered="silence", later="same")
def a_released_address_is_kept_for_its_client_while_others_are_free(wire):
    mac = wire.mac()
    first = wire.lease(mac)
    release = [("message-type", "release"), ("server_id", SERVER)]
    answered = wire.silent(mac, release, ciaddr=first.address)
    later = wire.lease(mac)
    return {"answered": answered, "later": "same" if later.address == first.address else "another"}


@case(answered="silence", later="another")
def a_declined_address_is_not_offered_again(wire):
    mac = wire.mac()
    first = wire.lease(mac)
    decline = [("message-type", "decline"), ("requested_addr", first.address), ("server_id", SERVER)]
    answered = wire.silent(mac, decline)
    later = wire.discover(mac)
    return {"answered": answered, "later": "same" if later.address == first.address else "another"}


@case(decline="silence", owner="ACK 10.77.2.60")
def nobody_declines_for_another(wire):
    wire.lease(KNOWN)
    decline = [("message-type", "decline"), ("requested_addr", "10.77.2.60"), ("server_id", SERVER)]
    return {"decline": wire.silent(wire.mac(), decline), "owner": wire.lease(KNOWN)}


@case(replies="OFFER in the pool", different=1)
def a_client_that_asks_twice_is_offered_one_address(wire):
    mac = wire.mac()
    offers = [wire.discover(mac, xid=0x5EED_F001), wire.discover(mac, xid=0x5EED_F001)]
    return {"replies": of_pool(offers[0]), "different": len({offer.address for offer in offers})}


@case(different=8)
def clients_that_have_only_been_offered_an_address_have_different_ones(wire):
    return {"different": len({wire.discover(wire.mac()).address for _ in range(8)})}


@case(same=True)
def a_client_keeps_its_address_when_its_client_identifier_drifts(wire):
    mac = wire.mac()
    leases = [wire.lease(mac, options) for options in ([], [(61, b"\1abcdef")], [(61, b"\xff\0\0\0\1\0\1later")])]
    return {"same": len({lease.address for lease in leases}) == 1}


@case(reply="OFFER in the pool")
def the_requested_address_is_offered_if_it_is_free(wire):
    offer = wire.discover(wire.mac(), [("requested_addr", "10.77.2.187")])
    return {"reply": str(offer) if offer.address != "10.77.2.187" else "OFFER in the pool"}


@case(short=300, long=86400, forever=86400)
def the_lease_time_asked_for_is_kept_within_limits(wire):
    ask = lambda secs: wire.discover(wire.mac(), [("lease_time", secs)]).number(51)
    return {"short": ask(60), "long": ask(1_000_000), "forever": ask(0xFFFFFFFF)}


@case(reply="silence")
def bootp_is_not_served_unless_configured(wire):
    return {"reply": wire.silent(wire.mac(), None, trailer=MAGIC + b"\xff" + bytes(59))}


@case(unknown="silence", replies="silence", hardware="silence", cookie="silence", short="silence")
def what_is_no_message_of_a_client_is_not_answered(wire):
    discover = [("message-type", "discover")]
    broken = wire.frame(wire.mac(), None, trailer=b"\1\2\3\4\x35\1\1\xff")
    seen = {"unknown": wire.silent(wire.mac(), [(53, b"\x2a")])}
    seen["replies"] = wire.silent(wire.mac(), [(53, b"\2")])
    seen["hardware"] = wire.silent(wire.mac(), discover, patience=LONG_SILENCE, htype=32, hlen=20)
    seen["cookie"] = wire.silent(wire.mac(), None, trailer=b"\1\2\3\4\x35\1\1\xff")
    seen["short"] = wire.silent(wire.mac(), None)
    return seen


@case(wanted="ACK 10.77.2.60", left="0x5eed0bad")
def the_xid_comes_back(wire):
    ack = wire.lease(KNOWN, xid=0x5EED0BAD)
    return {"wanted": ack, "left": f"{ack.bootp.xid:#x}"}


run()
