//! Printing a daemon's event stream, the same for `lease events` and `node events`.

use std::future::Future;
use std::time::Duration;

use reveille_client::ClientError;
use reveille_config::dto::event::{Event, EventPage};
use reveille_config::limit::EVENTS_WAIT_SECS_MAX;

use crate::output;

/// How much to print.
#[derive(clap::Args)]
pub struct Args {
    /// Print events after this sequence
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    since: u64,
    /// Go on printing events as they happen
    #[arg(long, short)]
    follow: bool,
    /// One JSON document a line
    #[arg(long)]
    json: bool,
}

/// Prints pages of events until there are no more, or for ever.
pub async fn print<F: Future<Output = Result<EventPage, ClientError>>>(
    args: Args,
    fetch: impl Fn(u64, Duration) -> F,
) -> anyhow::Result<()> {
    let mut since = args.since;
    loop {
        let wait = Duration::from_secs(if args.follow { EVENTS_WAIT_SECS_MAX } else { 0 });
        let page = fetch(since, wait).await?;
        if let Some(known) = page.lost_before {
            eprintln!("note: events before sequence {known} are no longer kept");
        }
        for event in &page.events {
            if args.json {
                output::line(&serde_json::to_string(event)?)?;
            } else {
                output::line(&words(event))?;
            }
        }
        if page.events.is_empty() && !args.follow {
            return Ok(());
        }
        since = page.next;
    }
}

fn words(event: &Event) -> String {
    let who = event.mac.map(|mac| format!(" {mac}")).unwrap_or_default();
    format!(
        "{} {:>6} {:<16}{who} {}",
        output::time_millis(event.at_unix_millis),
        event.sequence,
        event.kind,
        output::printable(&event.message)
    )
}
