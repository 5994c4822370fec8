"""From the options that Ironic gives a DHCP provider to what a reservation carries. No I/O."""

# Where a machine finds its files is the scope's to say (66, 150, and 255, which is no option but siaddr);
# HTTP boot clients are answered with option 60 by dhcpd itself.
LEFT_TO_THE_SCOPE = frozenset(["60", "66", "150", "255", "server-ip-address", "tftp-server", "server-ip"])
BOOT_FILE = frozenset(["67", "bootfile-name"])


def boot_of(options):
    """The boot file of the firmware, iPXE's script (each may be None), and the other options by number or name.

    ``options``: dicts with ``opt_name``, ``opt_value`` and maybe ``ip_version``; names may begin with tags as dnsmasq
    writes them (``tag:ipxe,67``, ``tag:!ipxe,67``), or with ISC's ``!175,67``.
    """
    firmware = ipxe = plain = None
    others = {}
    for option in options:
        if option.get("ip_version", 4) != 4 or "opt_name" not in option or "opt_value" not in option:
            continue
        *tags, name = option["opt_name"].split(",")
        value = option["opt_value"]
        if name in BOOT_FILE:
            if "tag:ipxe" in tags:
                ipxe = value
            elif tags:
                firmware = value
            else:
                plain = value
        elif name not in LEFT_TO_THE_SCOPE and not tags:
            others[name] = value
    if firmware is None:
        return plain, ipxe, others
    # Beside an untagged one: that is what iPXE gets.
    return firmware, ipxe or plain, others
