//! The system's allocator, with what each thread has allocated and not yet freed beside it.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

/// Octets that this thread has allocated, less those that it has freed, as they were asked for.
pub fn live_bytes() -> i64 {
    LIVE.get()
}

fn count(octets: i64) {
    // Nothing is counted while a thread ends.
    let _ = LIVE.try_with(|live| live.set(live.get() + octets));
}

/// The system's allocator, counted by thread.
pub struct CountingAllocator;

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of theirs and does not allocate.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_freed_no_longer_counts() {
        let before = live_bytes();
        let kept = vec![0_u8; 10_000];
        assert!(live_bytes() - before >= 10_000);
        drop(kept);
        assert!(live_bytes() - before < 10_000);
    }
}
