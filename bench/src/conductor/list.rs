//! All leases, listed as the API exports them: how many a second, and whether each is there once.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use http_body_util::BodyExt as _;
use hyper::Method;
use serde_json::{Value, json};

use super::connection::Connection;

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Clients that are bound, from number 0 on: each must be listed; others may be
    #[arg(long)]
    bound: u32,
    /// For how long: a listing is begun as long as there is time for one more like the last
    #[arg(long)]
    millis: u64,
}

/// Lists until the time is over, at least once.
///
/// # Errors
/// A lease is missing, is listed twice or makes no sense.
pub async fn run(socket: &Path, args: &Args) -> anyhow::Result<Value> {
    let time = Duration::from_millis(args.millis);
    let begun = Instant::now();
    let (mut listings, mut leases, mut octets, mut seconds) = (0, 0, 0, 0.0);
    loop {
        let one = Instant::now();
        let mut listing = Listing::new(args.bound);
        let mut connection = Connection::open(socket).await?;
        let answer = connection.ask(Method::GET, "/v1/leases:export", "*/*", Vec::new().into()).await?;
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            if let Some(part) = frame?.data_ref() {
                octets += part.len();
                listing.handle_octets(part)?;
            }
        }
        let took = one.elapsed();
        listings += 1;
        leases += listing.end()?;
        seconds += took.as_secs_f64();
        if begun.elapsed() + took > time {
            return Ok(json!({ "listings": listings, "leases": leases, "octets": octets, "seconds": seconds }));
        }
    }
}

/// What has been listed.
struct Listing {
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
    /// The address listed last.
    last: u32,
    leases: u64,
    /// By client number.
    seen: Vec<bool>,
}

impl Listing {
    fn new(bound: u32) -> Self {
        Self { rest: Vec::new(), last: 0, leases: 0, seen: vec![false; bound as usize] }
    }

    fn handle_octets(&mut self, mut octets: &[u8]) -> anyhow::Result<()> {
        if !self.rest.is_empty() {
            let Some(end) = octets.iter().position(|octet| *octet == b'\n') else {
                self.rest.extend_from_slice(octets);
                return Ok(());
            };
            let mut line = std::mem::take(&mut self.rest);
            line.extend_from_slice(&octets[..end]);
            self.line(&line)?;
            octets = &octets[end + 1..];
        }
        while let Some(end) = octets.iter().position(|octet| *octet == b'\n') {
            self.line(&octets[..end])?;
            octets = &octets[end + 1..];
        }
        self.rest.extend_from_slice(octets);
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> anyhow::Result<()> {
        let shown = || String::from_utf8_lossy(line).into_owned();
        let (address, number) = lease(line).with_context(|| format!("no lease: {}", shown()))?;
        ensure!(address > self.last, "out of order, or twice: {}", shown());
        (self.last, self.leases) = (address, self.leases + 1);
        if let Some(seen) = number.and_then(|number| self.seen.get_mut(number as usize)) {
            ensure!(!std::mem::replace(seen, true), "its machine was listed before: {}", shown());
        }
        Ok(())
    }

    /// How many there were.
    fn end(self) -> anyhow::Result<u64> {
        ensure!(self.rest.is_empty(), "the last line is not whole");
        let missing = self.seen.iter().filter(|seen| !**seen).count();
        ensure!(missing == 0, "{missing} of {} leases are not listed", self.seen.len());
        Ok(self.leases)
    }
}

/// Address and client number of a line. A general reader of JSON would be the bottleneck; this one knows how a line begins and ends.
fn lease(line: &[u8]) -> Option<(u32, Option<u32>)> {
    let rest = line.strip_prefix(br#"{"address":""#)?;
    let (mut address, mut part, mut at) = (0_u32, 0_u32, 0);
    loop {
        match *rest.get(at)? {
            digit @ b'0'..=b'9' => part = part * 10 + u32::from(digit - b'0'),
            b'.' => (address, part) = (address << 8 | part, 0),
            b'"' => break,
            _ => return None,
        }
        at += 1;
    }
    address = address << 8 | part;
    let mac = rest[at..].strip_prefix(br#"","mac":""#)?.get(..17)?;
    let mut octets = [0_u8; 6];
    for (octet, text) in octets.iter_mut().zip(mac.chunks(3)) {
        *octet = (hex(text[0])? << 4) | hex(text[1])?;
    }
    let whole = line.ends_with(b"}");
    let number = match octets {
        [0x02, 0x42, number @ ..] => Some(u32::from_be_bytes(number)),
        _ => None,
    };
    whole.then_some((address, number))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(addresses: &[(&str, &str)]) -> String {
        addresses
            .iter()
            .map(|(address, mac)| format!("{{\"address\":\"{address}\",\"mac\":\"{mac}\",\"scope\":\"load\"}}\n"))
            .collect()
    }

    #[test]
    fn a_listing_is_whole_or_refused() {
        let (zero, one, other) = ("02:42:00:00:00:00", "02:42:00:00:00:01", "02:42:00:00:00:07");
        for (rows, cut, outcome) in [
            (&[("10.65.0.1", zero), ("10.65.0.2", other), ("10.66.0.0", one)][..], 0, Some(3)),
            (&[("10.65.0.1", zero), ("10.65.0.2", other)], 0, None),
            (&[("10.65.0.2", zero), ("10.65.0.1", one)], 0, None),
            (&[("10.65.0.1", zero), ("10.65.0.2", one), ("10.65.0.3", one)], 0, None),
            (&[("10.65.0.1", zero), ("10.65.0.2", one)], 1, None),
            (&[("10.65.0.1", zero), ("10.65.x.2", one)], 0, None),
        ] {
            let text = lines(rows);
            let text = &text.as_bytes()[..text.len() - cut];
            for part in 1..text.len() {
                let mut listing = Listing::new(2);
                let taken = text.chunks(part).try_for_each(|part| listing.handle_octets(part));
                assert_eq!(taken.and_then(|()| listing.end()).ok(), outcome, "{rows:?} in parts of {part}");
            }
        }
    }
}
