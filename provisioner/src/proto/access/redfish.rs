//! `redfish_*` of `driver_info`, as Ironic names them.

use std::fmt;
use std::path::PathBuf;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

/// Octets of a user name or a password; longer ones no BMC takes.
const CREDENTIAL_BYTES_MAX: usize = 256;

/// Where a BMC's Redfish service is and who we are to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedfishAccess {
    /// Whether it is spoken to over TLS; plain HTTP only where the address says so.
    pub tls: bool,
    /// `host` or `host:port`, an IPv6 address in brackets.
    pub authority: String,
    /// The path of the system that is meant; none where the service has but one.
    pub system: Option<String>,
    /// Who we are; none where it asks nobody.
    pub user: Option<RedfishUser>,
    /// Whose certificate it may show.
    pub trust: Trust,
    /// How we say who we are.
    pub authentication: Authentication,
    /// What UEFI HTTP boot fetches, where the BMC is to say so; else DHCP does.
    pub http_boot_uri: Option<String>,
}

/// A user of a Redfish service. The password is wiped when dropped and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct RedfishUser {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Zeroizing<String>,
}

impl fmt::Debug for RedfishUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedfishUser").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Whose certificates are trusted: `redfish_verify_ca`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Those that this host trusts.
    Host,
    /// Those that a certificate of this file has signed.
    File(PathBuf),
    /// Anybody's.
    Anybody,
}

/// How a client says who it is: `redfish_auth_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// By a session where the service has them, else by name and password in each request.
    Auto,
    /// By a session.
    Session,
    /// By name and password in each request.
    Basic,
}

impl RedfishAccess {
    /// Reads them; the error says what is missing or wrong.
    pub fn read(driver_info: &Map<String, Value>) -> Result<Self, String> {
        let text = |key: &str| match driver_info.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(format!("driver_info's {key} is no text")),
        };
        let address = text("redfish_address")?;
        let address =
            address.ok_or("driver_info has no redfish_address: set it to the BMC's address, as https://10.0.0.1")?;
        let (tls, authority) = authority(address).ok_or_else(|| {
            format!("driver_info's redfish_address {address:?} is none: write https://HOST or https://HOST:PORT")
        })?;
        let path = |key: &str| {
            let path = text(key)?;
            let is_path = |path: &str| path.starts_with('/') && path.bytes().all(is_of_a_path);
            match path {
                Some(path) if !is_path(path) => {
                    Err(format!("driver_info's {key} {path:?} is no path: write it as /redfish/v1/Systems/1"))
                }
                path => Ok(path.map(|path| path.trim_end_matches('/').to_owned()).filter(|path| !path.is_empty())),
            }
        };
        let user = match (text("redfish_username")?, text("redfish_password")?) {
            (None, None) => None,
            (Some(name), Some(password)) => Some(user(name, password)?),
            (Some(_), None) => return Err("driver_info has a redfish_username and no redfish_password".to_owned()),
            (None, Some(_)) => return Err("driver_info has a redfish_password and no redfish_username".to_owned()),
        };
        let authentication = match text("redfish_auth_type")? {
            None | Some("auto") => Authentication::Auto,
            Some("session") => Authentication::Session,
            Some("basic") => Authentication::Basic,
            Some(other) => {
                return Err(format!("driver_info's redfish_auth_type {other:?} is none of auto, session, basic"));
            }
        };
        let http_boot_uri = match text("redfish_http_boot_uri")? {
            Some(uri) if !(uri.starts_with("http://") || uri.starts_with("https://")) => {
                return Err(format!("driver_info's redfish_http_boot_uri {uri:?} is no URL of http or https"));
            }
            uri => uri.map(str::to_owned),
        };
        Ok(Self {
            tls,
            authority,
            system: path("redfish_system_id")?,
            user,
            trust: trust(driver_info.get("redfish_verify_ca"))?,
            authentication,
            http_boot_uri,
        })
    }

    /// `https://host:port`
    pub fn base(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }
}

/// Scheme and `host:port` of an address; Ironic's default scheme is https.
fn authority(address: &str) -> Option<(bool, String)> {
    let (tls, rest) = match (address.strip_prefix("https://"), address.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => (true, address),
    };
    let rest = rest.trim_end_matches('/');
    // A bare IPv6 address has more colons than a host with its port.
    let rest = match rest.parse::<std::net::Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => rest.to_owned(),
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    (!rest.is_empty() && rest.len() <= 261 && rest.bytes().all(is_host)).then_some((tls, rest))
}

fn is_of_a_path(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"?#\"\\<>^`{|}".contains(&byte)
}

fn user(name: &str, password: &str) -> Result<RedfishUser, String> {
    if name.len() > CREDENTIAL_BYTES_MAX || password.len() > CREDENTIAL_BYTES_MAX {
        return Err(format!(
            "driver_info's redfish_username or redfish_password has more than {CREDENTIAL_BYTES_MAX} octets"
        ));
    }
    if name.contains(':') {
        return Err("driver_info's redfish_username contains a colon, which no user name of HTTP has".to_owned());
    }
    Ok(RedfishUser { name: name.to_owned(), password: Zeroizing::new(password.to_owned()) })
}

/// A boolean, a text that says one (as the command line sends it), or a path.
fn trust(value: Option<&Value>) -> Result<Trust, String> {
    match value {
        None | Some(Value::Null | Value::Bool(true)) => Ok(Trust::Host),
        Some(Value::Bool(false)) => Ok(Trust::Anybody),
        Some(Value::String(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" => Ok(Trust::Host),
            "false" | "0" | "off" | "no" => Ok(Trust::Anybody),
            _ if text.starts_with('/') => Ok(Trust::File(text.into())),
            _ => Err(format!(
                "driver_info's redfish_verify_ca {text:?} is neither true nor false nor a file's absolute path"
            )),
        },
        Some(_) => {
            Err("driver_info's redfish_verify_ca is neither true nor false nor a file's absolute path".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(mut info: Value) -> Result<RedfishAccess, String> {
        if info.get("redfish_address").is_none() {
            info["redfish_address"] = json!("https://10.0.0.1");
        }
        let Value::Object(info) = info else { panic!() };
        RedfishAccess::read(&info)
    }

    #[test]
    fn reads_ironics_vocabulary() {
        let addresses = [
            ("https://10.0.0.1", "https://10.0.0.1"),
            ("http://10.0.0.1:8000/", "http://10.0.0.1:8000"),
            ("bmc7.example.org", "https://bmc7.example.org"),
            ("fd77::1", "https://[fd77::1]"),
            ("https://[fd77::1]:8443", "https://[fd77::1]:8443"),
        ];
        for (written, base) in addresses {
            assert_eq!(read(json!({ "redfish_address": written })).unwrap().base(), base);
        }
        let access = read(json!({ "redfish_system_id": "/redfish/v1/Systems/1/", "redfish_username": "admin",
            "redfish_password": "hunter2", "redfish_verify_ca": "/etc/ssl/bmc.pem", "redfish_auth_type": "session" }))
        .unwrap();
        assert_eq!(access.system.as_deref(), Some("/redfish/v1/Systems/1"));
        assert_eq!(
            (access.trust, access.authentication),
            (Trust::File("/etc/ssl/bmc.pem".into()), Authentication::Session)
        );
        assert_eq!(access.user.as_ref().unwrap().name, "admin");
        assert!(!format!("{:?}", access.user).contains("hunter2"));
        for (written, trust) in
            [(json!(true), Trust::Host), (json!("False"), Trust::Anybody), (Value::Null, Trust::Host)]
        {
            assert_eq!(read(json!({ "redfish_verify_ca": written })).unwrap().trust, trust);
        }
    }

    #[test]
    fn says_what_is_wrong_and_never_the_password() {
        let cases = [
            (json!({ "redfish_address": Value::Null }), "has no redfish_address"),
            (json!({ "redfish_address": "https://10.0.0.1/redfish" }), "write https://HOST"),
            (json!({ "redfish_address": "https://admin@10.0.0.1" }), "write https://HOST"),
            (json!({ "redfish_system_id": "1" }), "is no path"),
            (json!({ "redfish_system_id": "/redfish/v1/Systems/1?a=b" }), "is no path"),
            (json!({ "redfish_username": "admin" }), "no redfish_password"),
            (json!({ "redfish_password": "hunter2" }), "no redfish_username"),
            (json!({ "redfish_password": 7, "redfish_username": "a" }), "redfish_password is no text"),
            (json!({ "redfish_password": "hunter2", "redfish_username": "a:b" }), "contains a colon"),
            (json!({ "redfish_password": "hunter2".repeat(40), "redfish_username": "a" }), "more than 256 octets"),
            (json!({ "redfish_verify_ca": "ca.pem" }), "neither true nor false"),
            (json!({ "redfish_auth_type": "digest" }), "none of auto, session, basic"),
            (json!({ "redfish_http_boot_uri": "tftp://10.0.0.1/x" }), "no URL of http"),
        ];
        for (info, words) in cases {
            let error = read(info.clone()).unwrap_err();
            assert!(error.contains(words) && !error.contains("hunter2"), "{info}: {error}");
        }
    }
}
