//! The TFTP server of one address, or one of several that share it: a thread of its own, a listening socket for requests and a few transfer sockets for all downloads.
//!
//! RFC 1350 gives each transfer an identifier by its pair of ports. Here many peers share a transfer socket, so that ports do not run
//! out, and a peer with several transfers (a ROM that always uses the same port and starts over) gets another socket for each. In
//! single-port mode everything goes through the listening socket, as a load balancer or a firewall may need it.
//!
//! The thread ([`worker::Worker`]) takes in many datagrams with one system call and sends many with one ([`outbox`]). It never waits for the
//! disk: files are opened and cold pages are read on threads that may.

mod complaints;
mod opening;
mod outbox;
mod requests;
mod served;
mod session;
mod sessions;
mod timers;
mod uploads;
mod worker;

#[cfg(test)]
mod tests;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reveille_config::limit::{DROPBOX_WRITES_MAX, TFTP_TRANSFERS_MAX};
use tokio::sync::watch;

use self::complaints::Complaints;
use self::worker::Worker;
use super::Counters;
use super::listen::{self, ListenError};
use super::waker::Waker;
use crate::store::Store;

/// Transfer sockets: so many transfers a peer can have from one port.
const TRANSFER_SOCKETS: usize = 4;

/// The server of one address.
#[derive(Debug)]
pub struct Server {
    worker: Worker,
    control: Arc<Control>,
}

/// What the thread is told from outside.
#[derive(Debug)]
struct Control {
    /// No new requests; over when the transfers have ended.
    stopping: AtomicBool,
    /// Over at once.
    abandoned: AtomicBool,
    waker: Waker,
}

impl Control {
    fn tell(&self, what: &AtomicBool) {
        what.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// Ends the thread when nobody waits for it any more.
struct Abandon(Arc<Control>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.tell(&self.0.abandoned);
    }
}

impl Server {
    /// Binds the address as often as there are workers, which divide its machines and its places among them. Must run on a tokio runtime, whose blocking threads
    /// read from the disk.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub fn bind_all(
        address: SocketAddr,
        workers: usize,
        single_port: bool,
        store: &Arc<Store>,
        counters: &Arc<Counters>,
    ) -> Result<Vec<Self>, ListenError> {
        let complaints = Complaints::default();
        let bind = |_| {
            let mut server = Self::bind_one(address, workers > 1, single_port, store.clone(), counters.clone())?;
            server.worker.complaints = complaints.clone();
            server.worker.transfers_max = TFTP_TRANSFERS_MAX.div_ceil(workers);
            server.worker.uploads_max = DROPBOX_WRITES_MAX.div_ceil(workers);
            Ok(server)
        };
        (0..workers.max(1)).map(bind).collect()
    }

    #[cfg(test)]
    pub(crate) fn bind(
        address: SocketAddr,
        single_port: bool,
        store: Arc<Store>,
        counters: Arc<Counters>,
    ) -> Result<Self, ListenError> {
        Self::bind_one(address, false, single_port, store, counters)
    }

    fn bind_one(
        address: SocketAddr,
        is_shared: bool,
        single_port: bool,
        store: Arc<Store>,
        counters: Arc<Counters>,
    ) -> Result<Self, ListenError> {
        let waker = Waker::new().map_err(|source| listen::udp_error(address, source))?;
        let control = Arc::new(Control { stopping: AtomicBool::new(false), abandoned: AtomicBool::new(false), waker });
        let mut sockets = vec![listen::udp(address, is_shared)?];
        if !single_port {
            let any_port = SocketAddr::new(address.ip(), 0);
            for _ in 0..TRANSFER_SOCKETS {
                sockets.push(listen::udp(any_port, false)?);
            }
        }
        Ok(Self { worker: Worker::new(sockets, store, counters, control.clone()), control })
    }

    /// Where requests go to.
    fn listening(&self) -> &UdpSocket {
        self.worker.listening()
    }

    /// Serves until `stop` turns true; then no new requests are taken, and it returns when the transfers have ended.
    ///
    /// # Panics
    /// If the thread does: what it did not foresee ends the daemon rather than leaving it deaf.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let address = self.listening().local_addr().ok();
        let Self { worker, control } = self;
        let _abandon = Abandon(control.clone());
        let mut thread = tokio::task::spawn_blocking(move || worker.run());
        let ended = tokio::select! {
            ended = &mut thread => ended,
            () = async { drop(stop.wait_for(|stop| *stop).await) } => {
                control.tell(&control.stopping);
                thread.await
            }
        };
        if let Err(error) = ended
            && let Ok(panic) = error.try_into_panic()
        {
            tracing::error!(?address, "the TFTP server has failed");
            std::panic::resume_unwind(panic);
        }
    }
}
