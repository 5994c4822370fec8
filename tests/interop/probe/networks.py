"""Shared networks, and addresses that are kept for an identifier, a port or a class.

Served on the link: 10.77.2.0/24 (pool .100-.101) and 10.77.6.0/24 (pool .100-.102), one shared network. Through the relay, which the probe plays from 10.77.2.5:
10.77.3.0/24 (pool .100-.199; .60 for a client identifier, .61 and .62 for ports 1 and 2 of the switch tor-1), and 10.77.4.0/24 (pool .200-.209 for the class
of vendor classes that begin with "sensor", and no other).
"""

from wire import SERVER, case, run

RELAY = "10.77.2.5"
IDENTIFIER = [(61, bytes.fromhex("ff00000001deadbeef"))]
SENSOR = [("vendor_class_id", "sensor-7")]

# Who was bound on the shared network, in order: (MAC, address).
BOUND = []


def relay(wire, giaddr="10.77.3.5"):
    wire.owned = {RELAY}
    return {"sport": 67, "to": SERVER, "ip": RELAY, "giaddr": giaddr, "hops": 1}


def port(circuit, remote):
    return [(82, bytes([1, len(circuit)]) + circuit.encode() + bytes([2, len(remote)]) + remote.encode())]


def pool(reply):
    """The network of an address of a pool, else the address."""
    network, number = reply.address.rsplit(".", 1)
    return f"pool of {network}" if int(number) >= 100 else reply.address


@case(bound="10.77.2 10.77.2 10.77.6 10.77.6 10.77.6", different=5, then="silence")
def the_second_subnet_of_a_link_is_used_when_the_first_is_full(wire):
    for _ in range(5):
        mac = wire.mac()
        BOUND.append((mac, wire.lease(mac).address))
    addresses = [address for _, address in BOUND]
    then = wire.silent(wire.mac(), [("message-type", "discover")])
    return {"bound": " ".join(at.rsplit(".", 1)[0] for at in addresses), "different": len(set(addresses)), "then": then}


@case(offers="same same same same same")
def a_client_is_offered_what_it_has_in_either_subnet(wire):
    offers = [wire.discover(mac).address == address for mac, address in BOUND]
    return {"offers": " ".join("same" if same else "another" for same in offers)}


@case(first="same", second="same")
def a_client_reboots_in_either_subnet(wire):
    acks = [(wire.request(mac, [("requested_addr", address)]), address) for mac, address in (BOUND[0], BOUND[4])]
    same = ["same" if ack and ack.kind == "ACK" and ack.address == address else str(ack) for ack, address in acks]
    return {"first": same[0], "second": same[1]}


@case(reply="ACK", to="same")
def a_client_of_the_second_subnet_renews_by_unicast(wire):
    mac, address = BOUND[4]
    wire.owned = {address}
    ack = wire.request(mac, to=SERVER, ip=address, ciaddr=address)
    return {"reply": ack.kind, "to": "same" if ack.to.split(", ")[1] == f"{address}:68" else ack.to}


@case(reply="NAK")
def an_address_of_no_subnet_of_the_link_is_refused(wire):
    reply = wire.request(BOUND[0][0], [("requested_addr", "10.77.9.9")])
    return {"reply": reply}


@case(wanted="same", other="silence")
def what_one_gives_back_in_the_second_subnet_another_gets(wire):
    mac, address = BOUND[4]
    wire.owned = {address}
    options = [("message-type", "release"), ("server_id", SERVER)]
    other = wire.silent(mac, options, to=SERVER, ip=address, ciaddr=address)
    wire.owned = set()
    ack = wire.lease(wire.mac())
    return {"wanted": "same" if ack and ack.address == address else str(ack), "other": other}


@case(reserved="ACK 10.77.3.60", without="pool of 10.77.3")
def an_address_is_reserved_for_a_client_identifier(wire):
    fields = relay(wire)
    return {"reserved": wire.lease(wire.mac(), IDENTIFIER, **fields), "without": pool(wire.discover(wire.mac(), **fields))}


@case(others="pool of 10.77.3")
def a_reserved_address_in_use_is_given_to_nobody_else(wire):
    return {"others": pool(wire.discover(wire.mac(), IDENTIFIER, **relay(wire)))}


@case(reserved="ACK 10.77.3.61", again="ACK 10.77.3.61", echoed=True)
def an_address_is_reserved_for_a_port(wire):
    mac, agent, fields = wire.mac(), port("eth1/1", "tor-1"), relay(wire)
    ack = wire.lease(mac, agent, **fields)
    again = wire.request(mac, [("requested_addr", ack.address), *agent], **fields)
    return {"reserved": ack, "again": again, "echoed": ack.options.get(82) == agent[0][1]}


@case(other="pool of 10.77.3", port="10.77.3.62")
def the_same_port_of_another_switch_is_another(wire):
    other = wire.discover(wire.mac(), port("eth1/2", "tor-2"), **relay(wire))
    return {"other": pool(other), "port": pool(wire.discover(wire.mac(), port("eth1/2", "tor-1"), **relay(wire)))}


@case(member="pool of 10.77.4", stranger="silence", asking="silence")
def a_pool_of_a_class_is_for_its_members(wire):
    fields = relay(wire, "10.77.4.5")
    member = wire.lease(wire.mac(), SENSOR, **fields)
    discover = [("message-type", "discover")]
    stranger = wire.silent(wire.mac(), discover, **fields)
    asking = wire.silent(wire.mac(), [*discover, ("requested_addr", "10.77.4.205")], **fields)
    return {"member": pool(member), "stranger": stranger, "asking": asking}


run()
