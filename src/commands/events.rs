//! Printing a daemon's events: `events`, `lease events`, `lease watch`, `reservation watch`, `node events`. A stream that breaks off is taken up where it was.

use std::process::ExitCode;
use std::time::Duration;

use reveille_client::{Bootd, ClientError, Dhcpd, EventStream, Ironic};
use reveille_config::MacAddr;
use reveille_config::dto::event::sse::Item;
use reveille_config::dto::event::{Event, EventPage, EventQuery, Lost, Since};

use crate::output;
use crate::target::{Api, DhcpdTarget};

/// After a stream broke off, the next try waits so long.
const COME_BACK: Duration = Duration::from_secs(1);

/// Which events.
#[derive(clap::Args)]
pub struct Wanted {
    /// Of these kinds only
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<String>,
    /// Of these scopes only
    #[arg(long, value_name = "SCOPE", value_delimiter = ',')]
    scope: Vec<String>,
    /// Of these machines only
    #[arg(long, value_name = "MAC", value_delimiter = ',')]
    mac: Vec<MacAddr>,
    /// Offers, refusals, drops and sightings too, which the daemon does not keep
    #[arg(long)]
    transient: bool,
    /// One JSON document a line
    #[arg(long)]
    json: bool,
}

/// How much to print.
#[derive(clap::Args)]
pub struct Args {
    /// Print events after this sequence, or after this place of a log (`<epoch>-<sequence>`)
    #[arg(long, value_name = "PLACE", default_value_t = Since::Sequence(0))]
    since: Since,
    /// Go on printing events as they happen
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    wanted: Wanted,
}

/// What to watch.
#[derive(clap::Args)]
pub struct Watch {
    /// Begin after this sequence, or after this place of a log (`<epoch>-<sequence>`) [default: with what happens from now on]
    #[arg(long, value_name = "PLACE")]
    since: Option<Since>,
    #[command(flatten)]
    wanted: Wanted,
}

/// Arguments of `reveille events`.
#[derive(clap::Args)]
pub struct Command {
    #[command(flatten)]
    target: DhcpdTarget,
    /// The daemon; a token, --ca and a certificate are shown to dhcpd only
    daemon: Daemon,
    #[command(flatten)]
    watch: Watch,
}

/// Who is watched.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Daemon {
    Dhcpd,
    Bootd,
    Provisioner,
}

/// A daemon that has events.
pub enum Source {
    /// dhcpd.
    Dhcpd(Dhcpd),
    /// bootd.
    Bootd(Bootd),
    /// The provisioner.
    Provisioner(Ironic),
}

impl Source {
    async fn page(&self, query: &EventQuery) -> Result<EventPage, ClientError> {
        match self {
            Self::Dhcpd(dhcpd) => dhcpd.events_of(query).await,
            Self::Bootd(bootd) => bootd.events_of(query).await,
            Self::Provisioner(ironic) => ironic.events_of(query).await,
        }
    }

    async fn stream(&self, query: &EventQuery) -> Result<EventStream, ClientError> {
        match self {
            Self::Dhcpd(dhcpd) => dhcpd.event_stream(query).await,
            Self::Bootd(bootd) => bootd.event_stream(query).await,
            Self::Provisioner(ironic) => ironic.event_stream(query).await,
        }
    }
}

/// Prints what a daemon does, as it happens.
pub async fn run(args: Command) -> anyhow::Result<ExitCode> {
    let source = match args.daemon {
        Daemon::Dhcpd => Source::Dhcpd(args.target.dhcpd()?),
        Daemon::Bootd => Source::Bootd(Bootd::new(args.target.target().endpoint(Api::Bootd)?)),
        Daemon::Provisioner => Source::Provisioner(Ironic::new(args.target.target().endpoint(Api::Provisioner)?)),
    };
    watch(args.watch, &[], &source).await?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the events that there are, and with `--follow` those that come, for ever.
pub async fn print(args: Args, source: &Source) -> anyhow::Result<()> {
    let json = args.wanted.json;
    let mut query = args.wanted.query(args.since, &[]);
    // What is still in memory of the transient ones.
    query.transient_since = query.transient.then_some(0);
    loop {
        let page = source.page(&query).await?;
        if let Some(lost) = page.lost {
            say_lost(lost);
        }
        for event in &page.events {
            show(event, json)?;
        }
        query.since = page.since();
        query.transient_since = page.next_transient;
        if page.events.is_empty() {
            break;
        }
    }
    if args.follow { follow(query, json, source).await } else { Ok(()) }
}

/// Prints events as they happen, for ever; only those of `kinds` unless others are asked for.
pub async fn watch(args: Watch, kinds: &[&str], source: &Source) -> anyhow::Result<()> {
    let since = args.since.unwrap_or(Since::Latest);
    follow(args.wanted.query(since, kinds), args.wanted.json, source).await
}

async fn follow(mut query: EventQuery, json: bool, source: &Source) -> anyhow::Result<()> {
    query.transient_since = None;
    let mut stream = None;
    loop {
        match follow_once(&mut stream, &query, json, source).await {
            Err(error) => match error.downcast_ref::<ClientError>() {
                Some(why) if why.is_transient() => {
                    eprintln!("note: {}; coming back", output::printable(&why.to_string()))
                }
                _ => return Err(error),
            },
            Ok(()) => eprintln!("note: the daemon has ended the stream; coming back"),
        }
        tokio::time::sleep(COME_BACK).await;
    }
}

/// Follows a stream until it ends, from where it was the last time.
async fn follow_once(
    stream: &mut Option<EventStream>,
    query: &EventQuery,
    json: bool,
    source: &Source,
) -> anyhow::Result<()> {
    let stream = match stream {
        Some(stream) => {
            stream.resume().await?;
            stream
        }
        None => stream.insert(source.stream(query).await?),
    };
    while let Some(item) = stream.next().await? {
        match item {
            Item::Event(event) => show(&event, json)?,
            Item::Lost(lost) => say_lost(lost),
            Item::Missed(count) => eprintln!("note: {count} transient events came too fast for this reader"),
            Item::Position(_) => {}
        }
    }
    Ok(())
}

impl Wanted {
    fn query(&self, since: Since, kinds: &[&str]) -> EventQuery {
        let kinds = kinds.iter().filter(|_| self.kind.is_empty()).map(ToString::to_string);
        EventQuery {
            since,
            transient: self.transient,
            kinds: self.kind.iter().cloned().chain(kinds).collect(),
            scopes: self.scope.clone(),
            macs: self.mac.clone(),
            ..EventQuery::default()
        }
    }
}

fn say_lost(lost: Lost) {
    match lost {
        Lost { from: 1, .. } => {
            eprintln!("note: the daemon has begun its events anew; here is all that is known of them")
        }
        Lost { from, to } => eprintln!("note: the events from {from} to {to} are no longer kept"),
    }
}

fn show(event: &Event, json: bool) -> anyhow::Result<()> {
    if json { output::line(&serde_json::to_string(event)?) } else { output::line(&words(event)) }
}

fn words(event: &Event) -> String {
    let who = event.mac.map(|mac| format!(" {mac}")).unwrap_or_default();
    let sequence = if event.sequence > 0 { event.sequence.to_string() } else { "-".into() };
    format!(
        "{} {sequence:>6} {:<16}{who} {}",
        output::time_millis(event.at_unix_millis),
        event.kind,
        output::printable(&event.message)
    )
}
