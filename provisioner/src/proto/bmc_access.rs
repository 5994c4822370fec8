//! From `driver_info`, in Ironic's vocabulary, to a BMC's address and credentials.

use std::net::{IpAddr, SocketAddr};

use reveille_config::provisioner::Ipmi;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::ipmi::{Credentials, CredentialsError, Password, Privilege, User};

/// The UDP port of IPMI over LAN, unless `ipmi_port` says otherwise.
const IPMI_PORT: u16 = 623;

/// Where a BMC is and who we are to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BmcAccess {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who we are to it.
    pub credentials: Credentials,
}

/// Reads a BMC's address and credentials from `driver_info`, credentials it lacks from the configuration. The error says what is missing; it never contains the password.
pub fn bmc_access(driver_info: &Map<String, Value>, defaults: &Ipmi) -> Result<BmcAccess, String> {
    let text = |key: &str| match driver_info.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
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
    let wrong = |error: CredentialsError| format!("driver_info's credentials: {error}");
    let user = User::new(user).map_err(wrong)?;
    let password = Password::new(password.as_bytes()).map_err(wrong)?;
    Ok(BmcAccess { address: SocketAddr::new(address, port), credentials: Credentials::new(user, password, privilege) })
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
        let read = bmc_access(&info, &Ipmi::default()).unwrap();
        assert_eq!(read.address, "10.77.1.100:6230".parse().unwrap());
        assert_eq!(read.credentials.privilege, Privilege::Operator);
        let Value::Object(info) = json!({ "ipmi_address": "fd77::1" }) else { panic!() };
        assert_eq!(bmc_access(&info, &Ipmi::default()).unwrap().address, "[fd77::1]:623".parse().unwrap());
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
            let error = bmc_access(map, &Ipmi::default()).unwrap_err();
            assert!(error.contains(words) && !error.contains("hunter2"), "{error}");
        }
    }
}
