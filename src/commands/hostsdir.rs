//! `reveille reservation follow-dnsmasq`: keeps dhcpd's reservations as the files say that Ironic's own `dnsmasq` provider writes, for a conductor without any plug-in.
//!
//! One file a port in the hosts directory (`<mac>,set:<tag>,set:ironic`, or `<mac>,ignore` once it is over), one a node in the options directory
//! (`tag:<tag>,<option>,<value>`). What was made from a file bears its name (`dnsmasq:<file>` as the node) and goes with it; other reservations are left alone.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use reveille_client::{ClientError, Dhcpd};
use reveille_config::MacAddr;
use reveille_config::dto::dhcpd::ReservationPut;
use reveille_config::limit::CONFIG_BYTES_MAX;
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::output;

/// What the name of a reservation's file follows, in its `node`.
const SOURCE: &str = "dnsmasq:";
/// The directories are read again so long after the last news, in case one was missed, and after a failure.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Files come in bursts.
const SETTLE: Duration = Duration::from_millis(100);
/// Where a machine finds its files is the scope's to say; HTTP boot clients get option 60 from dhcpd itself.
const LEFT_TO_THE_SCOPE: [&str; 6] = ["60", "66", "150", "255", "server-ip-address", "tftp-server"];

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The directory of hosts (`[dnsmasq] dhcp_hostsdir`)
    #[arg(long, value_name = "DIRECTORY")]
    hostsdir: PathBuf,
    /// The directory of options (`[dnsmasq] dhcp_optsdir`)
    #[arg(long, value_name = "DIRECTORY")]
    optsdir: PathBuf,
    /// The scope of the machines, where dhcpd serves several
    #[arg(long)]
    scope: Option<String>,
}

/// Follows the directories, for ever.
pub async fn run(args: Args, dhcpd: &Dhcpd) -> anyhow::Result<ExitCode> {
    let watch = init(CreateFlags::CLOEXEC).context("cannot watch directories")?;
    let events = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM | WatchFlags::DELETE;
    for directory in [&args.hostsdir, &args.optsdir] {
        add_watch(&watch, directory, events).with_context(|| format!("cannot watch {}", directory.display()))?;
    }
    let (tell, mut news) = mpsc::channel(1);
    std::thread::spawn(move || {
        // What happened does not matter: everything is read again, once for all that has happened by then.
        while rustix::io::read(&watch, &mut [0u8; 4_096]).is_ok() && !tell.is_closed() {
            let _ = tell.try_send(());
        }
    });
    loop {
        let wait = match apply(&args, dhcpd).await {
            Ok(()) => LOOK_AGAIN,
            Err(error) => {
                eprintln!("note: {}; trying again", output::printable(&format!("{error:#}")));
                TRY_AGAIN
            }
        };
        // No news in time is a reason to look, too.
        if tokio::time::timeout(wait, news.recv()).await.is_ok() {
            tokio::time::sleep(SETTLE).await;
        }
    }
}

/// Makes the reservations as the files say.
async fn apply(args: &Args, dhcpd: &Dhcpd) -> anyhow::Result<()> {
    let wanted = wanted(&read(&args.hostsdir)?, &read(&args.optsdir)?, args.scope.as_deref());
    let mut there = BTreeMap::new();
    let mut cursor = None;
    loop {
        let page = dhcpd.reservations(args.scope.as_deref(), cursor.as_deref()).await?;
        there.extend(page.items.into_iter().filter_map(|own| Some((own.mac?, own))));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    for (mac, put) in &wanted {
        let own = there.get(mac);
        if own.is_some_and(|own| !own.node.as_deref().is_some_and(|node| node.starts_with(SOURCE))) {
            // Made by somebody else, who knows better.
            continue;
        }
        if own.is_some_and(|own| own.boot_file == put.boot_file && own.options == put.options && own.node == put.node) {
            continue;
        }
        match dhcpd.put_reservation(*mac, put).await {
            Ok(own) => output::line(&format!("{mac} has {}", own.address))?,
            // One that dhcpd cannot take must not hold up the others.
            Err(error @ ClientError::Refused { .. }) if !error.is_transient() => {
                eprintln!("note: {mac}: {}", output::printable(&error.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    for (mac, own) in there {
        if own.node.is_some_and(|node| node.starts_with(SOURCE)) && !wanted.contains_key(&mac) {
            dhcpd.delete_reservation(mac, Some(&own.scope)).await?;
            output::line(&format!("{mac} is let go"))?;
        }
    }
    Ok(())
}

/// The files of a directory by name, with what they say; a file that goes meanwhile is as good as gone.
fn read(directory: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let cannot = || format!("cannot read {}", directory.display());
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let size = entry.metadata().map_or(0, |metadata| if metadata.is_file() { metadata.len() } else { 0 });
        if name.starts_with('.') || size == 0 || size > CONFIG_BYTES_MAX as u64 {
            continue;
        }
        match std::fs::read_to_string(entry.path()) {
            Ok(text) => _ = files.insert(name, text),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(cannot),
        }
    }
    Ok(files)
}

/// The reservations that the files ask for.
fn wanted(
    hosts: &BTreeMap<String, String>,
    options: &BTreeMap<String, String>,
    scope: Option<&str>,
) -> BTreeMap<MacAddr, ReservationPut> {
    let options: Vec<TaggedOption<'_>> =
        options.values().flat_map(|text| text.lines()).filter_map(TaggedOption::read).collect();
    let mut wanted = BTreeMap::new();
    for (file, text) in hosts {
        for line in text.lines() {
            let mut fields = line.trim().split(',');
            let Some(Ok(mac)) = fields.next().map(str::parse::<MacAddr>) else { continue };
            let fields: Vec<&str> = fields.collect();
            if fields.contains(&"ignore") {
                wanted.remove(&mac);
                continue;
            }
            let tags: Vec<&str> = fields.iter().filter_map(|field| field.strip_prefix("set:")).collect();
            let mut put = ReservationPut {
                scope: scope.map(Into::into),
                address: fields.iter().find_map(|field| field.parse().ok()),
                node: Some(format!("{SOURCE}{file}")),
                ..ReservationPut::default()
            };
            for option in options.iter().filter(|option| option.is_for(&tags)) {
                match option.name {
                    "67" | "bootfile-name" => put.boot_file = Some(option.value.into()),
                    name if LEFT_TO_THE_SCOPE.contains(&name) => {}
                    name => _ = put.options.insert(name.into(), Value::String(option.value.into())),
                }
            }
            wanted.insert(mac, put);
        }
    }
    wanted
}

/// A line of an options file.
struct TaggedOption<'a> {
    tags: Vec<&'a str>,
    name: &'a str,
    value: &'a str,
}

impl<'a> TaggedOption<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut rest = line.trim();
        let mut tags = Vec::new();
        while let Some((tag, after)) = rest.strip_prefix("tag:").and_then(|tagged| tagged.split_once(',')) {
            tags.push(tag);
            rest = after;
        }
        let (name, value) = rest.split_once(',')?;
        let name = name.strip_prefix("option:").unwrap_or(name);
        Some(Self { tags, name, value })
    }

    /// Whether firmware with these tags gets it: what is for iPXE only is the scope's to say.
    fn is_for(&self, tags: &[&str]) -> bool {
        !self.tags.is_empty() && self.tags.iter().all(|tag| *tag == "!ipxe" || tags.contains(tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
    }

    #[test]
    fn the_files_of_ironics_provider_are_reservations() {
        let options = files(&[
            (
                "ironic-n1.conf",
                "tag:t1,tag:!ipxe,67,undionly.kpxe\ntag:t1,tag:ipxe,67,http://h/boot.ipxe\ntag:t1,66,10.77.2.1\ntag:t1,150,10.77.2.1\ntag:t1,255,10.77.2.1\ntag:t1,26,1400\n",
            ),
            ("ironic-n2.conf", "tag:t2,67,snponly.efi\n67,everybody\nnonsense\n"),
        ]);
        let (a, b) = ("52:54:00:00:00:01", "52:54:00:00:00:02");
        let mac = |text: &str| text.parse::<MacAddr>().unwrap();
        for (hosts, expected) in [
            (format!("{a},set:t1,set:ironic\n"), Some(("undionly.kpxe", None, 1))),
            (format!("{a},set:t2,set:ironic,10.77.2.9\n"), Some(("snponly.efi", Some("10.77.2.9"), 0))),
            (format!("{a},ignore\n"), None),
            (format!("{a},set:t1\n{a},ignore\n"), None),
            ("no machine,set:t1\n\n".into(), None),
        ] {
            let hosts = files(&[("ironic-x.conf", &hosts), ("ironic-y.conf", &format!("{b},set:t3\n"))]);
            let wanted = wanted(&hosts, &options, Some("prov"));
            assert_eq!(wanted[&mac(b)].boot_file, None, "of no tag that has options");
            let found = wanted.get(&mac(a)).map(|put| {
                assert_eq!((put.node.as_deref(), put.scope.as_deref()), (Some("dnsmasq:ironic-x.conf"), Some("prov")));
                (put.boot_file.clone().unwrap(), put.address.map(|address| address.to_string()), put.options.len())
            });
            let expected = expected.map(|(file, address, options)| (file.into(), address.map(String::from), options));
            assert_eq!(found, expected, "{hosts:?}");
        }
    }
}
