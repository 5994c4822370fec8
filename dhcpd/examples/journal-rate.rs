//! Measures the journal on a real directory: commits from idle, a saturated ring, a snapshot beside it, and a replay.
//!
//! `cargo run --release -p reveille-dhcpd --example journal-rate -- DIRECTORY [RECORDS]`; the directory must be empty.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use reveille_dhcpd::store::journal::{JournalOptions, Settled, open_directory};

/// About what a lease's record takes.
const PAYLOAD: [u8; 72] = [7; 72];
/// Promises outstanding at once, as a saturated worker has them.
const WINDOW: usize = 1_024;

fn percentiles(mut micros: Vec<u128>) -> String {
    micros.sort_unstable();
    let at = |share: usize| micros[(micros.len() - 1) * share / 100];
    format!("p50 {} µs, p99 {} µs, max {} µs", at(50), at(99), at(100))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("which directory?")?;
    let records: u64 = arguments.next().map_or(Ok(1_000_000), |count| count.parse())?;
    let path = Path::new(&directory);
    let start = Instant::now();
    let journal = open_directory(path, JournalOptions::default(), &mut |_, _, _| {})?;
    println!("open, empty: {:?}; writer priority: {:?}", start.elapsed(), journal.writer_priority());
    let mut appender = journal.appender();
    let mut snapshot_room = journal.appender();

    let mut micros = Vec::new();
    for _ in 0..500 {
        std::thread::sleep(Duration::from_millis(2));
        let start = Instant::now();
        let mut pending = appender.append(1, &PAYLOAD, ()).map_err(|refused| refused.reason)?;
        loop {
            match pending.settle(&appender) {
                Settled::Durable(_) => break,
                Settled::Refused(refused) => return Err(refused.reason.into()),
                Settled::Waiting(waiting) => pending = waiting,
            }
            std::thread::yield_now();
        }
        micros.push(start.elapsed().as_micros());
    }
    println!("one record from idle, append to durable: {}", percentiles(micros));

    let before = journal.stats();
    let start = Instant::now();
    let mut micros = Vec::new();
    let mut window = VecDeque::new();
    let mut left = records;
    while left > 0 || !window.is_empty() {
        while left > 0 && window.len() < WINDOW {
            window.push_back(appender.append(1, &PAYLOAD, Instant::now()).map_err(|refused| refused.reason)?);
            left -= 1;
        }
        while let Some(pending) = window.pop_front() {
            match pending.settle(&appender) {
                Settled::Durable(durable) => micros.push(durable.into_inner().elapsed().as_micros()),
                Settled::Refused(refused) => return Err(refused.reason.into()),
                Settled::Waiting(waiting) => {
                    window.push_front(waiting);
                    std::thread::yield_now();
                    break;
                }
            }
        }
    }
    let took = start.elapsed();
    let after = journal.stats();
    let commits = after.commits - before.commits;
    println!(
        "{records} records, window {WINDOW}: {took:?}, {:.0} records/s, {:.0} commits/s, {:.0} µs a commit; {}",
        records as f64 / took.as_secs_f64(),
        commits as f64 / took.as_secs_f64(),
        (after.commit_nanos - before.commit_nanos) as f64 / commits as f64 / 1e3,
        percentiles(micros),
    );

    // No more waiting for promises: what the queue and the disk can take, with the ring's limit as the only brake.
    let start = Instant::now();
    let mut last = None;
    for _ in 0..records {
        loop {
            match snapshot_room.append(1, &PAYLOAD, ()) {
                Ok(pending) => break last = Some(pending.sequence()),
                Err(_) => std::thread::yield_now(),
            }
        }
    }
    while last.is_some_and(|last| journal.durable() < last) {
        std::thread::yield_now();
    }
    println!("{records} records, ring-bound: {:.0} records/s", records as f64 / start.elapsed().as_secs_f64());
    journal.close();

    let start = Instant::now();
    let mut replayed = 0_u64;
    let journal = open_directory(path, JournalOptions::default(), &mut |_, _, _| replayed += 1)?;
    println!("replay of {replayed} records from {} segments: {:?}", journal.recovered().segments, start.elapsed());
    let start = Instant::now();
    let report = journal.snapshot(&mut |put| (0..records).for_each(|_| put(1, &PAYLOAD)))?;
    println!("snapshot of {} records, {} octets: {:?}", report.records, report.bytes, start.elapsed());
    journal.close();
    let start = Instant::now();
    let mut replayed = 0_u64;
    open_directory(path, JournalOptions::default(), &mut |_, _, _| replayed += 1)?.close();
    println!("replay of {replayed} records from the snapshot, and close: {:?}", start.elapsed());
    Ok(())
}
