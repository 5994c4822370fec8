//! ProxyDHCP on port 67: who is offered what to boot, beside the server that gives the addresses.

use super::*;

/// File, option 60 and destination of an offer.
type Told<'a> = Option<(&'a str, &'a str, Destination)>;

#[test]
fn boot_clients_are_offered_a_file_and_nobody_an_address() {
    let scopes = scopes(&[("kind = \"dynamic\"", "kind = \"proxy\""), ("pools = [\"10.77.2.100-10.77.2.109\"]", "")]);
    let discover = || Packet::discover(STRANGER);
    let pxe = |architecture: u8| discover().option(60, b"PXEClient:Arch").option(93, &[0, architecture]);
    let http = |architecture: u8| discover().option(60, b"HTTPClient:Arch").option(93, &[0, architecture]);
    let here = Destination::Broadcast;
    let (boot, program) = ("http://10.77.2.1:8080/boot.ipxe", "http://10.77.2.1:8080/ipxe.efi");
    let cases: [(&str, Packet, Told<'_>); 12] = [
        ("a BIOS ROM", pxe(0), Some(("undionly.kpxe", "PXEClient", here))),
        ("a UEFI ROM", pxe(7), Some(("snponly.efi", "PXEClient", here))),
        (
            "a ROM that says its architecture only",
            discover().option(93, &[0, 7]),
            Some(("snponly.efi", "PXEClient", here)),
        ),
        ("iPXE", pxe(0).option(77, b"iPXE"), Some((boot, "PXEClient", here))),
        ("iPXE on UEFI", pxe(7).option(77, b"iPXE"), Some((boot, "PXEClient", here))),
        ("UEFI HTTP", http(16), Some((program, "HTTPClient", here))),
        ("a broadcast is asked for or not", pxe(0).broadcast(), Some(("undionly.kpxe", "PXEClient", here))),
        (
            "through a relay",
            pxe(0).relayed_by(ip(2, 254)),
            Some(("undionly.kpxe", "PXEClient", Destination::Relay(ip(2, 254), 67))),
        ),
        ("an architecture without a file", pxe(11), None),
        ("UEFI HTTP of one", http(18), None),
        ("an operating system", discover().option(60, b"MSFT 5.0"), None),
        ("a BMC", discover().option(60, b"iDRAC"), None),
    ];
    for (why, packet, expected) in cases {
        let reply = packet.view(|view| asker(view, &scopes).proxy_offer(Vec::new())).ok();
        let Some(reply) = reply else {
            assert_eq!(expected, None, "{why}");
            continue;
        };
        assert_eq!(reply.octets[16..24], [0, 0, 0, 0, 10, 77, 2, 9], "{why}: no address, but a boot server");
        let file: Vec<u8> = reply.octets[108..236].iter().copied().take_while(|&octet| octet != 0).collect();
        let class = option(&reply, 60).unwrap_or_default();
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        let told = (text(&file), text(&class), reply.destination);
        assert_eq!(Some((told.0.as_str(), told.1.as_str(), told.2)), expected, "{why}");
        assert_eq!(option(&reply, 67), Some(file), "{why}");
        assert_eq!((option(&reply, 53), option(&reply, 54)), (Some(vec![2]), Some(vec![10, 77, 2, 1])), "{why}");
        assert!([51, 58, 59].iter().all(|&code| option(&reply, code).is_none()), "{why}: no lease");
        let discovery = (told.1 == "PXEClient").then(|| vec![6, 1, 8, 255]);
        assert_eq!(option(&reply, 43), discovery, "{why}: the file is the one named");
    }
}
