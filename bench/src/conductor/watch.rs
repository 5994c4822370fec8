//! Watchers: some of everything, more of a few machines each. How far they are behind, and that none misses an event.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use http_body_util::BodyExt as _;
use hyper::Method;
use reveille_config::dto::event::sse;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::connection::Connection;
use crate::generate::mac;
use crate::histogram::Histogram;

/// Watchers of everything.
const OF_ALL: usize = 10;
/// Watchers of some machines.
const OF_SOME: usize = 100;
/// Machines that each of those watches: as many as one filter takes.
const MACHINES: usize = 64;
/// Events of the time are all there once one comes that is later; where none comes for so long, the load has ended.
const END_WAIT: Duration = Duration::from_secs(10);
/// From when they are told to when they count.
const SETTLE: Duration = Duration::from_millis(100);
/// How much longer than watchers of everything the others may take before an event counts as missing.
const DRAIN: Duration = Duration::from_millis(1_000);

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The first client of the load
    #[arg(long)]
    first: u32,
    /// Clients that it may come to; the watched ones are spread over them
    #[arg(long)]
    clients: u32,
    /// For how long
    #[arg(long)]
    millis: u64,
}

/// An event as a watcher notes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Noted {
    sequence: u64,
    at_unix_millis: u64,
    /// The octets of its MAC as text, which is all that is needed of it.
    mac: [u8; 17],
}

/// What a watcher has come to.
struct Watched {
    /// The machines that it watches; empty: all.
    macs: HashSet<[u8; 17]>,
    events: Vec<Noted>,
    lag: Histogram,
}

/// Watches until the time is over, then holds what all have seen against each other.
///
/// # Errors
/// A stream ended, or an event is missing or came twice.
pub async fn run(socket: &Path, args: &Args) -> anyhow::Result<Value> {
    let (heard, mut hearing) = mpsc::channel(OF_ALL + OF_SOME);
    let (start, started) = tokio::sync::watch::channel(None);
    let (finish, finished) = tokio::sync::watch::channel(());
    let (mut of_all, mut of_some) = (JoinSet::new(), JoinSet::new());
    for watcher in 0..OF_ALL + OF_SOME {
        let macs: HashSet<[u8; 17]> = match watcher.checked_sub(OF_ALL) {
            None => HashSet::new(),
            // Each its own, spread over the whole time.
            Some(place) => (0..MACHINES).map(|n| text((n * OF_SOME + place) as u32, args)).collect(),
        };
        let watchers = if macs.is_empty() { &mut of_all } else { &mut of_some };
        watchers.spawn(watch(socket.to_owned(), macs, heard.clone(), started.clone(), finished.clone()));
    }
    drop(heard);
    for _ in 0..OF_ALL + OF_SOME {
        hearing.recv().await.context("a stream did not begin")?;
    }
    // In a moment: an event that one of them has read before it learns when to count would be missed.
    let from = unix_micros() / 1_000 + SETTLE.as_millis() as u64;
    let until = from + args.millis;
    start.send_replace(Some((from, until)));
    let time = SETTLE + Duration::from_millis(args.millis) + END_WAIT;
    let of_all = tokio::time::timeout(time, all(of_all)).await.context("no event came after the end of the time")??;
    tokio::time::sleep(DRAIN).await;
    finish.send_replace(());
    let of_some = all(of_some).await?;
    let reference = complete(&of_all, from, until)?;
    for watched in &of_some {
        agrees(watched, reference)?;
    }
    let lag = |watched: &[Watched]| {
        let mut lag = Histogram::default();
        watched.iter().for_each(|watched| lag.merge(&watched.lag));
        let millis = |share| lag.micros_at(share) / 1e3;
        json!({ "p50_ms": millis(0.5), "p99_ms": millis(0.99), "max_ms": millis(1.0) })
    };
    Ok(
        json!({ "seconds": args.millis as f64 / 1e3, "events": reference.len(), "all": lag(&of_all), "filtered": lag(&of_some),
               "filtered_events": of_some.iter().map(|watched| watched.events.len()).sum::<usize>() }),
    )
}

/// What all of them have come to.
async fn all(mut watchers: JoinSet<anyhow::Result<Watched>>) -> anyhow::Result<Vec<Watched>> {
    let mut all = Vec::new();
    while let Some(watched) = watchers.join_next().await {
        all.push(watched??);
    }
    Ok(all)
}

/// The n-th watched machine of the load.
fn text(n: u32, args: &Args) -> [u8; 17] {
    let step = (args.clients / (MACHINES * OF_SOME) as u32).max(1);
    mac(args.first + n * step).to_string().as_bytes().try_into().unwrap_or_default()
}

fn unix_micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

/// One watcher: says that it is heard, learns from when to when it counts, and reads on until a later event has come, or it is told that all have.
async fn watch(
    socket: PathBuf,
    macs: HashSet<[u8; 17]>,
    heard: mpsc::Sender<()>,
    mut started: tokio::sync::watch::Receiver<Option<(u64, u64)>>,
    mut finished: tokio::sync::watch::Receiver<()>,
) -> anyhow::Result<Watched> {
    let mut path = "/v1/events?since=latest".to_owned();
    if !macs.is_empty() {
        let macs: Vec<_> = macs.iter().map(|mac| String::from_utf8_lossy(mac).replace(':', "%3a")).collect();
        path = format!("{path}&mac={}", macs.join(","));
    }
    let mut connection = Connection::open(&socket).await?;
    let answer = connection.ask(Method::GET, &path, sse::CONTENT_TYPE, Vec::new().into()).await?;
    let mut body = answer.into_body();
    let mut watched = Watched { macs, events: Vec::new(), lag: Histogram::default() };
    let mut stream = Stream::default();
    let mut told = Some(heard);
    let mut counting = None;
    loop {
        tokio::select! {
            frame = body.frame() => {
                let frame = frame.context("a stream ended")??;
                if let Some(heard) = told.take() {
                    heard.send(()).await?;
                }
                let Some(octets) = frame.data_ref() else { continue };
                let now = unix_micros();
                stream.handle_octets(octets);
                while let Some(noted) = stream.poll_event()? {
                    let Some((from, until)) = counting else { continue };
                    if noted.at_unix_millis >= until {
                        // None of the time comes after this one: their times grow as their sequences do.
                        return Ok(watched);
                    }
                    if noted.at_unix_millis >= from {
                        watched.lag.add(now.saturating_sub(noted.at_unix_millis * 1_000) * 1_000);
                        watched.events.push(noted);
                    }
                }
            }
            Ok(()) = started.changed(), if counting.is_none() => counting = *started.borrow_and_update(),
            Ok(()) = finished.changed() => return Ok(watched),
        }
    }
}

/// Watchers of everything have the same events, of all sequences from the first to the last; these.
fn complete(watchers: &[Watched], from: u64, until: u64) -> anyhow::Result<&[Noted]> {
    let reference = &watchers.first().context("nobody watches")?.events[..];
    ensure!(!reference.is_empty(), "no event came between {from} and {until}");
    // Every record of this load is one event, so that no sequence may be missing.
    if let Some(pair) = reference.windows(2).find(|pair| pair[1].sequence != pair[0].sequence + 1) {
        anyhow::bail!("after the event {} came {}", pair[0].sequence, pair[1].sequence);
    }
    for watched in watchers {
        ensure!(
            watched.events == reference,
            "two watchers of everything have not seen the same: {} and {} events",
            watched.events.len(),
            reference.len()
        );
    }
    Ok(reference)
}

/// A watcher of some machines has all events of those, and no other.
fn agrees(watched: &Watched, reference: &[Noted]) -> anyhow::Result<()> {
    let expected: Vec<Noted> = reference.iter().filter(|noted| watched.macs.contains(&noted.mac)).copied().collect();
    let missing = expected.iter().find(|noted| !watched.events.contains(noted));
    ensure!(missing.is_none(), "a filtered watcher misses an event: {missing:?}");
    ensure!(
        watched.events == expected,
        "a filtered watcher has {} events, not {}",
        watched.events.len(),
        expected.len()
    );
    Ok(())
}

/// Reads the stream. A general reader of JSON would be the bottleneck; this one takes out what it needs.
#[derive(Default)]
struct Stream {
    octets: Vec<u8>,
    read: usize,
}

impl Stream {
    fn handle_octets(&mut self, octets: &[u8]) {
        self.octets.drain(..self.read);
        self.read = 0;
        self.octets.extend_from_slice(octets);
    }

    /// The next event that is whole.
    fn poll_event(&mut self) -> anyhow::Result<Option<Noted>> {
        loop {
            let rest = &self.octets[self.read..];
            let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") else { return Ok(None) };
            let block = &rest[..end];
            self.read += end + 2;
            if !block.starts_with(b"id: ") || !block.windows(6).take(48).any(|part| part == b"event:") {
                // How long to wait before coming back; a comment; a position.
                continue;
            }
            let noted = noted(block);
            return noted.map(Some).with_context(|| format!("no event: {}", String::from_utf8_lossy(block)));
        }
    }
}

fn noted(block: &[u8]) -> Option<Noted> {
    let after = |name: &[u8]| {
        let at = block.windows(name.len()).position(|part| part == name)?;
        block.get(at + name.len()..)
    };
    let number = |octets: &[u8]| {
        let digits = octets.iter().take_while(|octet| octet.is_ascii_digit());
        digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
    };
    Some(Noted {
        sequence: number(after(b"\"sequence\":")?),
        at_unix_millis: number(after(b"\"at_unix_millis\":")?),
        mac: after(b"\"mac\":\"")?.get(..17)?.try_into().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use reveille_config::dto::event::{Epoch, Event, Place};

    const EPOCH: Epoch = Epoch(0x5f0c_6ad1_c9e2_b734);

    fn event(sequence: u64, n: u32) -> Event {
        let detail = serde_json::Map::new();
        Event {
            sequence,
            at_unix_millis: 5_000 + sequence,
            kind: "bound".into(),
            mac: Some(mac(n)),
            node: None,
            message: "words".into(),
            detail,
        }
    }

    fn noted(sequence: u64, n: u32) -> Noted {
        let mac = mac(n).to_string().as_bytes().try_into().unwrap();
        Noted { sequence, at_unix_millis: 5_000 + sequence, mac }
    }

    fn watched(macs: &[u32], events: &[(u64, u32)]) -> Watched {
        let macs = macs.iter().map(|n| noted(0, *n).mac).collect();
        Watched {
            macs,
            events: events.iter().map(|(sequence, n)| noted(*sequence, *n)).collect(),
            lag: Histogram::default(),
        }
    }

    #[test]
    fn events_are_read_however_they_come() {
        let mut octets = b"retry: 1000\n\n:\n\n".to_vec();
        sse::write_event(&mut octets, EPOCH, &event(7, 1));
        sse::write_position(&mut octets, Place { epoch: EPOCH, sequence: 9 });
        sse::write_event(&mut octets, EPOCH, &event(10, 2));
        for part in 1..octets.len() {
            let (mut stream, mut found) = (Stream::default(), Vec::new());
            for part in octets.chunks(part) {
                stream.handle_octets(part);
                while let Some(event) = stream.poll_event().unwrap() {
                    found.push(event);
                }
            }
            assert_eq!(found, [noted(7, 1), noted(10, 2)], "in parts of {part}");
        }
        let mut lost = Vec::new();
        sse::write_lost(&mut lost, EPOCH, reveille_config::dto::event::Lost { from: 1, to: 2 });
        let mut stream = Stream::default();
        stream.handle_octets(&lost);
        assert!(stream.poll_event().is_err(), "lost events must not go by");
    }

    #[test]
    fn an_event_that_is_missing_is_noticed() {
        let whole = || watched(&[], &[(4, 1), (5, 2), (6, 3)]);
        let twice = [whole(), whole()];
        let reference = complete(&twice, 0, 9).unwrap();
        for (macs, events, good) in [
            (&[1, 3][..], &[(4, 1), (6, 3)][..], true),
            (&[8], &[], true),
            (&[1, 3], &[(4, 1)], false),
            (&[1], &[(4, 1), (4, 1)], false),
            (&[1], &[(4, 1), (6, 3)], false),
        ] {
            assert_eq!(agrees(&watched(macs, events), reference).is_ok(), good, "{macs:?} {events:?}");
        }
        let gap = || watched(&[], &[(4, 1), (6, 3)]);
        assert!(complete(&[gap()], 0, 9).is_err());
        assert!(complete(&[whole(), gap()], 0, 9).is_err());
    }
}
