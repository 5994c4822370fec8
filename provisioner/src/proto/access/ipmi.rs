//! `ipmi_*` of `driver_info`, as Ironic names them.

use std::net::{IpAddr, SocketAddr};

use reveille_config::provisioner::Ipmi;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::proto::ipmi::{
    CipherSuite, Credentials, CredentialsError, Hop, Kg, Password, Privilege, Route, Suites, User,
};

/// The UDP port of IPMI over LAN, unless `ipmi_port` says otherwise.
const IPMI_PORT: u16 = 623;

/// Where a BMC is and who we are to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpmiAccess {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who we are to it.
    pub credentials: Credentials,
    /// The controller meant: the BMC itself, or one behind it.
    pub route: Route,
}

/// The same for the program ipmitool, which speaks more than we do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpmitoolAccess {
    /// Where the BMC listens.
    pub address: SocketAddr,
    /// Who we are to it; which suites is not heeded.
    pub credentials: Credentials,
    /// The controller meant: the BMC itself, or one behind it.
    pub route: Route,
    /// `ipmi_protocol_version`.
    pub protocol: Protocol,
    /// `ipmi_cipher_suite_version`, where it is not ipmitool's choice.
    pub suite: Option<u8>,
}

/// Which sessions are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// IPMI 1.5: ipmitool's `lan`.
    V1_5,
    /// IPMI 2.0 (RMCP+): ipmitool's `lanplus`.
    V2_0,
}

/// The value of a key, numbers as they are written.
fn text(driver_info: &Map<String, Value>, key: &str) -> Option<String> {
    match driver_info.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    }
}

impl IpmiAccess {
    /// Reads it from `driver_info`, credentials that it lacks from the configuration. The error says what is missing; it never contains the password.
    pub fn read(driver_info: &Map<String, Value>, defaults: &Ipmi) -> Result<Self, String> {
        if protocol(driver_info)? == Protocol::V1_5 {
            return Err("driver_info's ipmi_protocol_version 1.5 is spoken by ipmitool only: set power_interface and \
                        management_interface to ipmitool"
                .to_owned());
        }
        let suite = text(driver_info, "ipmi_cipher_suite_version");
        let suites = suites(suite.as_deref(), defaults.allow_cipher_suite_0).map_err(wrong)?;
        let suites = suites.ok_or("driver_info's ipmi_cipher_suite_version is not spoken here: 3 and 17 are")?;
        let read = read(driver_info, defaults)?;
        Ok(Self { credentials: Credentials { suites, ..read.credentials }, ..read })
    }
}

impl IpmitoolAccess {
    /// The same for ipmitool: every cipher suite and IPMI 1.5 besides.
    pub fn read(driver_info: &Map<String, Value>, defaults: &Ipmi) -> Result<Self, String> {
        let suite = text(driver_info, "ipmi_cipher_suite_version").map(|written| match written.parse() {
            Ok(0) if !defaults.allow_cipher_suite_0 => Err(wrong(CredentialsError::SuiteZero)),
            Ok(suite @ 0..=17) => Ok(suite),
            _ => Err(format!("driver_info's ipmi_cipher_suite_version {written:?} is no number up to 17")),
        });
        let IpmiAccess { address, credentials, route } = read(driver_info, defaults)?;
        Ok(Self { address, credentials, route, protocol: protocol(driver_info)?, suite: suite.transpose()? })
    }
}

fn wrong(error: CredentialsError) -> String {
    format!("driver_info's credentials: {error}")
}

fn protocol(driver_info: &Map<String, Value>) -> Result<Protocol, String> {
    match text(driver_info, "ipmi_protocol_version").as_deref() {
        None | Some("2.0") => Ok(Protocol::V2_0),
        Some("1.5") => Ok(Protocol::V1_5),
        Some(other) => Err(format!("driver_info's ipmi_protocol_version {other:?} is neither 2.0 nor 1.5")),
    }
}

/// What both have in common; any suite will do.
fn read(driver_info: &Map<String, Value>, defaults: &Ipmi) -> Result<IpmiAccess, String> {
    let text = |key: &str| text(driver_info, key);
    let address = text("ipmi_address").ok_or("driver_info has no ipmi_address: set it to the BMC's IP address")?;
    let address: IpAddr =
        address.parse().map_err(|_| format!("driver_info's ipmi_address {address:?} is no IP address"))?;
    let port = match text("ipmi_port") {
        None => IPMI_PORT,
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| format!("driver_info's ipmi_port {port:?} is no UDP port (1–65535)"))?,
    };
    let privilege = match text("ipmi_priv_level").map(|level| level.to_ascii_uppercase()).as_deref() {
        None | Some("ADMINISTRATOR") => Privilege::Administrator,
        Some("OPERATOR") => Privilege::Operator,
        Some("USER") => Privilege::User,
        Some(other) => {
            return Err(format!("driver_info's ipmi_priv_level {other:?} is none of ADMINISTRATOR, OPERATOR, USER"));
        }
    };
    let user = text("ipmi_username").or_else(|| defaults.username.clone()).unwrap_or_default();
    let default = || defaults.password.as_ref().map(|secret| secret.expose().to_owned());
    let password = Zeroizing::new(text("ipmi_password").or_else(default).unwrap_or_default());
    let user = User::new(user).map_err(wrong)?;
    let password = Password::new(password.as_bytes()).map_err(wrong)?;
    let kg = text("ipmi_hex_kg_key").map(Zeroizing::new).map(|digits| hex_key(&digits)).transpose()?;
    let credentials = Credentials { kg, ..Credentials::new(user, password, privilege) };
    Ok(IpmiAccess { address: SocketAddr::new(address, port), credentials, route: route(&text)? })
}

fn suites(version: Option<&str>, allow_zero: bool) -> Result<Option<Suites>, CredentialsError> {
    let Some(version) = version else {
        return Ok(Some(if allow_zero { Suites::allowing_zero(false) } else { Suites::default() }));
    };
    match version.parse().ok().and_then(CipherSuite::from_id) {
        Some(CipherSuite::Zero) if allow_zero => Ok(Some(Suites::allowing_zero(true))),
        Some(CipherSuite::Zero) => Err(CredentialsError::SuiteZero),
        suite => Ok(suite.and_then(Suites::only)),
    }
}

/// Ironic's form of K_g: 40 hexadecimal digits.
fn hex_key(digits: &str) -> Result<Kg, String> {
    let wrong = || "driver_info's ipmi_hex_kg_key is not 40 hexadecimal digits".to_owned();
    if digits.len() != 40 || !digits.is_ascii() {
        return Err(wrong());
    }
    let mut key = Zeroizing::new([0_u8; 20]);
    for (at, octet) in key.iter_mut().enumerate() {
        *octet = u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16).map_err(|_| wrong())?;
    }
    Kg::new(&key[..]).map_err(|error| error.to_string())
}

/// `ipmi_bridging` with its channels and addresses, in decimal or with `0x`.
fn route(text: &impl Fn(&str) -> Option<String>) -> Result<Route, String> {
    let number = |key: &str, max: u8| {
        let value = text(key).ok_or_else(|| format!("driver_info has no {key}, which ipmi_bridging needs"))?;
        let parsed = match value.strip_prefix("0x") {
            Some(digits) => u8::from_str_radix(digits, 16),
            None => value.parse(),
        };
        let within = parsed.ok().filter(|number| *number <= max);
        within.ok_or_else(|| format!("driver_info's {key} {value:?} is no number up to {max}"))
    };
    let hop = |channel: &str, address: &str| {
        Ok::<_, String>(Hop { channel: number(channel, 15)?, address: number(address, u8::MAX)? })
    };
    match text("ipmi_bridging").as_deref() {
        None | Some("no") => Ok(Route::BMC),
        Some("single") => Ok(Route::bridged(hop("ipmi_target_channel", "ipmi_target_address")?)),
        Some("dual") => {
            let transit = hop("ipmi_transit_channel", "ipmi_transit_address")?;
            Ok(Route::double_bridged(transit, hop("ipmi_target_channel", "ipmi_target_address")?))
        }
        Some(other) => Err(format!("driver_info's ipmi_bridging {other:?} is none of no, single, dual")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_ironics_vocabulary() {
        let Value::Object(info) = json!({ "ipmi_address": "10.77.1.100", "ipmi_port": "6230", "ipmi_username": "admin",
            "ipmi_password": "secret", "ipmi_priv_level": "operator" })
        else {
            panic!()
        };
        let read = IpmiAccess::read(&info, &Ipmi::default()).unwrap();
        assert_eq!(read.address, "10.77.1.100:6230".parse().unwrap());
        assert_eq!(read.credentials.privilege, Privilege::Operator);
        let Value::Object(info) = json!({ "ipmi_address": "fd77::1" }) else { panic!() };
        assert_eq!(IpmiAccess::read(&info, &Ipmi::default()).unwrap().address, "[fd77::1]:623".parse().unwrap());
    }

    #[test]
    fn reads_suites_keys_and_bridges() {
        let read = |mut info: Value, allow_cipher_suite_0| {
            info["ipmi_address"] = json!("10.0.0.1");
            let Value::Object(info) = info else { panic!() };
            let mut defaults = Ipmi::default();
            defaults.allow_cipher_suite_0 = allow_cipher_suite_0;
            IpmiAccess::read(&info, &defaults)
        };
        let suites = |version: u8, allow| {
            read(json!({ "ipmi_cipher_suite_version": version }), allow).map(|access| access.credentials.suites)
        };
        assert_eq!(suites(17, false).unwrap().fixed(), Some(CipherSuite::Seventeen));
        assert_eq!(suites(0, true).unwrap().fixed(), Some(CipherSuite::Zero));
        assert!(suites(0, false).unwrap_err().contains("no authentication at all"));
        assert!(suites(8, true).unwrap_err().contains("3 and 17 are"));
        let digits = "00112233445566778899aabbccddeeff00112233";
        let kg = read(json!({ "ipmi_hex_kg_key": digits }), false).unwrap().credentials.kg.unwrap();
        assert_eq!(kg.key()[..3], [0x00, 0x11, 0x22]);
        let error = read(json!({ "ipmi_hex_kg_key": &digits[1..] }), false).unwrap_err();
        assert!(error.contains("40 hexadecimal digits") && !error.contains("1122"), "{error}");
        let single = json!({ "ipmi_bridging": "single", "ipmi_target_channel": "0", "ipmi_target_address": "0x2c" });
        assert_eq!(read(single, false).unwrap().route, Route::bridged(Hop { channel: 0, address: 0x2c }));
        assert!(read(json!({ "ipmi_bridging": "dual" }), false).unwrap_err().contains("no ipmi_transit_channel"));
        assert!(read(json!({ "ipmi_bridging": "triple" }), false).unwrap_err().contains("none of no, single, dual"));
    }

    #[test]
    fn ipmitool_speaks_what_we_do_not() {
        let read = |mut info: Value| {
            info["ipmi_address"] = json!("10.0.0.1");
            let Value::Object(info) = info else { panic!() };
            (IpmiAccess::read(&info, &Ipmi::default()), IpmitoolAccess::read(&info, &Ipmi::default()))
        };
        let (ours, theirs) = read(json!({ "ipmi_protocol_version": "1.5" }));
        assert!(ours.unwrap_err().contains("set power_interface"));
        assert_eq!(theirs.unwrap().protocol, Protocol::V1_5);
        let (ours, theirs) = read(json!({ "ipmi_cipher_suite_version": 8 }));
        assert!(ours.unwrap_err().contains("3 and 17 are"));
        assert_eq!(theirs.unwrap().suite, Some(8));
        for (wrong, words) in [
            (json!({ "ipmi_cipher_suite_version": 0 }), "no authentication at all"),
            (json!({ "ipmi_cipher_suite_version": 18 }), "no number up to 17"),
            (json!({ "ipmi_protocol_version": "3" }), "neither 2.0 nor 1.5"),
        ] {
            let error = read(wrong.clone()).1.unwrap_err();
            assert!(error.contains(words), "{wrong}: {error}");
        }
    }

    #[test]
    fn says_what_is_missing_and_never_the_password() {
        let cases = [
            (json!({}), "has no ipmi_address"),
            (json!({ "ipmi_address": "bmc7.example.org" }), "is no IP address"),
            (json!({ "ipmi_address": "10.0.0.1", "ipmi_port": 0 }), "is no UDP port"),
            (json!({ "ipmi_address": "10.0.0.1", "ipmi_port": "x" }), "is no UDP port"),
            (json!({ "ipmi_address": "10.0.0.1", "ipmi_priv_level": "root" }), "is none of"),
            (
                json!({ "ipmi_address": "10.0.0.1", "ipmi_password": "hunter2hunter2hunter2hunter2" }),
                "the BMC password has",
            ),
        ];
        for (info, words) in cases {
            let Value::Object(map) = &info else { panic!() };
            let error = IpmiAccess::read(map, &Ipmi::default()).unwrap_err();
            assert!(error.contains(words) && !error.contains("hunter2"), "{error}");
        }
    }
}
