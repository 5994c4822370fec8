"""Reveille's lease API as a DHCP provider of Ironic."""
