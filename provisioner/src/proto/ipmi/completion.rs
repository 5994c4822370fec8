//! Completion codes (table 5-2) and RMCP+ status codes (table 13-15), with their meaning in words.

use std::fmt;

/// The first octet of every IPMI response. Codes 0x80–0xbe mean something else for each command; the command's own
/// meaning is given by [`CompletionCode::describe`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CompletionCode(pub u8);

impl CompletionCode {
    /// The command was carried out.
    pub const OK: Self = Self(0x00);

    /// True if the BMC was merely busy, so that the same request may succeed a moment later.
    pub const fn is_transient(self) -> bool {
        matches!(self.0, 0xc0 | 0xc3 | 0xd2)
    }

    /// True if a higher privilege would help, for the command with this network function and number.
    pub const fn is_privilege(self, netfn: u8, command: u8) -> bool {
        matches!((netfn, command, self.0), (_, _, 0xd4) | (0x06, 0x3b, 0x80 | 0x81))
    }

    /// The meaning in words, for the command with this network function and number.
    pub const fn describe(self, netfn: u8, command: u8) -> &'static str {
        match (netfn, command, self.0) {
            (0x00, 0x08 | 0x09, 0x80) => "boot parameter not supported",
            (0x00, 0x08, 0x81) => "another party is setting boot options",
            (0x00, 0x08, 0x82) => "boot parameter is read-only",
            (0x06, 0x3b, 0x80) => "the user may not have this privilege level",
            (0x06, 0x3b, 0x81) => "the privilege level is above the channel's or the user's limit",
            (0x06, 0x3b, 0x82) => "user level authentication cannot be disabled",
            (0x06, 0x3c, 0x87) => "no such session",
            (0x06, 0x22, 0x80) => "the watchdog was never set",
            (0x06, 0x47, 0x80) => "the user has another password",
            (0x06, 0x47, 0x81) => "the user has a password of another length",
            (0x06, 0x48, 0x80) => "another session holds the console",
            (0x06, 0x48, 0x81) => "serial over LAN is disabled on the BMC",
            (0x06, 0x48, 0x82) => "the BMC serves no more consoles",
            (0x06, 0x48, 0x83) => "the BMC has no encrypted console",
            (0x06, 0x48, 0x84) => "the BMC has only an encrypted console",
            (0x06, 0x49, 0x80) => "nobody holds the console",
            (0x0a, 0x40 | 0x43 | 0x47, 0x81) => "the event log is being erased",
            (0x0c, 0x01 | 0x02, 0x80) => "LAN parameter not supported",
            (0x0c, 0x01, 0x82) => "LAN parameter is read-only",
            (0x06, 0x34, 0x80) => "invalid session handle",
            (0x06, 0x34, 0x81) => "bus lost to another controller",
            (0x06, 0x34, 0x82) => "bus error",
            (0x06, 0x34, 0x83) => "no controller answers at this address",
            (_, _, code) => generic(code),
        }
    }
}

const fn generic(code: u8) -> &'static str {
    match code {
        0x00 => "completed normally",
        0xc0 => "BMC busy",
        0xc1 => "command not supported by this BMC",
        0xc2 => "command not supported for this logical unit",
        0xc3 => "the BMC ran out of time",
        0xc4 => "the BMC ran out of space",
        0xc5 => "reservation cancelled or invalid",
        0xc6 => "request data truncated",
        0xc7 => "request data length invalid",
        0xc8 => "request data too long",
        0xc9 => "parameter out of range",
        0xca => "the BMC cannot return that many octets",
        0xcb => "sensor, data or record not present",
        0xcc => "invalid data field in the request",
        0xcd => "command illegal for this sensor or record",
        0xce => "the BMC could not provide a response",
        0xcf => "the BMC refuses a duplicated request",
        0xd0 => "sensor data repository in update mode",
        0xd1 => "BMC is updating its firmware",
        0xd2 => "BMC is still initialising",
        0xd3 => "destination unavailable",
        0xd4 => "privilege level too low",
        0xd5 => "not possible in the machine's present state",
        0xd6 => "disabled or unavailable sub-function",
        0xff => "unspecified error",
        0x01..=0x7e => "OEM-specific code",
        0x80..=0xbe => "command-specific code",
        _ => "reserved code",
    }
}

impl fmt::Display for CompletionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02x}", self.0)
    }
}

/// The status octet of Open Session and RAKP messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RmcpStatus(pub u8);

impl RmcpStatus {
    /// No errors.
    pub const OK: Self = Self(0x00);
    /// The BMC does not know the session that a RAKP message names.
    pub const INVALID_SESSION: Self = Self(0x02);
    /// The session is not active.
    pub const INACTIVE_SESSION: Self = Self(0x08);
    /// A key exchange authentication code or check value did not match.
    pub const INVALID_CHECK: Self = Self(0x0f);

    /// The meaning in words.
    pub const fn describe(self) -> &'static str {
        match self.0 {
            0x00 => "no errors",
            0x01 => "no session slot free on the BMC",
            0x02 => "invalid session id",
            0x03 => "invalid payload type",
            0x04 => "authentication algorithm refused",
            0x05 => "integrity algorithm refused",
            0x06 => "no matching authentication payload",
            0x07 => "no matching integrity payload",
            0x08 => "inactive session id",
            0x09 => "invalid role",
            0x0a => "the user may not have the privilege asked for",
            0x0b => "no session slot free for this role",
            0x0c => "invalid name length",
            0x0d => "unknown user or user not allowed",
            0x0e => "unauthorised GUID",
            0x0f => "wrong password (the BMC says that the check value does not match)",
            0x10 => "confidentiality algorithm refused",
            0x11 => "cipher suite refused",
            0x12 => "illegal or unknown parameter",
            _ => "reserved status",
        }
    }
}

impl fmt::Display for RmcpStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status 0x{:02x}, {}", self.0, self.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_specific_codes_read_differently_per_command() {
        assert_eq!(CompletionCode(0x80).describe(0x00, 0x08), "boot parameter not supported");
        assert_eq!(
            CompletionCode(0x81).describe(0x06, 0x3b),
            "the privilege level is above the channel's or the user's limit"
        );
        assert_eq!(CompletionCode(0x80).describe(0x06, 0x01), "command-specific code");
        assert_eq!(CompletionCode(0xd4).describe(0x00, 0x02), "privilege level too low");
    }

    #[test]
    fn every_code_has_words() {
        for code in 0..=255 {
            assert!(!CompletionCode(code).describe(0, 2).is_empty());
            assert!(!RmcpStatus(code).describe().is_empty());
        }
    }

    #[test]
    fn only_busy_codes_are_worth_another_try() {
        let transient: Vec<u8> = (0..=255).filter(|code| CompletionCode(*code).is_transient()).collect();
        assert_eq!(transient, [0xc0, 0xc3, 0xd2]);
    }
}
