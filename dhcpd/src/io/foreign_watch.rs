//! A thread that watches the links for DHCP servers that are not ours: hears what servers broadcast, finds out the hardware addresses of those that clients
//! name, sends a DHCPDISCOVER of its own where that is enabled, and tells of what it finds: log, counter, event.
//!
//! It sees only what is broadcast on the link or sent to this host, and holds no address: what is offered to it lapses.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use metrics::{Counter, counter, describe_counter};
use reveille_config::dhcpd::ScopeKind;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::RecvFlags;
use socket2::{Domain, SockAddr, Socket, Type};

use super::link::interface_index;
use super::prober::ArpSocket;
use super::sys::{self, Instruction};
use super::{Clock, Waker};
use crate::proto::arp;
use crate::proto::foreign::{ForeignServer, Heard, probe};
use crate::proto::scope::{ScopeIndex, Scopes};
use crate::proto::time::Now;
use crate::store::Shared;
use crate::store::event::{EventKind, RawEvent};

/// How often there is something to look for; also how long a stop may take without the waker.
const EVERY: Duration = Duration::from_secs(1);
const ETHERTYPE_IPV4: u16 = 0x0800;

/// Keeps untagged BOOTREPLYs from port 67 that are no later fragment; the packet begins with the Ethernet header. Relays send from port 67 too: were their
/// requests kept, this thread would wake for each of them.
const FROM_SERVERS: [Instruction; 15] = {
    const fn step(code: u16, operand: u32) -> Instruction {
        Instruction { code, jump_true: 0, jump_false: 0, operand }
    }
    const fn unless_equal(operand: u32, jump_false: u8) -> Instruction {
        Instruction { code: 0x15, jump_true: 0, jump_false, operand }
    }
    const fn if_any(bits: u32, jump_true: u8) -> Instruction {
        Instruction { code: 0x45, jump_true, jump_false: 0, operand: bits }
    }
    [
        step(0x28, 12), // load the EtherType
        unless_equal(ETHERTYPE_IPV4 as u32, 12),
        step(0x28, 0xffff_f02c), // the VLAN tag (SKF_AD_VLAN_TAG of <linux/filter.h>)
        if_any(0xfff, 10),
        step(0x30, 23), // the protocol
        unless_equal(17, 8),
        step(0x28, 20), // flags and fragment offset
        if_any(0x1fff, 6),
        step(0xb1, 14), // the length of the IPv4 header
        step(0x48, 14), // the source port
        unless_equal(67, 3),
        step(0x50, 22), // the message's first octet, `op`
        unless_equal(2, 1),
        step(0x06, u32::MAX), // keep
        step(0x06, 0),        // leave
    ]
};

struct Link {
    place: usize,
    name: Box<str>,
    scope: ScopeIndex,
    arp: ArpSocket,
    servers: Socket,
    interface: SockAddr,
    probe_secs: u32,
    probed: Option<Instant>,
    found: Counter,
}

impl Link {
    fn open(place: usize, name: &str, scopes: &Scopes) -> io::Result<Option<Self>> {
        let mut here = scopes.iter().filter(|scope| scope.is_on(name));
        let Some(first) = here.next() else { return Ok(None) };
        // A proxy has another server beside it.
        if first.kind == ScopeKind::Proxy || here.any(|scope| scope.kind == ScopeKind::Proxy) {
            return Ok(None);
        }
        let probe_secs = scopes.iter().filter(|scope| scope.is_on(name)).map(|scope| scope.foreign_probe_secs);
        let index = interface_index(name)?;
        Ok(Some(Self {
            place,
            name: name.into(),
            scope: first.index,
            arp: ArpSocket::open(name)?,
            servers: listen_to_servers(index)?,
            interface: sys::interface_address(index),
            probe_secs: probe_secs.filter(|&secs| secs > 0).min().unwrap_or(0),
            probed: None,
            found: counter!("reveille_dhcpd_foreign_servers_total", "interface" => name.to_owned()),
        }))
    }
}

/// A packet socket that hears what servers say on the interface with this index.
///
/// It is a tap, which sees a packet before the IP layer does: a handler of IPv4 packets beside that layer would have the kernel copy the head of each, also
/// of those that the filter leaves.
fn listen_to_servers(index: u32) -> io::Result<Socket> {
    // Of no protocol, it hears nothing until it is bound.
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None)?;
    sys::attach_socket_filter(&socket, &FROM_SERVERS)?;
    sys::ignore_outgoing(&socket)?;
    socket.bind(&sys::listening_address(index, sys::EVERY_PROTOCOL))?;
    Ok(socket)
}

/// The thread. Dropping it ends it.
#[derive(Debug)]
pub struct ForeignWatch {
    waker: Arc<Waker>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ForeignWatch {
    /// Starts watching the links of the scopes in force. A link that cannot be watched is logged; it is served all the same.
    ///
    /// # Errors
    /// The system gives no thread or descriptor.
    pub fn start(shared: Arc<Shared>, clock: Clock) -> io::Result<Self> {
        describe_counter!("reveille_dhcpd_foreign_servers_total", "Times that a foreign DHCP server was told of");
        let scopes = shared.scopes.load_full();
        let open = |(place, name): (usize, Box<str>)| {
            let warn = |error: &io::Error| tracing::warn!(interface = &*name, %error, "cannot watch the link for foreign DHCP servers");
            Link::open(place, &name, &scopes).inspect_err(warn).ok().flatten()
        };
        let links: Vec<Link> = scopes.interfaces().into_iter().enumerate().filter_map(open).collect();
        let waker = Arc::new(Waker::new()?);
        let stop = Arc::new(AtomicBool::new(false));
        let mut started = Self { waker: Arc::clone(&waker), stop: Arc::clone(&stop), thread: None };
        if !links.is_empty() {
            let thread = Thread { links, shared, clock, xid: std::process::id(), frame: Vec::new() };
            let run = move || thread.run(&waker, &stop);
            started.thread = Some(std::thread::Builder::new().name("dhcpd-watch".into()).spawn(run)?);
        }
        Ok(started)
    }
}

impl Drop for ForeignWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the panic hook.
            let _ = thread.join();
        }
    }
}

struct Thread {
    links: Vec<Link>,
    shared: Arc<Shared>,
    clock: Clock,
    xid: u32,
    frame: Vec<u8>,
}

impl Thread {
    fn run(mut self, waker: &Waker, stop: &AtomicBool) {
        let mut looked = Instant::now();
        loop {
            waker.will_sleep();
            if stop.load(Ordering::SeqCst) {
                return;
            }
            let sockets =
                self.links.iter().flat_map(|link| [link.arp.poll_fd(), PollFd::new(&link.servers, PollFlags::IN)]);
            let mut fds: Vec<PollFd<'_>> = std::iter::once(PollFd::new(waker, PollFlags::IN)).chain(sockets).collect();
            let timeout = Timespec { tv_sec: EVERY.as_secs() as i64, tv_nsec: 0 };
            let polled = poll(&mut fds, Some(&timeout));
            waker.is_awake();
            if let Err(error) = polled.map(drop).or_else(|error| match error {
                rustix::io::Errno::INTR => Ok(()),
                other => Err(other),
            }) {
                tracing::error!(%error, "foreign DHCP servers are no longer looked for");
                return;
            }
            let now = self.clock.now();
            self.listen(now);
            if looked.elapsed() >= EVERY {
                looked = Instant::now();
                self.ask();
                self.tell(now);
            }
        }
    }

    fn listen(&mut self, now: Now) {
        let scopes = self.shared.scopes.load();
        let mut octets = [0; 1_600];
        for link in &self.links {
            while let Some(arp) = link.arp.receive() {
                if let Some(address) = arp.claims() {
                    self.shared.foreign().resolved(link.place, address, arp.sender);
                }
            }
            while let Ok((len, _)) = rustix::net::recv(&link.servers, &mut octets[..], RecvFlags::empty()) {
                if let Some(heard) =
                    Heard::read(&octets[..len.min(1_600)]).filter(|heard| !scopes.knows_server(heard.server))
                {
                    self.shared.foreign().heard(now.unix, link.place, heard);
                }
            }
        }
    }

    fn ask(&mut self) {
        let unresolved: Vec<_> = self.shared.foreign().unresolved().collect();
        for link in &mut self.links {
            let here = unresolved.iter().filter(|(place, _)| *place == link.place);
            let sent = link.arp.mac().and_then(|mac| {
                here.into_iter().try_for_each(|&(_, server)| link.arp.send(&arp::probe(mac, server)))?;
                let due = link.probed.is_none_or(|at| at.elapsed() >= Duration::from_secs(u64::from(link.probe_secs)));
                if link.probe_secs > 0 && due {
                    link.probed = Some(Instant::now());
                    self.xid = self.xid.wrapping_add(1);
                    probe(&mut self.frame, mac, self.xid);
                    link.servers.send_to(&self.frame, &link.interface)?;
                }
                Ok(())
            });
            if let Err(error) = sent {
                tracing::debug!(interface = &*link.name, %error, "cannot look for foreign DHCP servers");
            }
        }
    }

    fn tell(&self, now: Now) {
        loop {
            let Some(found) = self.shared.foreign().poll_report(now.unix) else { break };
            let Some(link) = self.links.iter().find(|link| link.place == found.link) else { continue };
            let ForeignServer { server, mac, offered, .. } = found;
            let mac_shown = mac.map_or_else(|| "unknown".to_owned(), |mac| mac.to_string());
            let offers = offered.map_or_else(|| "nothing that was heard".to_owned(), |address| address.to_string());
            tracing::warn!(interface = &*link.name, %server, mac = mac_shown, offers, boot_file = &*found.boot_file, "a DHCP server that is not ours answers on this link");
            link.found.increment(1);
            self.shared.events.push(RawEvent {
                at_unix_millis: now.unix_millis,
                kind: EventKind::ForeignServer,
                mac: mac.unwrap_or_default(),
                scope: link.scope,
                address: Some(server),
                amount: 0,
                size: 0,
                reason: "",
                journal_sequence: 0,
            });
            self.shared.events.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// An Ethernet frame with a UDP datagram whose first octet is `op`.
    fn frame(ethertype: u16, protocol: u8, fragment: u16, header_words: u8, source_port: u16, op: u8) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend(ethertype.to_be_bytes());
        let mut ip = vec![0; usize::from(header_words) * 4];
        ip[0] = 0x40 | header_words;
        ip[6..8].copy_from_slice(&fragment.to_be_bytes());
        ip[9] = protocol;
        frame.extend(ip);
        frame.extend(source_port.to_be_bytes());
        frame.extend([0, 67, 0, 0, 0, 0, op]);
        frame
    }

    #[test]
    fn only_what_servers_say_wakes_the_thread() {
        const IPV4: u16 = ETHERTYPE_IPV4;
        let cases = [
            ("a server's answer", frame(IPV4, 17, 0, 5, 67, 2), true),
            ("behind a header with options", frame(IPV4, 17, 0, 7, 67, 2), true),
            ("its first fragment", frame(IPV4, 17, 0x2000, 5, 67, 2), true),
            ("a later fragment", frame(IPV4, 17, 0x2001, 5, 67, 2), false),
            ("what a relay forwards", frame(IPV4, 17, 0, 5, 67, 1), false),
            ("what a client sends", frame(IPV4, 17, 0, 5, 68, 1), false),
            ("TCP", frame(IPV4, 6, 0, 5, 67, 2), false),
            ("IPv6", frame(0x86dd, 17, 0, 5, 67, 2), false),
            ("a cut frame", frame(IPV4, 17, 0, 5, 67, 2)[..40].to_vec(), false),
        ];
        // The kernel runs a filter on datagrams of any kind.
        let (from, to) = UnixDatagram::pair().unwrap();
        sys::attach_socket_filter(&to, &FROM_SERVERS).unwrap();
        to.set_nonblocking(true).unwrap();
        for (name, frame, kept) in cases {
            let sent = from.send(&frame);
            let heard = to.recv(&mut [0; 128]).is_ok();
            assert_eq!(heard, kept, "{name} (sent: {sent:?})");
        }
    }
}
