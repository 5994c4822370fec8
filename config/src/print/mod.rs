//! The effective configuration as TOML: [`Config::to_toml`].
//!
//! What is printed parses again to an equal [`Config`]; secrets are printed as the references they came from.

mod dhcpd;

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};

use serde_json::Value;

use crate::Config;
use crate::bootd::Bootd;
use crate::provisioner::{DhcpdAccess, Provisioner};
use crate::webhook::Webhook;

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

    fn bootd(&mut self, bootd: &Bootd) {
        self.table("bootd".into(), false);
        self.string("state_dir", bootd.state_dir.display());
        self.list("api", &bootd.api);
        self.list("tftp", &bootd.tftp);
        self.line("tftp_single_port", bootd.tftp_single_port);
        self.line("tftp_workers", bootd.tftp_workers);
        self.list("http", &bootd.http);
        self.list("https", &bootd.https);
        self.string("public_url", &bootd.public_url);
        self.list("roots", bootd.roots.iter().map(|root| root.display()));
        if let Some(tls) = &bootd.tls {
            self.table("bootd.tls".into(), false);
            self.string("certificate", tls.certificate.display());
            self.string("key", tls.key.display());
        }
        if let Some(own) = &bootd.dropbox {
            self.table("bootd.dropbox".into(), false);
            self.string("directory", own.directory.display());
            self.line("file_bytes_max", own.file_bytes_max);
        }
        if let Some(own) = &bootd.upstream {
            self.table("bootd.upstream".into(), false);
            self.string("path", &own.path);
            self.string("url", &own.url);
            self.line("disk_bytes_max", own.disk_bytes_max);
            self.line("check_secs", own.check_secs);
            if let Some(key) = &own.temp_url_key {
                self.line("temp_url_key", key.reference());
            }
        }
        if let Some(own) = &bootd.discovery {
            self.table("bootd.discovery".into(), false);
            self.string("kernel", &own.kernel);
            self.string("initrd", &own.initrd);
            self.string("cmdline", &own.cmdline);
            self.optional("profile", &own.profile);
        }
        for (at, own) in bootd.profiles.iter().enumerate() {
            self.table(format!("bootd.profile[{at}]"), true);
            self.string("name", &own.name);
            for (key, path) in [("ipxe", &own.ipxe), ("pxelinux", &own.pxelinux), ("grub", &own.grub)] {
                self.optional(key, &path.as_ref().map(|path| path.display()));
            }
        }
        if let Some(own) = &bootd.temp_url {
            self.table("bootd.temp_url".into(), false);
            let keys: Vec<_> = own.keys.iter().map(|key| key.reference().to_string()).collect();
            self.line("keys", format!("[{}]", keys.join(", ")));
            self.list("guard", &own.guard);
        }
        self.webhooks("bootd", &bootd.webhooks);
    }

    fn provisioner(&mut self, provisioner: &Provisioner) {
        self.table("provisioner".into(), false);
        self.string("state_dir", provisioner.state_dir.display());
        self.list("api", &provisioner.api);
        self.list("agent_api", &provisioner.agent_api);
        self.string("agent_api_url", &provisioner.agent_api_url);
        let access = &provisioner.dhcpd_access;
        let is_elsewhere = *access != DhcpdAccess::default();
        if !is_elsewhere {
            self.string("dhcpd", &provisioner.dhcpd);
        }
        self.string("bootd", &provisioner.bootd);
        self.string("boot_url", &provisioner.boot_url);
        self.list("agent_networks", &provisioner.agent_networks);
        if is_elsewhere {
            self.table("provisioner.dhcpd".into(), false);
            self.string("url", &provisioner.dhcpd);
            if let Some(token) = &access.token {
                self.line("token", token.reference());
            }
            self.optional("ca", &access.ca.as_ref().map(|ca| ca.display()));
            if let Some((certificate, key)) = &access.certificate {
                self.string("certificate", certificate.display());
                self.string("key", key.display());
            }
        }
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
        let power = &provisioner.power;
        self.table("provisioner.power".into(), false);
        self.line("sync_secs", power.sync_secs);
        self.line("force", power.force);
        self.line("hold_sessions", power.hold_sessions);
        self.line("on_per_sec", power.on_per_sec);
        self.string("on_label", &power.on_label);
        self.line("soft_off_then_off", power.soft_off_then_off);
        let ipmi = &provisioner.ipmi;
        if ipmi.username.is_some() || ipmi.password.is_some() || ipmi.allow_cipher_suite_0 {
            self.table("provisioner.ipmi".into(), false);
            self.line("allow_cipher_suite_0", ipmi.allow_cipher_suite_0);
            self.optional("username", &ipmi.username);
            if let Some(password) = &ipmi.password {
                self.line("password", password.reference());
            }
        }
        if let Some(own) = &provisioner.temp_url {
            self.table("provisioner.temp_url".into(), false);
            self.line("key", own.key.reference());
            self.line("duration_secs", own.duration_secs);
            self.list("urls", &own.urls);
        }
        self.webhooks("provisioner", &provisioner.webhooks);
    }

    fn webhooks(&mut self, daemon: &str, webhooks: &[Webhook]) {
        for (at, own) in webhooks.iter().enumerate() {
            self.table(format!("{daemon}.webhook[{at}]"), true);
            self.string("name", &own.name);
            self.string("url", &own.url);
            let secrets: Vec<_> = own.secrets.iter().map(|secret| secret.reference().to_string()).collect();
            self.line("secret", format!("[{}]", secrets.join(", ")));
            self.optional("ca", &own.ca.as_ref().map(|ca| ca.display()));
            self.list("kind", &own.kinds);
            self.list("scope", &own.scopes);
            self.list("mac", &own.macs);
            self.line("batch", own.batch);
            self.line("timeout_secs", own.timeout_secs);
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
