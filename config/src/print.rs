//! The effective configuration as TOML: [`Config::to_toml`].
//!
//! What is printed parses again to an equal [`Config`]; secrets are printed as the references they came from.

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};

use serde_json::Value;

use crate::bootd::Bootd;
use crate::dhcpd::{Boot, Dhcpd, FixedReservation, Scope, ScopeKind};
use crate::provisioner::Provisioner;
use crate::{Config, OptionSet};

impl Config {
    /// The whole configuration with every default filled in and marked `# default`.
    pub fn to_toml(&self) -> String {
        let mut out = Printer { text: String::new(), defaults: &self.defaults.paths, path: String::new() };
        if let Some(dhcpd) = &self.dhcpd {
            out.dhcpd(dhcpd);
        }
        if let Some(bootd) = &self.bootd {
            out.bootd(bootd);
        }
        if let Some(provisioner) = &self.provisioner {
            out.provisioner(provisioner);
        }
        out.text
    }
}

struct Printer<'a> {
    text: String,
    defaults: &'a BTreeSet<String>,
    /// The table that keys belong to now, with indices: `dhcpd.scope[0]`.
    path: String,
}

impl Printer<'_> {
    /// A header; `path` is the table's path with indices, which the header has not.
    fn table(&mut self, path: String, list: bool) {
        let mut name = String::new();
        let mut inside = false;
        for c in path.chars() {
            match c {
                '[' => inside = true,
                ']' => inside = false,
                c if !inside => name.push(c),
                _ => {}
            }
        }
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let _ = if list { writeln!(self.text, "[[{name}]]") } else { writeln!(self.text, "[{name}]") };
        self.path = path;
    }

    fn line(&mut self, key: &str, written: impl Display) {
        let default = self.defaults.contains(&format!("{}.{key}", self.path));
        let _ = writeln!(self.text, "{key} = {written}{}", if default { " # default" } else { "" });
    }

    fn string(&mut self, key: &str, value: impl Display) {
        self.line(key, quoted(value));
    }

    fn optional(&mut self, key: &str, value: &Option<impl Display>) {
        if let Some(value) = value {
            self.string(key, value);
        }
    }

    fn list(&mut self, key: &str, values: impl IntoIterator<Item: Display>) {
        let items: Vec<String> = values.into_iter().map(quoted).collect();
        self.line(key, format!("[{}]", items.join(", ")));
    }

    fn dhcpd(&mut self, dhcpd: &Dhcpd) {
        self.table("dhcpd".into(), false);
        self.string("state_dir", dhcpd.state_dir.display());
        self.list("api", &dhcpd.api);
        self.line("workers", dhcpd.workers);
        self.table("dhcpd.journal".into(), false);
        self.line("segment_bytes", dhcpd.journal.segment_bytes);
        self.line("commit_gap_micros", dhcpd.journal.commit_gap_micros);
        self.line("snapshot_after_bytes", dhcpd.journal.snapshot_after_bytes);
        for (at, scope) in dhcpd.scopes.iter().enumerate() {
            self.scope(format!("dhcpd.scope[{at}]"), scope);
        }
    }

    fn scope(&mut self, path: String, scope: &Scope) {
        self.table(path.clone(), true);
        self.string("name", &scope.name);
        self.string("kind", if scope.kind == ScopeKind::Static { "static" } else { "dynamic" });
        self.string("interface", &scope.interface);
        self.string("subnet", scope.subnet);
        self.string("server_address", scope.server_address);
        self.list("pools", &scope.pools);
        self.line("lease_secs", scope.lease_secs);
        self.line("lease_secs_min", scope.lease_secs_min);
        self.line("lease_secs_max", scope.lease_secs_max);
        self.line("offer_secs", scope.offer_secs);
        self.line("decline_secs", scope.decline_secs);
        self.string("conflict_check", scope.conflict.method.as_str());
        self.line("conflict_wait_millis", scope.conflict.wait_millis);
        self.line("cache_threshold_percent", scope.cache_threshold_percent);
        self.line("authoritative", scope.authoritative);
        self.line("always_broadcast", scope.always_broadcast);
        self.line("answer_router_solicitations", scope.answer_router_solicitations);
        self.options(format!("{path}.options"), &scope.options);
        if let Some(boot) = &scope.boot {
            self.boot(format!("{path}.boot"), boot);
        }
        for (at, reservation) in scope.reservations.iter().enumerate() {
            self.reservation(format!("{path}.reservation[{at}]"), reservation);
        }
    }

    fn boot(&mut self, path: String, boot: &Boot) {
        self.table(path, false);
        self.string("next_server", boot.next_server);
        self.optional("bios", &boot.bios);
        self.optional("efi_ia32", &boot.efi_ia32);
        self.optional("efi_x64", &boot.efi_x64);
        self.optional("efi_arm64", &boot.efi_arm64);
        self.optional("http_ia32", &boot.http_ia32);
        self.optional("http_x64", &boot.http_x64);
        self.optional("http_arm64", &boot.http_arm64);
        self.optional("ipxe", &boot.ipxe);
    }

    fn reservation(&mut self, path: String, reservation: &FixedReservation) {
        self.table(path.clone(), true);
        self.string("mac", reservation.mac);
        self.string("address", reservation.address);
        self.optional("hostname", &reservation.hostname);
        self.options(format!("{path}.options"), &reservation.options);
    }

    fn options(&mut self, path: String, options: &OptionSet) {
        if options.is_empty() {
            return;
        }
        self.table(path, false);
        for (name, value) in options.to_json() {
            self.line(&name, json(&value));
        }
    }

    fn bootd(&mut self, bootd: &Bootd) {
        self.table("bootd".into(), false);
        self.string("state_dir", bootd.state_dir.display());
        self.list("api", &bootd.api);
        self.list("tftp", &bootd.tftp);
        self.list("http", &bootd.http);
        self.string("public_url", &bootd.public_url);
        self.list("roots", bootd.roots.iter().map(|root| root.display()));
    }

    fn provisioner(&mut self, provisioner: &Provisioner) {
        self.table("provisioner".into(), false);
        self.string("state_dir", provisioner.state_dir.display());
        self.list("api", &provisioner.api);
        self.list("agent_api", &provisioner.agent_api);
        self.string("agent_api_url", &provisioner.agent_api_url);
        self.string("dhcpd", &provisioner.dhcpd);
        self.string("bootd", &provisioner.bootd);
        self.string("boot_url", &provisioner.boot_url);
        self.list("agent_networks", &provisioner.agent_networks);
        let deploy = &provisioner.deploy;
        self.table("provisioner.deploy".into(), false);
        self.optional("kernel", &deploy.kernel);
        self.optional("ramdisk", &deploy.ramdisk);
        self.string("kernel_append", &deploy.kernel_append);
        let timeouts = &provisioner.timeouts;
        self.table("provisioner.timeouts".into(), false);
        self.line("heartbeat_secs", timeouts.heartbeat_secs);
        self.line("deploy_callback_secs", timeouts.deploy_callback_secs);
        self.line("agent_step_secs", timeouts.agent_step_secs);
        self.line("power_secs", timeouts.power_secs);
        self.line("bmc_secs", timeouts.bmc_secs);
        let ipmi = &provisioner.ipmi;
        if ipmi.username.is_some() || ipmi.password.is_some() {
            self.table("provisioner.ipmi".into(), false);
            self.optional("username", &ipmi.username);
            if let Some(password) = &ipmi.password {
                self.line("password", password.reference());
            }
        }
    }
}

/// A TOML string on one line.
pub(crate) fn quoted(value: impl Display) -> String {
    let mut text = String::from("\"");
    for c in value.to_string().chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => _ = write!(text, "\\u{:04X}", u32::from(c)),
            c => text.push(c),
        }
    }
    text + "\""
}

/// An option's value: strings, numbers, booleans and lists of them.
fn json(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}
