//! The two clocks, as values: wall seconds for what is persisted, monotonic milliseconds for timers.

/// Wall-clock time, Unix seconds. Ends in 2106, like the 32-bit lease times of DHCP; `NEVER` is the end of an infinite lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixSecs(pub u32);

impl UnixSecs {
    /// The end of what does not end.
    pub const NEVER: Self = Self(u32::MAX);

    /// So many seconds later; at most [`Self::NEVER`].
    pub const fn plus(self, secs: u32) -> Self {
        Self(self.0.saturating_add(secs))
    }

    /// Seconds from `earlier` to `self`; 0 where `earlier` is later. Infinite (`u32::MAX`) where `self` is [`Self::NEVER`].
    pub const fn since(self, earlier: Self) -> u32 {
        if self.0 == u32::MAX { u32::MAX } else { self.0.saturating_sub(earlier.0) }
    }
}

/// Monotonic time, milliseconds since an arbitrary start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// The end of what does not end.
    pub const MAX: Self = Self(u64::MAX);

    /// So many seconds later.
    pub const fn plus_secs(self, secs: u32) -> Self {
        Self(self.0.saturating_add(secs as u64 * 1_000))
    }
}

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// For what is persisted.
    pub unix: UnixSecs,
    /// The same in milliseconds, for people who read events.
    pub unix_millis: u64,
    /// For timers.
    pub monotonic: Millis,
}
