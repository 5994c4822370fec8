//! The DHCP options that have a name: code, name, type, and who sets them.
//!
//! Names are IANA's and ISC's, in kebab case. Source: RFC 2132 unless a row says otherwise.

/// How an option's value is written and encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// One IPv4 address.
    Address,
    /// One or more IPv4 addresses.
    Addresses,
    /// Pairs of IPv4 addresses: `["10.0.0.0 10.77.1.1"]`.
    AddressPairs,
    /// An integer of one octet.
    U8,
    /// An integer of two octets.
    U16,
    /// An integer of four octets.
    U32,
    /// A signed integer of four octets.
    I32,
    /// One or more integers of two octets.
    U16s,
    /// One octet, 0 or 1.
    Bool,
    /// Text without a closing zero.
    Text,
    /// Octets: `"hex:0a0b"`.
    Hex,
    /// Classless static routes (RFC 3442): `["10.0.0.0/8 via 10.77.1.1"]`.
    Routes,
    /// Domain names in the DNS's form, compressed (RFC 3397, RFC 1035 §4.1.4).
    Domains,
}

impl Type {
    /// The words by which the configuration names types.
    pub(super) const WORDS: &'static [(&'static str, Self)] = &[
        ("address", Address),
        ("addresses", Addresses),
        ("address-pairs", AddressPairs),
        ("u8", U8),
        ("u16", U16),
        ("u32", U32),
        ("i32", I32),
        ("u16s", U16s),
        ("bool", Bool),
        ("text", Text),
        ("hex", Hex),
        ("routes", Routes),
        ("domains", Domains),
    ];
}

/// One option.
#[derive(Debug)]
pub(super) struct Entry {
    pub code: u8,
    pub name: &'static str,
    pub kind: Type,
    /// Why the configuration may not set it, where it may not.
    pub refused: Option<&'static str>,
}

const fn row(code: u8, name: &'static str, kind: Type) -> Entry {
    Entry { code, name, kind, refused: None }
}

const fn refused(code: u8, name: &'static str, kind: Type, why: &'static str) -> Entry {
    Entry { code, name, kind, refused: Some(why) }
}

const BY_CLIENT: &str = "only clients send it";
const BY_SERVER: &str = "the server sets it in every reply";
const TIMES: &str = "the server computes it from the lease time of each reply";

use Type::*;

/// All of them, in the order of their codes.
pub(super) const OPTIONS: &[Entry] = &[
    refused(0, "pad", Hex, "it fills gaps in a message and has no value"),
    row(1, "subnet-mask", Address),
    row(2, "time-offset", I32),
    row(3, "routers", Addresses),
    row(4, "time-servers", Addresses),
    row(5, "ien116-name-servers", Addresses),
    row(6, "domain-name-servers", Addresses),
    row(7, "log-servers", Addresses),
    row(8, "cookie-servers", Addresses),
    row(9, "lpr-servers", Addresses),
    row(10, "impress-servers", Addresses),
    row(11, "resource-location-servers", Addresses),
    row(12, "host-name", Text),
    row(13, "boot-size", U16),
    row(14, "merit-dump", Text),
    row(15, "domain-name", Text),
    row(16, "swap-server", Address),
    row(17, "root-path", Text),
    row(18, "extensions-path", Text),
    row(19, "ip-forwarding", Bool),
    row(20, "non-local-source-routing", Bool),
    row(21, "policy-filter", AddressPairs),
    row(22, "max-dgram-reassembly", U16),
    row(23, "default-ip-ttl", U8),
    row(24, "path-mtu-aging-timeout", U32),
    row(25, "path-mtu-plateau-table", U16s),
    row(26, "interface-mtu", U16),
    row(27, "all-subnets-local", Bool),
    row(28, "broadcast-address", Address),
    row(29, "perform-mask-discovery", Bool),
    row(30, "mask-supplier", Bool),
    row(31, "router-discovery", Bool),
    row(32, "router-solicitation-address", Address),
    row(33, "static-routes", AddressPairs),
    row(34, "trailer-encapsulation", Bool),
    row(35, "arp-cache-timeout", U32),
    row(36, "ieee802-3-encapsulation", Bool),
    row(37, "default-tcp-ttl", U8),
    row(38, "tcp-keepalive-interval", U32),
    row(39, "tcp-keepalive-garbage", Bool),
    row(40, "nis-domain", Text),
    row(41, "nis-servers", Addresses),
    row(42, "ntp-servers", Addresses),
    row(43, "vendor-encapsulated-options", Hex),
    row(44, "netbios-name-servers", Addresses),
    row(45, "netbios-dd-server", Addresses),
    row(46, "netbios-node-type", U8),
    row(47, "netbios-scope", Text),
    row(48, "font-servers", Addresses),
    row(49, "x-display-manager", Addresses),
    refused(50, "dhcp-requested-address", Address, BY_CLIENT),
    refused(51, "dhcp-lease-time", U32, "the scope's `lease_secs`, `lease_secs_min` and `lease_secs_max` say it"),
    refused(52, "dhcp-option-overload", U8, BY_SERVER),
    refused(53, "dhcp-message-type", U8, BY_SERVER),
    refused(54, "dhcp-server-identifier", Address, "the scope's `server_address` is it"),
    refused(55, "dhcp-parameter-request-list", Hex, BY_CLIENT),
    refused(56, "dhcp-message", Text, "the server explains its own NAKs"),
    refused(57, "dhcp-max-message-size", U16, BY_CLIENT),
    refused(58, "dhcp-renewal-time", U32, TIMES),
    refused(59, "dhcp-rebinding-time", U32, TIMES),
    row(60, "vendor-class-identifier", Text),
    refused(61, "dhcp-client-identifier", Hex, "it is the client's own; the server returns it (RFC 6842)"),
    row(62, "nwip-domain", Text),
    row(63, "nwip-suboptions", Hex),
    row(64, "nisplus-domain", Text),
    row(65, "nisplus-servers", Addresses),
    row(66, "tftp-server-name", Text),
    row(67, "bootfile-name", Text),
    row(68, "mobile-ip-home-agent", Addresses),
    row(69, "smtp-server", Addresses),
    row(70, "pop-server", Addresses),
    row(71, "nntp-server", Addresses),
    row(72, "www-server", Addresses),
    row(73, "finger-server", Addresses),
    row(74, "irc-server", Addresses),
    row(75, "streettalk-server", Addresses),
    row(76, "streettalk-directory-assistance-server", Addresses),
    refused(77, "user-class", Hex, BY_CLIENT),
    row(78, "slp-directory-agent", Hex),                            // RFC 2610
    row(79, "slp-service-scope", Hex),                              // RFC 2610
    refused(80, "rapid-commit", Hex, BY_SERVER),                    // RFC 4039
    refused(81, "fqdn", Hex, "it answers what a client asked for"), // RFC 4702
    refused(82, "relay-agent-information", Hex, "it is the relay's own; the server returns it (RFC 3046)"),
    row(83, "isns", Hex),                          // RFC 4174
    row(85, "nds-servers", Addresses),             // RFC 2241
    row(86, "nds-tree-name", Text),                // RFC 2241
    row(87, "nds-context", Text),                  // RFC 2241
    row(88, "bcms-controller-names", Domains),     // RFC 4280
    row(89, "bcms-controller-address", Addresses), // RFC 4280
    refused(91, "client-last-transaction-time", U32, "it belongs to lease queries (RFC 4388)"),
    refused(92, "associated-ip", Addresses, "it belongs to lease queries (RFC 4388)"),
    refused(93, "pxe-system-type", Hex, BY_CLIENT),  // RFC 4578
    refused(94, "pxe-interface-id", Hex, BY_CLIENT), // RFC 4578
    refused(97, "pxe-client-id", Hex, "it is the client's own; the server returns it (RFC 4578)"),
    row(98, "uap-servers", Text),                         // RFC 2485
    row(99, "geoconf-civic", Hex),                        // RFC 4776
    row(100, "pcode", Text),                              // RFC 4833
    row(101, "tcode", Text),                              // RFC 4833
    row(108, "v6-only-preferred", U32),                   // RFC 8925
    row(112, "netinfo-server-address", Addresses),        // RFC 3679
    row(113, "netinfo-server-tag", Text),                 // RFC 3679
    row(114, "v4-captive-portal", Text),                  // RFC 8910
    row(116, "auto-config", U8),                          // RFC 2563
    row(117, "name-service-search", U16s),                // RFC 2937
    refused(118, "subnet-selection", Address, BY_CLIENT), // RFC 3011
    row(119, "domain-search", Domains),                   // RFC 3397
    row(120, "sip-servers", Hex),                         // RFC 3361
    row(121, "classless-static-routes", Routes),          // RFC 3442
    row(122, "cablelabs-client-configuration", Hex),      // RFC 3495
    row(123, "geoconf", Hex),                             // RFC 6225
    row(124, "vivco", Hex),                               // RFC 3925
    row(125, "vivso", Hex),                               // RFC 3925
    row(136, "pana-agent", Addresses),                    // RFC 5192
    row(137, "v4-lost", Domains),                         // RFC 5223
    row(138, "capwap-ac-v4", Addresses),                  // RFC 5417
    row(141, "sip-ua-cs-domains", Domains),               // RFC 6011
    row(146, "rdnss-selection", Hex),                     // RFC 6731
    row(150, "tftp-server-address", Addresses),           // RFC 5859
    row(159, "v4-portparams", Hex),                       // RFC 7618
    row(208, "pxelinux-magic", Hex),                      // RFC 5071
    row(209, "loader-configfile", Text),                  // RFC 5071
    row(210, "loader-pathprefix", Text),                  // RFC 5071
    row(211, "loader-reboottime", U32),                   // RFC 5071
    row(212, "option-6rd", Hex),                          // RFC 5969
    row(213, "v4-access-domain", Domains),                // RFC 5986
    row(249, "ms-classless-static-routes", Routes),       // [MS-DHCPE] §2.2.8
    refused(255, "end", Hex, "it ends a message and has no value"),
];

/// Other names under which an option is known: dnsmasq's, Kea's, and the singular of the plural.
const ALIASES: &[(&str, u8)] = &[
    ("router", 3),
    ("dns-server", 6),
    ("dns-servers", 6),
    ("domain-name-server", 6),
    ("name-servers", 6),
    ("hostname", 12),
    ("mtu", 26),
    ("broadcast", 28),
    ("ntp-server", 42),
    ("lease-time", 51),
    ("renewal-time", 58),
    ("rebinding-time", 59),
    ("server-identifier", 54),
    ("netmask", 1),
    ("vendor-class", 60),
    ("tftp-server", 66),
    ("boot-file-name", 67),
    ("bootfile", 67),
    ("search-domain", 119),
    ("classless-static-route", 121),
];

/// The option of that code.
pub(super) fn by_code(code: u8) -> Option<&'static Entry> {
    OPTIONS.binary_search_by_key(&code, |entry| entry.code).ok().map(|at| &OPTIONS[at])
}

/// The option of that name; aliases are no names.
pub(super) fn by_name(name: &str) -> Option<&'static Entry> {
    OPTIONS.iter().find(|entry| entry.name == name)
}

/// The name that was meant by an alias.
pub(super) fn by_alias(name: &str) -> Option<&'static Entry> {
    ALIASES.iter().find(|(alias, _)| *alias == name).and_then(|&(_, code)| by_code(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_and_names_are_unique_kebab_case() {
        assert!(OPTIONS.windows(2).all(|pair| pair[0].code < pair[1].code));
        for entry in OPTIONS {
            assert!(
                entry.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{}",
                entry.name
            );
            assert_eq!(by_name(entry.name).map(|found| found.code), Some(entry.code));
            assert!(by_alias(entry.name).is_none(), "{} is a name and an alias", entry.name);
        }
        assert!(ALIASES.iter().all(|(alias, _)| by_alias(alias).is_some()));
    }
}
