"""Options that lie, go and come in unusual ways: RFC 2132 §9.3, RFC 3396, RFC 6842, RFC 3046 and RFC 4578.

Served: as for protocol.py, with domain-name-servers 10.77.2.2 and 10.77.2.3, domain-name rack.test, and option 224 = 0a0b.
"""

from wire import SERVER, case, octets, run

KNOWN = "52:54:00:77:cd:01"
DISCOVER = ("message-type", "discover")


@case(offer="01aabbcc", ack="01aabbcc", nak="01aabbcc")
def the_client_identifier_comes_back(wire):
    own = [(61, bytes.fromhex("01aabbcc"))]
    offer = wire.discover(KNOWN, own)
    ack = wire.select(KNOWN, offer, own)
    nak = wire.request(KNOWN, [("requested_addr", "192.0.2.7"), *own])
    return {"offer": offer.hex(61), "ack": ack.hex(61), "nak": nak.hex(61)}


@case(reply="OFFER 10.77.2.60", identifier="01" + "ab" * 20)
def a_split_option_is_one(wire):
    value = bytes.fromhex("01" + "ab" * 20)
    offer = wire.discover(KNOWN, [(61, value[:8]), (12, b"split"), (61, value[8:])])
    return {"reply": offer, "identifier": offer.hex(61)}


@case(reply="OFFER 10.77.2.60", identifier="0102030405060708")
def options_in_file_and_sname_are_read(wire):
    file, sname = bytes([61, 4, 1, 2, 3, 4, 255]), bytes([61, 4, 5, 6, 7, 8, 255])
    offer = wire.discover(KNOWN, [(52, b"\3")], file=file.ljust(128, b"\0"), sname=sname.ljust(64, b"\0"))
    return {"reply": offer, "identifier": offer.hex(61)}


@case(reply="OFFER 10.77.2.60", identifier=None)
def file_and_sname_are_not_options_unless_overload_says_so(wire):
    file = bytes([61, 4, 1, 2, 3, 4, 255])
    offer = wire.discover(KNOWN, file=file.ljust(128, b"\0"), sname=file.ljust(64, b"\0"))
    return {"reply": offer, "identifier": offer.hex(61)}


@case(servers="10.77.2.2 10.77.2.3", name="rack.test", site="0a0b", mask="255.255.255.0")
def options_that_the_client_lists_are_sent(wire):
    offer = wire.discover(KNOWN, [("param_req_list", [1, 3, 6, 15, 224])])
    seen = {"servers": offer.addresses(6), "name": offer.text(15), "site": offer.hex(224)}
    return seen | {"mask": offer.addresses(1)}


@case(servers=None, name=None, site=None, mask="255.255.255.0")
def options_that_the_client_does_not_list_are_not_sent(wire):
    offer = wire.discover(KNOWN, [("param_req_list", [1])])
    seen = {"servers": offer.addresses(6), "name": offer.text(15), "site": offer.hex(224)}
    return seen | {"mask": offer.addresses(1)}


@case(reply="OFFER 10.77.2.60")
def pads_between_options_are_passed_over(wire):
    return {"reply": wire.discover(KNOWN, [b"\0\0", (12, b"x"), b"\0\0\0"])}


@case(reply="OFFER 10.77.2.60")
def a_message_without_end_is_read(wire):
    xid = 0x5EED_E4D0
    return {"reply": wire.ask(KNOWN, None, trailer=b"\x63\x82\x53\x63\x35\1\1", xid=xid)}


@case(reply="OFFER 10.77.2.60", fits=True)
def the_largest_message_that_the_client_takes_is_honoured(wire):
    offer = wire.discover(KNOWN, [("max_dhcp_size", 576), ("param_req_list", list(range(1, 120)))])
    return {"reply": offer, "fits": len(offer.udp) + 28 <= 576}


@case(reply="OFFER 10.77.2.60", relay="0104706f7274")
def option_82_of_a_bridge_without_giaddr_is_echoed(wire):
    offer = wire.discover(KNOWN, [(82, bytes.fromhex("0104706f7274"))])
    return {"reply": offer, "relay": offer.hex(82)}


@case(uuid="00" + "11" * 16)
def the_machine_identifier_comes_back(wire):
    offer = wire.discover(KNOWN, [(97, bytes.fromhex("00" + "11" * 16)), (93, b"\0\0"), (60, b"PXEClient")])
    return {"uuid": offer.hex(97)}


run()
