"""The client's side of a wire, with scapy: what it sends and what comes back, decoded by scapy and not by the server's own code.

Nothing here belongs to the kernel: the interface has no address, so that no port is "unreachable". Addresses that a case owns are
answered for in ARP. Each case has an xid and hardware addresses of its own.
"""

import itertools
import json
import time

from scapy.all import ARP, BOOTP, DHCP, IP, UDP, Ether, conf

conf.verb = 0
conf.checkIPaddr = False

BROADCAST = "ff:ff:ff:ff:ff:ff"
SERVER = "10.77.2.1"
MAGIC = b"\x63\x82\x53\x63"
TYPES = {1: "DISCOVER", 2: "OFFER", 3: "REQUEST", 4: "DECLINE", 5: "ACK", 6: "NAK", 7: "RELEASE", 8: "INFORM"}
TYPES |= {10: "LEASEQUERY", 11: "LEASEUNASSIGNED", 12: "LEASEUNKNOWN", 13: "LEASEACTIVE"}

# How long a server may take to answer, on a busy machine; and how long silence must last, seconds.
PATIENCE = 30.0
SILENCE = 1.2
# The same where the other server answers, which then must have had its time.
LONG_SILENCE = 5.0

CASES = []


def case(**expected):
    """Makes a function a case: it gets the wire and returns what it saw, which must be `expected`."""

    def add(function):
        CASES.append((function.__name__, expected, function))
        return function

    return add


def octets(address):
    return bytes(int(part) for part in address.split("."))


def dotted(value):
    return ".".join(str(octet) for octet in value)


class Reply:
    """A reply: scapy's view of it, and the options as they lie in it."""

    def __init__(self, frame):
        self.frame, self.bootp = frame, frame[BOOTP]
        self.udp = bytes(frame[UDP].payload)[: frame[UDP].len - 8]
        self.options, self.order, self.end = {}, [], None
        at = 240
        while at < len(self.udp):
            code = self.udp[at]
            if code == 0:
                at += 1
            elif code == 255:
                self.end = at
                break
            else:
                length = self.udp[at + 1]
                self.options[code] = self.options.get(code, b"") + self.udp[at + 2 : at + 2 + length]
                self.order.append(code)
                at += 2 + length

    @property
    def kind(self):
        return TYPES.get(self.options.get(53, b"\0")[0], "none")

    @property
    def address(self):
        return self.bootp.yiaddr

    def __str__(self):
        return self.kind if self.kind == "NAK" else f"{self.kind} {self.address}"

    def number(self, code):
        return int.from_bytes(self.options[code], "big") if code in self.options else None

    def addresses(self, code):
        value = self.options.get(code)
        return value and " ".join(dotted(value[i : i + 4]) for i in range(0, len(value), 4))

    def text(self, code):
        value = self.options.get(code)
        return None if value is None else value.decode("latin-1")

    def hex(self, code):
        value = self.options.get(code)
        return None if value is None else value.hex()

    @property
    def to(self):
        frame = "broadcast" if self.frame[Ether].dst == BROADCAST else "unicast"
        return f"{frame} frame, {self.frame[IP].dst}:{self.frame[UDP].dport}"


class Wire:
    """The interface eth0 of this namespace."""

    def __init__(self):
        self.socket = conf.L2socket(iface="eth0")
        self.own = self.socket.outs.getsockname()[4]
        self.own_mac = ":".join(f"{octet:02x}" for octet in self.own)
        self.owned = set()
        self.numbers = itertools.count(1)
        self.servers_mac = None

    def mac(self):
        """A hardware address that nobody has used."""
        return "52:54:00:77:ce:%02x" % next(self.numbers)

    def frame(self, mac, options, sport=68, to=None, ip="0.0.0.0", trailer=b"", **fields):
        """A message as a frame. `options` are scapy's: names or numbers with values, or octets as they are."""
        chaddr = bytes.fromhex(mac.replace(":", ""))
        bootp = BOOTP(**{"chaddr": chaddr.ljust(16, b"\0"), "xid": 0x5EED0000 + next(self.numbers), "secs": 0} | fields)
        ether = Ether(src=self.own_mac if sport == 67 else mac, dst=self.servers_mac if to else BROADCAST)
        address = IP(src=ip, dst=to or "255.255.255.255")
        body = bootp if options is None else bootp / DHCP(options=[*options, "end"])
        return ether / address / UDP(sport=sport, dport=67) / body / trailer

    def replies(self, xid, patience, most=1):
        """Replies with this xid, until there are `most` or patience is over."""
        found, until = [], time.monotonic() + patience
        while len(found) < most and time.monotonic() < until:
            if not self.socket.ins in select([self.socket.ins], until - time.monotonic()):
                break
            frame = self.socket.recv()
            if frame is None:
                continue
            if ARP in frame and frame[ARP].op == 1 and frame[ARP].pdst in self.owned:
                arp = ARP(op=2, hwsrc=self.own_mac, psrc=frame[ARP].pdst, hwdst=frame[ARP].hwsrc, pdst=frame[ARP].psrc)
                self.socket.send(Ether(src=self.own_mac, dst=frame[Ether].src) / arp)
            elif BOOTP in frame and frame[BOOTP].op == 2 and frame[BOOTP].xid == xid:
                found.append(Reply(frame))
        return found

    def ask(self, mac, options, most=1, patience=PATIENCE, **fields):
        """Sends and gives the reply, or a list of them where `most` is not 1."""
        if fields.get("to"):
            self.find_server()
        frame = self.frame(mac, options, **fields)
        self.socket.send(frame)
        found = self.replies(frame[BOOTP].xid, patience, most)
        return found if most != 1 else (found[0] if found else None)

    def silent(self, mac, options, patience=SILENCE, **fields):
        """Sends what nobody should answer, and says what came."""
        reply = self.ask(mac, options, patience=patience, **fields)
        return reply.kind if reply else "silence"

    def find_server(self):
        """Learns the server's hardware address, as a client with an address would."""
        while self.servers_mac is None:
            arp = ARP(op=1, hwsrc=self.own_mac, psrc="10.77.2.5", pdst=SERVER)
            self.socket.send(Ether(src=self.own_mac, dst=BROADCAST) / arp)
            until = time.monotonic() + 1
            while self.servers_mac is None and select([self.socket.ins], until - time.monotonic()):
                frame = self.socket.recv()
                if frame is not None and ARP in frame and frame[ARP].op == 2 and frame[ARP].psrc == SERVER:
                    self.servers_mac = frame[ARP].hwsrc

    def discover(self, mac, options=(), **fields):
        return self.ask(mac, [("message-type", "discover"), *options], **fields)

    def request(self, mac, options=(), **fields):
        return self.ask(mac, [("message-type", "request"), *options], **fields)

    def select(self, mac, offer, options=(), **fields):
        """The DHCPREQUEST that takes an offer."""
        chosen = [("requested_addr", offer.address), ("server_id", dotted(offer.options[54]))]
        return self.request(mac, [*chosen, *options], **fields)

    def lease(self, mac, options=(), **fields):
        """DISCOVER to ACK: the ACK."""
        return self.select(mac, self.discover(mac, options, **fields), options, **fields)


def select(sockets, seconds):
    import select as system

    return system.select(sockets, [], [], max(0, seconds))[0]


def run():
    """Runs the cases of the script and prints a line of JSON for each."""
    wire = Wire()
    for name, expected, function in CASES:
        try:
            seen = function(wire)
        except Exception as error:  # whatever it is, it belongs to this case
            seen = {"error": repr(error)}
        text = lambda table: {key: str(value) for key, value in table.items()}
        print(json.dumps({"case": name, "expected": text(expected), "seen": text(seen)}), flush=True)
