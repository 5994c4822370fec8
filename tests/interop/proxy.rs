//! ProxyDHCP beside a real dnsmasq that gives the addresses: on port 67 and on port 4011.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::Duration;

use reveille_lab::{Client, Process, Run, TwoNetworks};
use socket2::{Domain, Socket, Type};

use crate::stage::{mac, patience};

const CONFIG: &str = r#"
kind = "proxy"
name = "boot"
interface = "br-prov"
subnet = "10.77.2.0/24"
server_address = "10.77.2.1"
boot = { bios = "undionly.kpxe", efi_x64 = "snponly.efi" }
"#;

/// A message of a PXE ROM: DISCOVER (1) or REQUEST (3).
fn message(kind: u8, client: u8, ciaddr: Ipv4Addr, architecture: u8) -> Vec<u8> {
    let mut octets = vec![0; 240];
    octets[..3].copy_from_slice(&[1, 1, 6]);
    octets[10] = 0x80;
    octets[12..16].copy_from_slice(&ciaddr.octets());
    octets[28..34].copy_from_slice(&mac(client).octets());
    octets[236..].copy_from_slice(&[99, 130, 83, 99]);
    octets.extend_from_slice(&[53, 1, kind, 93, 2, 0, architecture, 60, 9]);
    octets.extend_from_slice(b"PXEClient\xff");
    octets
}

/// Sends from the client's namespace and gives what comes back from our server.
fn exchange(client: &Client, port: u16, to: SocketAddrV4, octets: Vec<u8>) -> Option<Vec<u8>> {
    let namespace = client.namespace().handle().expect("the client's namespace");
    let ask = move || {
        rustix::thread::move_into_link_name_space(namespace.as_fd(), None).expect("root may change namespaces");
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        // A process that another test is about to start may hold the socket before this one for a moment.
        socket.set_reuse_address(true).unwrap();
        socket.bind_device(Some(b"eth0")).unwrap();
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into()).unwrap();
        let socket = UdpSocket::from(socket);
        socket.set_broadcast(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut answer = [0; 1_500];
        for _ in 0..120 {
            socket.send_to(&octets, to).unwrap();
            while let Ok((len, from)) = socket.recv_from(&mut answer) {
                if from.ip() == Ipv4Addr::new(10, 77, 2, 1) {
                    return Some(answer[..len].to_vec());
                }
            }
        }
        None
    };
    std::thread::spawn(ask).join().expect("the asking thread")
}

fn ours(run: &Run, networks: &TwoNetworks) -> Process {
    let dir = run.dir().display();
    let config =
        format!("[dhcpd]\nstate_dir = \"{dir}/proxy\"\napi = [\"unix:{dir}/proxy.sock\"]\n[[dhcpd.scope]]{CONFIG}");
    std::fs::create_dir(run.dir().join("proxy")).unwrap();
    let path = run.write("proxy.toml", config).expect("a file");
    let program = networks.host().program(env!("CARGO_BIN_EXE_reveille")).args(["dhcpd", "--config"]).arg(path);
    let process = program.start("proxy").expect("the proxy");
    patience().until("the proxy to serve", || process.log().find("ready")).expect("the proxy serves");
    process
}

#[test]
fn a_rom_is_told_its_file_beside_the_server_that_gives_the_address() {
    let run = Run::start().expect("a lab: root and the lab's packages are needed");
    let networks = TwoNetworks::create(&run).expect("two networks");
    let _proxy = ours(&run, &networks);
    let client = |name, n| Client::on_provisioning_network(&networks, name, mac(n)).expect("a client");
    let host = client("other", 1);
    let _dnsmasq = crate::foreign::dnsmasq(&host);

    // An operating system sees the other server alone.
    let lease = client("plain", 2).udhcpc(&[]).expect("a lease");
    assert_eq!(lease.get("serverid"), Some("10.77.2.66"));

    let rom = client("rom", 3);
    let everybody = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);
    let has = |octets: &[u8], words: &[u8]| octets.windows(words.len()).any(|window| window == words);
    rom.configure(Ipv4Addr::new(10, 77, 2, 185), 24, None).expect("an address");
    for (architecture, file) in [(0, &b"undionly.kpxe"[..]), (7, b"snponly.efi")] {
        let offer =
            exchange(&rom, 68, everybody, message(1, 3, Ipv4Addr::UNSPECIFIED, architecture)).expect("an offer");
        assert_eq!((offer[242], &offer[16..24]), (2, &[0, 0, 0, 0, 10, 77, 2, 1][..]), "no address, but a boot server");
        assert!(has(&offer, file) && has(&offer, b"\x3c\x09PXEClient") && has(&offer, &[54, 4, 10, 77, 2, 1]));
        assert!(!offer[240..].starts_with(&[51]) && !has(&offer, &[51, 4]), "no lease time");

        let own = Ipv4Addr::new(10, 77, 2, 185);
        let server = SocketAddrV4::new(Ipv4Addr::new(10, 77, 2, 1), 4_011);
        let ack = exchange(&rom, 68, server, message(3, 3, own, architecture)).expect("an acknowledgement");
        assert_eq!((ack[242], &ack[12..16]), (5, &own.octets()[..]));
        assert!(has(&ack, file));
    }
}
