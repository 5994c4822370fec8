//! The table `[bootd]`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::api::tls;
use super::listeners::{Listeners, filled_list};
use super::profile::{discovery, profiles};
use super::reader::{Table, Value};
use super::shape;
use super::temp_url::guard;
use super::upstream::upstream;
use super::webhook::webhooks;
use crate::bootd::{Bootd, DropBox};
use crate::environment::Kind;
use crate::limit::TFTP_WORKERS_MAX;

/// `None` only after a mistake was noted.
pub(super) fn read(table: Table<'_, '_>, listeners: &mut Listeners) -> Option<Bootd> {
    let state_dir = state_dir(&table, "/var/lib/reveille/bootd");
    let api = listeners.api(&table, "bootd.api", "unix:/run/reveille/bootd.sock");
    let tftp = table.or("tftp", Vec::new(), |value| match value.list("\"10.77.2.1:69\"")?.is_empty() {
        true => Some(Vec::new()),
        false => Some(listeners.udp(&value, "bootd.tftp")),
    });
    let tftp_single_port = table.or("tftp_single_port", false, |value| value.boolean());
    let tftp_workers =
        table.or("tftp_workers", 1, |value| value.integer(1..=TFTP_WORKERS_MAX as u64, "threads").map(|n| n as usize));
    let dropbox = table.section("dropbox", dropbox);
    let http = table.required("http", "[\"10.77.2.1:8080\"]").map(|value| listeners.tcp(&value, "bootd.http"));
    let https = table.or("https", Vec::new(), |value| match value.list("\"10.77.2.1:8443\"")?.is_empty() {
        true => Some(Vec::new()),
        false => Some(listeners.tcp(&value, "bootd.https")),
    });
    let tls = table.section("tls", tls);
    if let Some(value) = table.get("https")
        && !https.is_empty()
        && tls.is_none()
    {
        value.wrong::<()>("`bootd.https` needs a certificate", "add [bootd.tls] with certificate and key");
        return None;
    }
    let public_url = public_url(&table, "public_url", http.as_deref().unwrap_or_default());
    let roots = table.required("roots", "[\"/srv/reveille\"]").map(|value| roots(&value));
    let upstream = table.section("upstream", upstream);
    let profiles = profiles(&table);
    let discovery = table.section("discovery", |table| discovery(table, profiles.as_deref()));
    let temp_url = table.section("temp_url", guard);
    let webhooks = webhooks(&table, None, None);
    table.finish();
    Some(Bootd {
        state_dir: state_dir?,
        api,
        tftp,
        tftp_single_port,
        tftp_workers,
        dropbox: dropbox.map_or(Some(None), |table| table.map(Some))?,
        http: http?,
        https,
        tls: tls.map_or(Some(None), |table| table.map(Some))?,
        public_url: public_url?,
        roots: roots?,
        upstream: upstream.map_or(Some(None), |table| table.map(Some))?,
        discovery: discovery.map_or(Some(None), |table| table.map(Some))?,
        profiles: profiles?,
        temp_url: temp_url.map_or(Some(None), |table| table)?,
        webhooks: webhooks?,
    })
}

/// A daemon's directory: it is made when missing, so only what stands in its way is a mistake.
pub(super) fn state_dir(table: &Table<'_, '_>, default: &str) -> Option<PathBuf> {
    let Some(value) = table.get("state_dir") else {
        table.defaulted("state_dir");
        return Some(default.into());
    };
    let path = value.path(&format!("\"{default}\""))?.value;
    if !table.reader.looks.get() {
        return Some(path);
    }
    for ancestor in path.ancestors() {
        match table.reader.environment.kind(ancestor) {
            Ok(Kind::Directory) => break,
            Ok(_) => {
                return value.wrong(
                    format!("`{}` is not a directory", ancestor.display()),
                    "name a directory; it is made when missing",
                );
            }
            Err(_) => {}
        }
    }
    Some(path)
}

/// A URL under which machines reach a listener: by default the first address, where it is one that can be reached.
pub(super) fn public_url(table: &Table<'_, '_>, key: &'static str, addresses: &[SocketAddr]) -> Option<String> {
    let first = addresses.iter().find(|address| !address.ip().is_unspecified());
    match (table.get(key), first) {
        (Some(value), _) => shape::base_url(&value).map(|url| url.value),
        (None, Some(address)) => {
            table.defaulted(key);
            Some(format!("http://{address}"))
        }
        (None, None) => {
            table.required(key, "\"http://10.77.2.1:8080\"");
            None
        }
    }
}

/// The table `[bootd.dropbox]`; `None` only after a mistake was noted.
fn dropbox(table: Table<'_, '_>) -> Option<DropBox> {
    let example = "\"/srv/reveille-dropbox\"";
    let directory = table.required("directory", example).and_then(|value| {
        let path = value.path(example)?.value;
        let shown = path.display();
        match table.reader.looks.get().then(|| table.reader.environment.kind(&path)) {
            None | Some(Ok(Kind::Directory)) => Some(path),
            Some(Ok(_)) => {
                value.wrong(format!("`{shown}` is not a directory"), "name a directory that bootd may write")
            }
            Some(Err(error)) => {
                value.wrong(format!("the directory `{shown}` cannot be opened: {error}"), format!("mkdir -p {shown}"))
            }
        }
    });
    let file_bytes_max = table.or("file_bytes_max", 16 << 20, |value| value.integer(1..=1 << 40, "octets"));
    table.finish();
    Some(DropBox { directory: directory?, file_bytes_max })
}

fn roots(value: &Value<'_, '_>) -> Vec<PathBuf> {
    let example = "\"/srv/reveille\"";
    let items = filled_list(value, example).unwrap_or_default();
    let mut roots: Vec<PathBuf> = Vec::new();
    for item in items {
        let Some(path) = item.path(example).map(|path| path.value) else { continue };
        if roots.contains(&path) {
            item.wrong::<()>(format!("the directory `{}` is listed twice", path.display()), "remove one");
        }
        if value.reader.looks.get() {
            let shown = path.display();
            match value.reader.environment.kind(&path) {
                Ok(Kind::Directory) => {}
                Ok(_) => _ = item.wrong::<()>(format!("`{shown}` is not a directory"), "roots are directories"),
                Err(error) => {
                    _ = item.wrong::<()>(
                        format!("the directory `{shown}` cannot be opened: {error}"),
                        format!("mkdir -p {shown}"),
                    )
                }
            }
        }
        roots.push(path);
    }
    roots
}
