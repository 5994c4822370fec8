//! What one test's thread writes to the log. One subscriber serves all threads for good: a line's interest is decided once for the whole process, so a subscriber
//! of one thread, that comes and goes, would lose lines that other threads met first.

use std::cell::RefCell;
use std::sync::Once;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::SubscriberExt;

thread_local! {
    /// What this thread wrote since it listens; `None` before.
    static WRITTEN: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

struct ToThread;

impl std::io::Write for ToThread {
    fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
        WRITTEN.with_borrow_mut(|written| written.iter_mut().for_each(|written| written.extend_from_slice(octets)));
        Ok(octets.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// From here on this thread's lines are kept, those of the debug level too.
pub fn listen() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let listens = dynamic_filter_fn(|_, _| WRITTEN.with_borrow(Option::is_some));
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(|| ToThread).with_filter(listens);
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).expect("nobody else does");
    });
    // A line that a thread met before the subscriber was there counts anew.
    tracing::callsite::rebuild_interest_cache();
    WRITTEN.set(Some(Vec::new()));
}

/// What this thread has written since it began to listen or last asked.
pub fn written() -> String {
    let octets = WRITTEN.with_borrow_mut(|written| written.as_mut().map(std::mem::take));
    String::from_utf8(octets.unwrap_or_default()).expect("text")
}
