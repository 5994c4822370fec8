//! From a request to the octets that answer it.

use std::sync::Arc;

use bytes::Bytes;

use super::served::Served;
use crate::proto::path::SafePath;
use crate::proto::tftp::netascii;
use crate::proto::tftp::packet::{Mode, Options};
use crate::store::{Content, Lookup, OpenFile, Patience, Script, Store};

/// A request that has been accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) path: SafePath,
    pub(super) mode: Mode,
    pub(super) options: Options,
}

/// Where the octets come from.
#[derive(Debug)]
pub(super) enum Source {
    Octets(Bytes),
    File(Arc<Served>),
}

/// What a request came to.
#[derive(Debug)]
pub(super) enum Opened {
    /// Octets, and the script that they are, if they are one.
    Octets(Bytes, Option<Script>),
    File(OpenFile),
    Missing(Lookup),
    TooLargeForText,
}

/// Looks without waiting for the disk; none if that is not enough.
pub(super) fn open_now(store: &Store, request: &Request) -> Option<Opened> {
    match open(store, request, Patience::Cached) {
        Opened::Missing(Lookup::WouldBlock) => None,
        opened => Some(opened),
    }
}

/// Looks for what is asked for. In text mode a file is read here, so that mode waits for the disk or [`Lookup::WouldBlock`] is missing.
pub(super) fn open(store: &Store, request: &Request, patience: Patience) -> Opened {
    let encode = |octets: &[u8]| Bytes::from(netascii::encode(octets));
    match (store.content(&request.path, patience), request.mode) {
        (Content::Script(script), Mode::Octet) => Opened::Octets(script.text.clone(), Some(script)),
        (Content::Script(script), Mode::Netascii) => Opened::Octets(encode(&script.text), Some(script)),
        (Content::File(Lookup::Found(file)), Mode::Octet) => Opened::File(file),
        (Content::File(Lookup::Found(file)), Mode::Netascii) => match (file.bytes, patience) {
            (bytes, _) if bytes > netascii::SOURCE_BYTES_MAX => Opened::TooLargeForText,
            (_, Patience::Cached) => Opened::Missing(Lookup::WouldBlock),
            (bytes, Patience::Blocking) => {
                let mut octets = vec![0; bytes as usize];
                match file.read_blocking(&mut octets, 0) {
                    Ok(()) => Opened::Octets(encode(&octets), None),
                    Err(error) => Opened::Missing(Lookup::Failed(error)),
                }
            }
        },
        (Content::File(lookup), _) => Opened::Missing(lookup),
    }
}
