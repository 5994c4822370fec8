//! The table `[provisioner]`.

use std::ops::RangeInclusive;

use super::bootd::{public_url, state_dir};
use super::dhcpd_elsewhere;
use super::listeners::{self, Listeners};
use super::reader::{Table, Value};
use super::secret::secret;
use super::shape;
use super::temp_url::issue;
use super::webhook::webhooks;
use crate::bootd::Bootd;
use crate::dhcpd::{Dhcpd, ScopeKind};
use crate::provisioner::{Deploy, Ipmi, PowerPolicy, Provisioner, Timeouts};
use crate::{Endpoint, Subnet};

/// Another daemon's table.
pub(super) enum Neighbour<'a, T> {
    /// It is not in the file.
    Absent,
    /// It is, with mistakes: what it would say is not known.
    Wrong,
    /// It is.
    Known(&'a T),
}

impl<'a, T> Neighbour<'a, T> {
    pub fn new(table: &'a Option<Option<T>>) -> Self {
        match table {
            None => Self::Absent,
            Some(None) => Self::Wrong,
            Some(Some(table)) => Self::Known(table),
        }
    }

    fn known(&self) -> Option<&'a T> {
        match self {
            Self::Known(table) => Some(table),
            _ => None,
        }
    }
}

/// What the same file says about the other daemons: defaults come from there.
pub(super) struct Neighbours<'a> {
    pub dhcpd: Neighbour<'a, Dhcpd>,
    pub bootd: Neighbour<'a, Bootd>,
}

/// `None` only after a mistake was noted.
pub(super) fn read(table: Table<'_, '_>, neighbours: Neighbours<'_>, listeners: &mut Listeners) -> Option<Provisioner> {
    let state_dir = state_dir(&table, "/var/lib/reveille/provisioner");
    let api = listeners.api(&table, "provisioner.api", "127.0.0.1:6385");
    let agent_api = table.required("agent_api", "[\"10.77.2.1:6385\"]");
    let agent_api = agent_api.map(|value| listeners.tcp(&value, "provisioner.agent_api"));
    let agent_api_url = public_url(&table, "agent_api_url", agent_api.as_deref().unwrap_or_default());
    let beside = |api: Option<&Vec<Endpoint>>, default: &str| match api.and_then(|api| api.first()) {
        Some(endpoint) => endpoint.clone(),
        None => default.parse().expect("a default is well-formed"),
    };
    let dhcpd_api = neighbours.dhcpd.known().map(|dhcpd| &*dhcpd.api.listen);
    let dhcpd = dhcpd_elsewhere::read(&table, dhcpd_api.unwrap_or_default());
    let bootd_api = neighbours.bootd.known().map(|bootd| &bootd.api);
    let bootd = table.or("bootd", beside(bootd_api, "unix:/run/reveille/bootd.sock"), |value| {
        listeners::endpoint(&value, "\"unix:/run/reveille/bootd.sock\"")
    });
    let boot_url = match (table.get("boot_url"), neighbours.bootd) {
        (Some(value), _) => shape::base_url(&value).map(|url| url.value),
        (None, Neighbour::Known(bootd)) => {
            table.defaulted("boot_url");
            Some(bootd.public_url.clone())
        }
        (None, Neighbour::Wrong) => None,
        (None, Neighbour::Absent) => {
            table.required("boot_url", "\"http://10.77.2.1:8080\"");
            None
        }
    };
    let agent_networks = agent_networks(&table, neighbours.dhcpd);
    let deploy = deploy(table.table_or_empty("deploy"));
    let timeouts = timeouts(table.table_or_empty("timeouts"));
    let ipmi = ipmi(table.table_or_empty("ipmi"));
    let power = power(table.table_or_empty("power"));
    let temp_url = table.section("temp_url", issue);
    let webhooks = webhooks(&table, None, None);
    table.finish();
    let (dhcpd, dhcpd_access) = dhcpd?;
    Some(Provisioner {
        state_dir: state_dir?,
        api,
        agent_api: agent_api?,
        agent_api_url: agent_api_url?,
        dhcpd,
        dhcpd_access,
        bootd,
        boot_url: boot_url?,
        agent_networks: agent_networks?,
        deploy,
        timeouts,
        ipmi: ipmi?,
        power,
        temp_url: temp_url.map_or(Some(None), |table| table)?,
        webhooks: webhooks?,
    })
}

/// By default the networks of the dynamic scopes in the same file.
fn agent_networks(table: &Table<'_, '_>, dhcpd: Neighbour<'_, Dhcpd>) -> Option<Vec<Subnet>> {
    let example = "\"10.77.2.0/24\"";
    let dynamic: Vec<Subnet> = dhcpd
        .known()
        .into_iter()
        .flat_map(|dhcpd| &dhcpd.scopes)
        .filter(|scope| scope.kind == ScopeKind::Dynamic)
        .map(|scope| scope.subnet)
        .collect();
    match table.get("agent_networks") {
        Some(value) => {
            let items = listeners::filled_list(&value, example)?;
            Some(items.iter().filter_map(|item| shape::subnet(item).map(|subnet| subnet.value)).collect())
        }
        None if matches!(dhcpd, Neighbour::Wrong) => None,
        None if dynamic.is_empty() => {
            table.required("agent_networks", &format!("[{example}]"));
            None
        }
        None => {
            table.defaulted("agent_networks");
            Some(dynamic)
        }
    }
}

fn deploy(table: Table<'_, '_>) -> Deploy {
    let name = |key, example: &str| {
        let value = table.get(key)?;
        let text = shape::plain_text(&value, example)?;
        match text.contains("://") {
            true => shape::url(&value, &["http", "https"], example).map(|url| url.value.to_owned()),
            false => relative(&value, text),
        }
    };
    let (kernel, ramdisk) = (name("kernel", "\"agent/kernel\""), name("ramdisk", "\"agent/ramdisk\""));
    let kernel_append = table.or("kernel_append", String::new(), |value| {
        let text = value.text("\"console=ttyS0\"")?.value;
        match text.chars().any(char::is_control) {
            true => value.wrong("`kernel_append` contains a control character", "the kernel line is one line"),
            false => Some(text.to_owned()),
        }
    });
    table.finish();
    Deploy { kernel, ramdisk, kernel_append }
}

/// A path below bootd's roots.
pub(super) fn relative(value: &Value<'_, '_>, text: String) -> Option<String> {
    match text.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        true => value.wrong(
            format!("{text:?} is not a path below bootd's roots"),
            "write it without a leading `/` and without `//`, `.` and `..`, or write a URL",
        ),
        false => Some(text),
    }
}

fn timeouts(table: Table<'_, '_>) -> Timeouts {
    let secs = |key, default: u32, bounds: RangeInclusive<u64>| {
        table.or(key, default, |value| value.integer(bounds, "seconds").map(|secs| secs as u32))
    };
    let timeouts = Timeouts {
        heartbeat_secs: secs("heartbeat_secs", 300, 1..=86_400),
        deploy_callback_secs: secs("deploy_callback_secs", 1_800, 1..=604_800),
        agent_step_secs: secs("agent_step_secs", 3_600, 1..=604_800),
        power_secs: secs("power_secs", 60, 1..=3_600),
        bmc_secs: secs("bmc_secs", 15, 1..=600),
    };
    table.finish();
    timeouts
}

fn power(table: Table<'_, '_>) -> PowerPolicy {
    let default = PowerPolicy::default();
    let number = |key, default: u32, bounds: RangeInclusive<u64>, unit: &str| {
        table.or(key, default, |value| value.integer(bounds, unit).map(|number| number as u32))
    };
    let boolean = |key| table.or(key, false, |value| value.boolean());
    let power = PowerPolicy {
        sync_secs: number("sync_secs", default.sync_secs, 0..=86_400, "seconds"),
        force: boolean("force"),
        hold_sessions: boolean("hold_sessions"),
        on_per_sec: number("on_per_sec", default.on_per_sec, 0..=10_000, "machines"),
        on_label: table.or("on_label", default.on_label, |value| shape::plain_text(&value, "\"rack\"")),
        soft_off_then_off: boolean("soft_off_then_off"),
    };
    table.finish();
    power
}

fn ipmi(table: Table<'_, '_>) -> Option<Ipmi> {
    // User names have 16 octets and passwords 20 in IPMI 2.0 (§13.28, §22.30).
    let username = table.get("username").map(|value| {
        let name = shape::plain_text(&value, "\"admin\"")?;
        match name.len() {
            0..=16 => Some(name),
            length => value.wrong(format!("the user name has {length} octets"), "IPMI allows 16 at most"),
        }
    });
    let password = table.get("password").map(|value| {
        let secret = secret(&value)?;
        match secret.as_ref().map_or(0, |secret| secret.expose().len()) {
            0..=20 => Some(secret),
            length => value.wrong(format!("the secret has {length} octets"), "IPMI allows 20 at most for a password"),
        }
    });
    let allow_cipher_suite_0 = table.or("allow_cipher_suite_0", false, |value| value.boolean());
    table.finish();
    Some(Ipmi {
        allow_cipher_suite_0,
        username: username.map_or(Some(None), |name| name.map(Some))?,
        password: password.map_or(Some(None), |secret| secret)?,
    })
}
