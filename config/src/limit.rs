//! Every limit that more than one place must know (DESIGN.md, rule 4). Names end in their unit.

/// Worker threads of dhcpd.
pub const DHCPD_WORKERS_MAX: usize = 64;
/// Unknown machines remembered per static scope; the one seen longest ago makes room.
pub const SIGHTINGS_MAX: usize = 4_096;
/// Events kept for `GET /v1/events`; a reader that lags further is told from where it lost.
pub const EVENTS_MAX: usize = 16_384;
/// Entries of one page of a listing.
pub const PAGE_MAX: usize = 1_000;
/// Octets of a request body on the APIs, batches aside.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Boot intents that bootd keeps.
pub const INTENTS_MAX: usize = 100_000;
/// Octets of one option's value.
pub const OPTION_BYTES_MAX: usize = 255;
/// Seconds that a long poll of `GET /v1/events` may wait.
pub const EVENTS_WAIT_SECS_MAX: u64 = 30;
