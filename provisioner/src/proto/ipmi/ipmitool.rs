//! What the program ipmitool is told and says: its arguments for a way, the answers of `raw`, its complaints.

use super::completion::CompletionCode;
use super::{Credentials, Hop, Route};

/// Characters of a complaint that are kept.
const COMPLAINT_CHARS_MAX: usize = 300;

/// The arguments that lead to a controller behind the BMC.
pub fn route(route: &Route) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut put = |option: &str, value: u8| arguments.extend([option.to_owned(), format!("{value:#04x}")]);
    let hop = |put: &mut dyn FnMut(&str, u8), options: [&str; 2], hop: Hop| {
        put(options[0], hop.channel);
        put(options[1], hop.address);
    };
    match (route.first, route.second) {
        (Some(transit), Some(target)) => {
            hop(&mut put, ["-B", "-T"], transit);
            hop(&mut put, ["-b", "-t"], target);
        }
        (Some(target), None) => hop(&mut put, ["-b", "-t"], target),
        _ => {}
    }
    if route.lun != 0 {
        put("-l", route.lun);
    }
    arguments
}

/// The octets that `raw` prints in hexadecimal; `None` if it prints something else.
pub fn octets(said: &str) -> Option<Vec<u8>> {
    said.split_whitespace().map(|digits| (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?).collect()
}

/// The completion code of `Unable to send RAW command (channel=0x0 netfn=0x0 lun=0x0 cmd=0x2 rsp=0xd5): …`.
pub fn completion_code(complained: &str) -> Option<CompletionCode> {
    let (_, rest) = complained.split_once("rsp=0x")?;
    let digits = rest.split(|c: char| !c.is_ascii_hexdigit()).next()?;
    u8::from_str_radix(digits, 16).ok().map(CompletionCode)
}

/// The last line of a complaint, fit for people: bounded, one line, without the password should the program ever say it.
pub fn complaint(complained: &str, credentials: &Credentials) -> String {
    let last = complained.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it says nothing");
    let mut line: String =
        last.chars().take(COMPLAINT_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let secrets = [Some(credentials.password.key()), credentials.kg.as_ref().map(super::Kg::key)];
    for secret in secrets.into_iter().flatten() {
        let len = secret.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
        if let Some(secret) = std::str::from_utf8(&secret[..len]).ok().filter(|secret| !secret.is_empty()) {
            line = line.replace(secret, "******");
        }
    }
    line.strip_prefix("Error: ").map(str::to_owned).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::super::{Password, Privilege, User};
    use super::*;

    #[test]
    fn answers_of_raw_are_octets() {
        let cases: [(&str, Option<&[u8]>); 6] = [
            (" 21 10 40 54\n", Some(&[0x21, 0x10, 0x40, 0x54])),
            (" 00 01\n 02 ff\n", Some(&[0, 1, 2, 0xff])),
            ("\n", Some(&[])),
            ("Chassis Power is on\n", None),
            (" 021\n", None),
            (" 0x\n", None),
        ];
        for (said, octets) in cases {
            assert_eq!(super::octets(said).as_deref(), octets, "{said:?}");
        }
    }

    #[test]
    fn complaints_are_told_apart_and_never_tell_the_password() {
        let refused = "Unable to send RAW command (channel=0x0 netfn=0x0 lun=0x0 cmd=0x2 rsp=0xd5): Command not supported in present state\n";
        assert_eq!(completion_code(refused), Some(CompletionCode(0xd5)));
        let dead = "Error: Unable to establish IPMI v2 / RMCP+ session\n\n";
        assert_eq!(completion_code(dead), None);
        let user = User::new("admin").unwrap();
        let credentials = Credentials::new(user, Password::new("hunter2").unwrap(), Privilege::Administrator);
        assert_eq!(complaint(dead, &credentials), "Unable to establish IPMI v2 / RMCP+ session");
        assert_eq!(complaint("bad password hunter2\u{7}!", &credentials), "bad password ****** !");
        assert_eq!(complaint("", &credentials), "it says nothing");
        assert_eq!(complaint(&"x".repeat(1_000), &credentials).len(), COMPLAINT_CHARS_MAX);
    }

    #[test]
    fn a_way_becomes_arguments() {
        let hop = |channel, address| Hop { channel, address };
        let cases = [
            (Route::BMC, ""),
            (Route { lun: 2, ..Route::BMC }, "-l 0x02"),
            (Route::bridged(hop(7, 0x2c)), "-b 0x07 -t 0x2c"),
            (Route::double_bridged(hop(0, 0x82), hop(7, 0x72)), "-B 0x00 -T 0x82 -b 0x07 -t 0x72"),
        ];
        for (way, arguments) in cases {
            assert_eq!(route(&way).join(" "), arguments);
        }
    }
}
