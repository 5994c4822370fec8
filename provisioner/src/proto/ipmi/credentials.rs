//! Who we are to a BMC: user, password, privilege.
//!
//! Invariant: a password's octets are wiped when dropped and appear in no `Debug` text.

use std::fmt;

use zeroize::Zeroizing;

use super::suite::Suites;

/// Longest user name of IPMI, in octets (22.28).
pub const USER_BYTES_MAX: usize = 16;

/// Longest password of an IPMI 2.0 user, in octets (22.30).
pub const PASSWORD_BYTES_MAX: usize = 20;

/// Why a user name or password cannot be used with IPMI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The user name has more than 16 octets.
    #[error("the BMC user name has {0} octets, IPMI allows at most {USER_BYTES_MAX}")]
    UserTooLong(usize),
    /// The password has more than 20 octets.
    #[error("the BMC password has {0} octets, IPMI 2.0 allows at most {PASSWORD_BYTES_MAX}")]
    PasswordTooLong(usize),
    /// K_g has more than 20 octets.
    #[error("the BMC key K_g has {0} octets, IPMI 2.0 allows at most {PASSWORD_BYTES_MAX}")]
    KgTooLong(usize),
    /// Cipher suite 0 where it is not allowed.
    #[error("cipher suite 0 means no authentication at all, and is not allowed here: allow_cipher_suite_0 would")]
    SuiteZero,
    /// An octet zero, which ends the text on the BMC's side.
    #[error("a BMC user name or password cannot contain an octet zero")]
    Zero,
}

/// A BMC user's name: at most 16 octets, none of them zero. May be empty (the null user).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct User(String);

impl User {
    /// Takes the name as text; fails if it has more than 16 octets or contains a zero.
    pub fn new(name: impl Into<String>) -> Result<Self, CredentialsError> {
        let name = name.into();
        if name.len() > USER_BYTES_MAX {
            return Err(CredentialsError::UserTooLong(name.len()));
        }
        if name.contains('\0') {
            return Err(CredentialsError::Zero);
        }
        Ok(Self(name))
    }

    /// The name as it goes over the wire.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A BMC user's password: at most 20 octets, wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<[u8; PASSWORD_BYTES_MAX]>);

impl Password {
    /// Copies the password; fails if it has more than 20 octets or contains a zero.
    pub fn new(password: impl AsRef<[u8]>) -> Result<Self, CredentialsError> {
        let password = password.as_ref();
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(CredentialsError::PasswordTooLong(password.len()));
        }
        if password.contains(&0) {
            return Err(CredentialsError::Zero);
        }
        let mut key = Zeroizing::new([0; PASSWORD_BYTES_MAX]);
        key[..password.len()].copy_from_slice(password);
        Ok(Self(key))
    }

    /// The key K\[UID\]: the password padded with zeros to 20 octets (13.31).
    pub fn key(&self) -> &[u8; PASSWORD_BYTES_MAX] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// The BMC's own key K_g, of 20 octets (13.31): session keys are made from it instead of from the user's password. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Kg(Zeroizing<[u8; PASSWORD_BYTES_MAX]>);

impl Kg {
    /// Copies the key, which may contain zeros; fails if it has more than 20 octets.
    pub fn new(kg: impl AsRef<[u8]>) -> Result<Self, CredentialsError> {
        let kg = kg.as_ref();
        if kg.len() > PASSWORD_BYTES_MAX {
            return Err(CredentialsError::KgTooLong(kg.len()));
        }
        let mut key = Zeroizing::new([0; PASSWORD_BYTES_MAX]);
        key[..kg.len()].copy_from_slice(kg);
        Ok(Self(key))
    }

    /// The key, padded with zeros to 20 octets.
    pub fn key(&self) -> &[u8; PASSWORD_BYTES_MAX] {
        &self.0
    }
}

impl fmt::Debug for Kg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kg(…)")
    }
}

/// What a session may do (6.8). Reading needs User, power and boot device need Operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Privilege {
    /// May only read.
    User = 2,
    /// May also control power and boot.
    Operator = 3,
    /// May do everything.
    #[default]
    Administrator = 4,
}

impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Operator => "operator",
            Self::Administrator => "administrator",
        })
    }
}

/// What opens a session: user, password, the privilege it is to have, and how it is to be protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub user: User,
    /// The user's password, K\[UID\].
    pub password: Password,
    /// The privilege asked for at Open Session and raised to afterwards.
    pub privilege: Privilege,
    /// K\[BMC\], where the BMC has one set.
    pub kg: Option<Kg>,
    /// Which cipher suites may be spoken.
    pub suites: Suites,
}

impl Credentials {
    /// Without K_g, and with the best cipher suite that the BMC offers.
    pub fn new(user: User, password: Password, privilege: Privilege) -> Self {
        Self { user, password, privilege, kg: None, suites: Suites::default() }
    }

    /// The key that session keys are made from: K_g, or the user's where there is none.
    pub(super) fn session_key(&self) -> &[u8; PASSWORD_BYTES_MAX] {
        self.kg.as_ref().map_or(self.password.key(), Kg::key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_end_where_ipmi_ends_them() {
        assert!(User::new("sixteen-octets-x").is_ok());
        assert_eq!(User::new("seventeen-octetsx"), Err(CredentialsError::UserTooLong(17)));
        assert!(Password::new([b'x'; 20]).is_ok());
        assert_eq!(Password::new([b'x'; 21]), Err(CredentialsError::PasswordTooLong(21)));
        assert_eq!(Kg::new([b'x'; 21]), Err(CredentialsError::KgTooLong(21)));
        assert_eq!(Kg::new(b"a\0b").unwrap().key()[..4], *b"a\0b\0");
        assert_eq!(Password::new(b"a\0b"), Err(CredentialsError::Zero));
        assert_eq!(User::new("a\0b"), Err(CredentialsError::Zero));
    }

    #[test]
    fn a_password_is_never_printed() {
        let password = Password::new("tell-no-one").unwrap();
        let kg = Some(Kg::new("tell-no-one").unwrap());
        let user = User::new("admin").unwrap();
        let credentials = Credentials { kg, ..Credentials::new(user, password, Privilege::Administrator) };
        let text = format!("{credentials:?} {credentials:#?}");
        assert!(text.contains("admin") && !text.contains("tell") && !text.contains("116"), "{text}");
    }
}
