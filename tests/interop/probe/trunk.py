"""One end of an 802.1Q trunk: a tap for each VLAN, whose frames cross the trunk with a tag.

    trunk.py INTERFACE VLAN...

It stands in for the kernel's VLAN interfaces, which not every kernel has: `eth0.10` is VLAN 10 of eth0. The kernel takes a tag out of
a frame before it looks for anybody who wants the frame, so the tag is read from the packet's auxiliary data.
"""

import contextlib
import fcntl
import os
import select
import socket
import struct
import sys

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 2, 0x1000
SOL_PACKET, PACKET_AUXDATA = 263, 8
AUXDATA = struct.Struct("IIIHHHH")
TP_STATUS_VLAN_VALID = 1 << 4
TAGGED = struct.pack("!H", 0x8100)
FRAME_MAX = 65_536


def tap(name):
    """A new tap, gone when this program ends."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH14x", name.encode(), IFF_TAP | IFF_NO_PI))
    return descriptor


def tag_of(ancillary):
    """The VLAN that the kernel found in the frame, or nothing."""
    for level, kind, octets in ancillary:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, *_, tci, _ = AUXDATA.unpack(octets)
            return tci & 0xFFF if status & TP_STATUS_VLAN_VALID else None
    return None


def main(interface, vlans):
    trunk = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    trunk.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    trunk.bind((interface, 3))
    taps = {vlan: tap(f"{interface}.{vlan}") for vlan in vlans}
    print("the trunk is up", flush=True)
    while True:
        readable, _, _ = select.select([trunk, *taps.values()], [], [])
        for vlan, descriptor in taps.items():
            if descriptor in readable:
                frame = os.read(descriptor, FRAME_MAX)
                trunk.send(frame[:12] + TAGGED + struct.pack("!H", vlan) + frame[12:])
        if trunk in readable:
            frame, ancillary, _, sender = trunk.recvmsg(FRAME_MAX, socket.CMSG_SPACE(AUXDATA.size))
            vlan = tag_of(ancillary)
            if vlan in taps and sender[2] != socket.PACKET_OUTGOING:
                # An interface that is not up yet takes nothing.
                with contextlib.suppress(OSError):
                    os.write(taps[vlan], frame)


main(sys.argv[1], [int(vlan) for vlan in sys.argv[2:]])
