//! Tokens of the lease API: who may do what over TCP.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a caller of an API may do; each role may also do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Read,
    /// Change reservations, leases and sightings.
    Write,
    /// Make and revoke tokens.
    Admin,
}

impl Role {
    /// The word of the API and the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Read, Self::Write, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or("one of read, write, admin is expected")
    }
}

/// The body of `POST /v1/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenCreate {
    /// For whom it is, to know it again: 1 to 64 letters, digits, `-`, `_` and `.`.
    #[schemars(regex(pattern = "^[A-Za-z0-9_.-]{1,64}$"))]
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// From when on it is refused, Unix seconds; absent: it holds until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::number::optional")]
    #[schemars(with = "Option<u64>")]
    pub expires_unix: Option<u64>,
}

/// A token as it is listed: all but the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// What it is revoked by: the part of the token between its first and second `_`.
    pub id: String,
    /// For whom it is.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// When it was made, Unix seconds.
    pub created_unix: u64,
    /// From when on it is refused, Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_unix: Option<u64>,
}

/// The answer to `POST /v1/tokens`: the only time that the token is shown. Its `Debug` does not.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenCreated {
    /// What `Authorization: Bearer` takes.
    pub secret: String,
    /// The rest.
    #[serde(flatten)]
    pub token: Token,
}

impl fmt::Debug for TokenCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCreated").field("secret", &"******").field("token", &self.token).finish()
    }
}
