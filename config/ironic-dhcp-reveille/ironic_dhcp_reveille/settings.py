"""The group ``[reveille]`` of ironic.conf."""

from oslo_config import cfg

OPTIONS = [
    cfg.StrOpt(
        "api",
        default="unix:/run/reveille/dhcpd.sock",
        help="dhcpd's lease API: unix:/path, http://host:port or https://host:port.",
    ),
    cfg.StrOpt("token_file", help="A file with a token of role write; not needed on the unix socket."),
    cfg.StrOpt("ca_file", help="The certificates that dhcpd's is checked against; by default the system's."),
    cfg.StrOpt("scope", help="The scope of the nodes, where dhcpd serves several."),
    cfg.IntOpt("timeout", default=30, min=1, help="Seconds that one request may take."),
]


def register(conf):
    """Makes the group known."""
    conf.register_opts(OPTIONS, group="reveille")


def list_options():
    """For oslo-config-generator."""
    return [("reveille", OPTIONS)]
