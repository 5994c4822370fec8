"""The options that Ironic really gives, and what becomes of them."""

import unittest

from ironic_dhcp_reveille.options import boot_of


def option(name, value, ip_version=4):
    return {"opt_name": name, "opt_value": value, "ip_version": ip_version}


IPXE = "http://10.77.2.1:8080/boot.ipxe"
SERVER = [option("66", "10.77.2.1"), option("150", "10.77.2.1"), option("255", "10.77.2.1")]


class Options(unittest.TestCase):
    def test_table(self):
        for what, given, expected in [
            ("pxe", [option("67", "bootx64.efi"), *SERVER], ("bootx64.efi", None, {})),
            ("ipxe", [option("tag:!ipxe,67", "undionly.kpxe"), option("tag:ipxe,67", IPXE), *SERVER],
             ("undionly.kpxe", IPXE, {})),
            ("ipxe by encapsulated options", [option("!175,67", "undionly.kpxe"), option("67", IPXE)],
             ("undionly.kpxe", IPXE, {})),
            ("http boot", [option("67", "http://h/x.efi"), option("60", "HTTPClient")], ("http://h/x.efi", None, {})),
            ("others", [option("67", "x"), option("26", "1400"), option("domain-name", "example.net")],
             ("x", None, {"26": "1400", "domain-name": "example.net"})),
            ("IPv6", [option("59", "tftp://x", 6), option("67", "x")], ("x", None, {})),
            ("half of one", [{"opt_name": "67"}, {"opt_value": "x"}], (None, None, {})),
        ]:
            with self.subTest(what):
                self.assertEqual(boot_of(given), expected)


if __name__ == "__main__":
    unittest.main()
