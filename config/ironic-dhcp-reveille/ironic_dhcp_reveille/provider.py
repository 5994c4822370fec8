"""The provider: what Ironic's conductor calls. A node's ports become reservations that bear the node's UUID."""

from ironic.common import exception
from ironic.conf import CONF
from ironic.dhcp import base
from oslo_log import log as logging

from ironic_dhcp_reveille import settings
from ironic_dhcp_reveille.lease_api import LeaseApi, LeaseApiError
from ironic_dhcp_reveille.options import boot_of

LOG = logging.getLogger(__name__)


class ReveilleDHCPApi(base.BaseDHCP):
    """Reservations over dhcpd's lease API."""

    def __init__(self, **kwargs):
        settings.register(CONF)

    def update_port_dhcp_opts(self, port_id, dhcp_options, context=None):
        """Ports of a virtual network are not dhcpd's."""

    def update_dhcp_opts(self, task, options, vifs=None):
        """Reserves for every port that boots, with what it boots.

        :raises: FailedToUpdateDHCPOptOnPort
        """
        boot_file, script, others = boot_of(options)
        body = {"node": task.node.uuid}
        if CONF.reveille.scope:
            body["scope"] = CONF.reveille.scope
        if boot_file:
            body["boot_file"] = boot_file
        if others:
            body["options"] = others
        api = self._api()
        for port in _ports_that_boot(task):
            try:
                self._put(api, task, port.address, body, script)
            except LeaseApiError as error:
                LOG.error("Port %(port)s of node %(node)s has no reservation in dhcpd: %(error)s",
                          {"port": port.uuid, "node": task.node.uuid, "error": error})
                raise exception.FailedToUpdateDHCPOptOnPort(port_id=port.uuid) from error

    def get_ip_addresses(self, task):
        """The addresses that the node's ports are bound to now."""
        api = self._api()
        addresses = []
        for port in _ports_that_boot(task):
            try:
                lease = api.lease(port.address)
            except LeaseApiError as error:
                LOG.warning("The lease of port %(port)s is not known: %(error)s",
                            {"port": port.uuid, "error": error})
                continue
            if lease and lease.get("state") == "bound":
                addresses.append(lease["address"])
        return addresses

    def clean_dhcp_opts(self, task):
        """Takes back what was reserved for the node.

        :raises: FailedToCleanDHCPOpts
        """
        api = self._api()
        for port in _ports_that_boot(task):
            try:
                own = api.reservation(port.address, CONF.reveille.scope)
                if own and own.get("node") == task.node.uuid:
                    api.delete_reservation(port.address, own.get("scope"))
            except LeaseApiError as error:
                LOG.error("The reservation of port %(port)s of node %(node)s stays in dhcpd: %(error)s",
                          {"port": port.uuid, "node": task.node.uuid, "error": error})
                raise exception.FailedToCleanDHCPOpts(node=task.node.uuid) from error

    def supports_ipxe_tag(self):
        """dhcpd tells firmware from iPXE."""
        return True

    def _api(self):
        token = None
        if CONF.reveille.token_file:
            with open(CONF.reveille.token_file, encoding="ascii") as file:
                token = file.read().strip()
        own = CONF.reveille
        return LeaseApi(own.api, token=token, ca_file=own.ca_file, timeout=own.timeout)

    def _put(self, api, task, mac, body, script):
        there = api.reservation(mac, CONF.reveille.scope)
        # Another node's is what is left of it: a port's address is one node's at a time.
        if there and not there.get("node"):
            LOG.warning("%(mac)s of node %(node)s has a reservation that is no node's: it is left as it is",
                        {"mac": mac, "node": task.node.uuid})
            return
        if script:
            try:
                api.put_reservation(mac, dict(body, boot_files={"ipxe": script}))
                return
            except LeaseApiError as error:
                # A dhcpd that knows no boot files by stage: the scope's own script counts.
                if error.status != 400 or "boot_files" not in "%s %s" % (error.field, error):
                    raise
                LOG.info("dhcpd takes no script for iPXE from a reservation: the scope's counts")
        api.put_reservation(mac, body)


def _ports_that_boot(task):
    return [port for port in task.ports if port.pxe_enabled]
