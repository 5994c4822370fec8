//! UDP around a BMC: a wire that loses and repeats datagrams, and the fake BMC on a socket. Threads end when dropped.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::bmc::FakeBmc;
use super::sim::own_address;
use super::step::Way;

/// A thread that serves a socket until dropped.
struct Thread {
    stop: Arc<AtomicBool>,
    handle: Option<JoinHandle<()>>,
}

impl Thread {
    fn start(mut turn: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let handle = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                turn();
            }
        });
        Self { stop, handle: Some(handle) }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.handle.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

fn bind(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    socket
}

/// A wire to the BMC at another address. `there` and `back` say what becomes of the n-th datagram of their direction.
pub struct Wire {
    pub address: SocketAddr,
    _thread: Thread,
}

impl Wire {
    pub fn to(
        bmc: SocketAddr,
        there: impl Fn(usize) -> Way + Send + 'static,
        back: impl Fn(usize) -> Way + Send + 'static,
    ) -> Self {
        let near = bind(own_address());
        let far = bind((Ipv4Addr::LOCALHOST, 0).into());
        let address = near.local_addr().unwrap();
        let (mut sent, mut answered, mut peer) = (0, 0, None);
        let thread = Thread::start(move || {
            let mut datagram = [0; 2048];
            if let Ok((len, from)) = near.recv_from(&mut datagram) {
                peer = Some(from);
                for _ in 0..there(sent).copies() {
                    far.send_to(&datagram[..len], bmc).unwrap();
                }
                sent += 1;
            }
            while let (Ok(len), Some(peer)) = (far.recv(&mut datagram), peer) {
                for _ in 0..back(answered).copies() {
                    near.send_to(&datagram[..len], peer).unwrap();
                }
                answered += 1;
            }
        });
        Self { address, _thread: thread }
    }
}

/// [`FakeBmc`] on a socket of its own.
pub struct Served {
    pub address: SocketAddr,
    pub bmc: Arc<Mutex<FakeBmc>>,
    _thread: Thread,
}

impl Served {
    pub fn start(bmc: FakeBmc) -> Self {
        let socket = bind(own_address());
        let address = socket.local_addr().unwrap();
        let bmc = Arc::new(Mutex::new(bmc));
        let served = Arc::clone(&bmc);
        let thread = Thread::start(move || {
            let mut datagram = [0; 2048];
            let Ok((len, from)) = socket.recv_from(&mut datagram) else { return };
            let answer = served.lock().unwrap().handle(&datagram[..len]);
            if let Some(answer) = answer {
                socket.send_to(&answer, from).unwrap();
            }
        });
        Self { address, bmc, _thread: thread }
    }
}
