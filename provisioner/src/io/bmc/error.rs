//! [`BmcError`]: why a BMC was not asked or did not do it, with its address in every text.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::proto::ipmi::{Cause, Failure};

/// Why a command to a BMC failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BmcError {
    /// The conversation failed at a step.
    #[error("BMC {address}: {failure}")]
    Failed {
        /// Which BMC.
        address: SocketAddr,
        /// Step, cause and time waited.
        failure: Failure,
    },
    /// Nothing came back, and the system would not even send.
    #[error("BMC {address}: {failure}; the last datagram could not be sent")]
    NotSent {
        /// Which BMC.
        address: SocketAddr,
        /// Step, cause and time waited.
        failure: Failure,
        /// What the system said.
        #[source]
        error: Arc<io::Error>,
    },
    /// As many commands wait for this BMC as may.
    #[error("BMC {address}: {limit} commands wait for this BMC already, not one more is taken")]
    QueueFull {
        /// Which BMC.
        address: SocketAddr,
        /// The limit.
        limit: usize,
    },
    /// Conversations with as many BMCs are going on as may.
    #[error("BMC {address}: {limit} BMCs are being talked to already, not one more is taken")]
    TableFull {
        /// Which BMC.
        address: SocketAddr,
        /// The limit.
        limit: usize,
    },
    /// The task that owns the socket has ended, because the program is ending.
    #[error("BMC {address}: the BMC socket is closed")]
    Closed {
        /// Which BMC.
        address: SocketAddr,
    },
}

impl BmcError {
    /// Which BMC.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Failed { address, .. }
            | Self::NotSent { address, .. }
            | Self::QueueFull { address, .. }
            | Self::TableFull { address, .. }
            | Self::Closed { address } => *address,
        }
    }

    /// What went wrong in the conversation, if there was one.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Failed { failure, .. } | Self::NotSent { failure, .. } => Some(&failure.cause),
            Self::QueueFull { .. } | Self::TableFull { .. } | Self::Closed { .. } => None,
        }
    }

    /// The name used as a metric's label.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Failed { failure, .. } | Self::NotSent { failure, .. } => failure.cause.label(),
            Self::QueueFull { .. } => "queue_full",
            Self::TableFull { .. } => "table_full",
            Self::Closed { .. } => "closed",
        }
    }
}
