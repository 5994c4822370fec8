//! A host that solicits routers.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use reveille_lab::Client;
use socket2::{Domain, Protocol, Socket, Type};

const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Sends solicitations from a client's namespace until an advertisement comes.
pub fn solicit(client: &Client, patience: Duration) -> Option<Vec<u8>> {
    let namespace = client.namespace().handle().expect("the client's namespace");
    // The namespace of this thread only.
    let ask = move || {
        rustix::thread::move_into_link_name_space(namespace.as_fd(), None).expect("root may change namespaces");
        let index =
            rustix::net::netdevice::name_to_index(Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap(), "eth0");
        let index = index.expect("the client's interface");
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).unwrap();
        socket.set_multicast_if_v6(index).unwrap();
        socket.set_multicast_hops_v6(255).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let deadline = Instant::now() + patience;
        let mut buffer = [0; 512];
        while Instant::now() < deadline {
            // Fails until duplicate address detection is over.
            let _ = socket.send_to(&[133, 0, 0, 0, 0, 0, 0, 0], &SocketAddrV6::new(ALL_ROUTERS, 0, 0, index).into());
            let asked = Instant::now();
            while asked.elapsed() < Duration::from_millis(500) {
                match rustix::net::recv(&socket, &mut buffer[..], rustix::net::RecvFlags::empty()) {
                    Ok((len, _)) if buffer[0] == 134 => return Some(buffer[..len].to_vec()),
                    _ => {}
                }
            }
        }
        None
    };
    std::thread::spawn(ask).join().expect("the soliciting thread")
}
