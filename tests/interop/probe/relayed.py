"""Through a relay agent, which the probe plays from 10.77.2.5: RFC 2131 §4.1, RFC 3046, 3527, 3011, 5107 and 5010.

Served beside 10.77.2.0/24: 10.77.3.0/24 (pool .100-.199, .60 reserved for 52:54:00:77:cd:03), and 10.77.4.0/24 (pool .100-.199).
The server's way to 10.77.3.0/24 and 10.77.4.0/24 is 10.77.2.5.
"""

from wire import SERVER, case, octets, run

KNOWN = "52:54:00:77:cd:03"
RELAY = "10.77.2.5"
GIADDR = "10.77.3.5"


def relay(wire, **fields):
    wire.owned = {RELAY}
    return {"sport": 67, "to": SERVER, "ip": RELAY, "giaddr": GIADDR, "hops": 1} | fields


def network(reply):
    return reply and reply.address.rsplit(".", 1)[0]


@case(reply="OFFER 10.77.3.60", to="unicast frame, 10.77.3.5:67", giaddr=GIADDR, flags="0x8000", server=SERVER)
def a_relayed_client_is_served_from_the_relays_network(wire):
    offer = wire.discover(KNOWN, **relay(wire, flags=0x8000))
    seen = {"reply": offer, "to": offer.to, "giaddr": offer.bootp.giaddr, "server": offer.addresses(54)}
    return seen | {"flags": f"{int(offer.bootp.flags):#06x}"}


@case(ack="ACK 10.77.3.60", relay="01020304020206aa", last=True)
def option_82_is_echoed_as_it_came_and_last(wire):
    agent = [(82, bytes.fromhex("01020304020206aa"))]
    ack = wire.lease(KNOWN, agent, **relay(wire))
    return {"ack": ack, "relay": ack.hex(82), "last": ack.order[-1] == 82}


@case(reply="OFFER 10.77.3.60", same=True)
def a_long_option_82_is_echoed_whole(wire):
    agent = b"\1\xfa" + bytes(range(250))
    offer = wire.discover(KNOWN, [(82, agent), ("max_dhcp_size", 1400)], **relay(wire))
    return {"reply": offer, "same": offer.options.get(82) == agent}


@case(nak="NAK", flags="0x8000", to="unicast frame, 10.77.3.5:67")
def a_relay_is_told_to_broadcast_a_nak(wire):
    wire.lease(KNOWN, **relay(wire))
    nak = wire.request(KNOWN, [("requested_addr", "192.0.2.7")], **relay(wire))
    return {"nak": nak, "flags": f"{int(nak.bootp.flags):#06x}", "to": nak.to}


@case(network="10.77.4")
def link_selection_goes_before_giaddr(wire):
    offer = wire.discover(wire.mac(), [(82, b"\5\4" + octets("10.77.4.0"))], **relay(wire))
    return {"network": network(offer)}


@case(network="10.77.4", echoed="0a4d0400")
def subnet_selection_goes_before_giaddr(wire):
    offer = wire.discover(wire.mac(), [(118, octets("10.77.4.0"))], **relay(wire))
    return {"network": network(offer), "echoed": offer.hex(118)}


@case(offered="10.77.3.5", ack="ACK 10.77.3.60", acknowledged="10.77.3.5")
def the_relay_may_be_the_server_identifier(wire):
    agent = [(82, b"\x0b\4" + octets(GIADDR))]
    offer = wire.discover(KNOWN, agent, **relay(wire))
    ack = wire.select(KNOWN, offer, agent, **relay(wire))
    seen = {"offered": offer.addresses(54), "ack": ack}
    return seen | {"acknowledged": ack and ack.addresses(54)}


@case(reply="OFFER 10.77.3.60", relay="0a0180")
def the_relays_flags_come_back(wire):
    offer = wire.discover(KNOWN, [(82, b"\x0a\1\x80")], **relay(wire))
    return {"reply": offer, "relay": offer.hex(82)}


@case(reply="silence")
def a_relay_of_an_unknown_network_is_not_answered(wire):
    fields = relay(wire, giaddr="10.99.0.5")
    return {"reply": wire.silent(wire.mac(), [("message-type", "discover")], **fields)}


@case(different=1)
def two_relays_that_deliver_one_message_get_one_address(wire):
    mac = wire.mac()
    offers = [wire.discover(mac, **relay(wire, giaddr=giaddr)) for giaddr in (GIADDR, "10.77.3.6")]
    return {"different": len({offer.address for offer in offers})}


@case(reply="ACK 0.0.0.0", to="10.77.3.200:68")
def inform_through_a_relay_is_answered_straight(wire):
    fields = relay(wire, ip="10.77.3.200", ciaddr="10.77.3.200", sport=68)
    ack = wire.ask(wire.mac(), [("message-type", "inform")], **fields)
    return {"reply": ack, "to": ack and ack.to.split(", ")[1]}


@case(reply="ACK 10.77.3.60", to="10.77.3.60:68")
def renewing_past_the_relay_is_answered_straight(wire):
    wire.lease(KNOWN, **relay(wire))
    ack = wire.request(KNOWN, to=SERVER, ip="10.77.3.60", ciaddr="10.77.3.60")
    return {"reply": ack, "to": ack and ack.to.split(", ")[1]}


run()
