//! [`Problem`]: the body of every error of dhcpd's and bootd's API (RFC 9457, `application/problem+json`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// The kind of problem in a few words, the same for every occurrence.
    pub title: String,
    /// What is wrong with this request and what would be right.
    pub detail: String,
    /// The field of the body or the parameter at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The rows of a batch that cannot be, the first of them; nothing of the batch was done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<RowProblem>,
}

/// What is wrong with a row of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowProblem {
    /// `put` or `delete`.
    pub list: String,
    /// Its place there, from 0 on.
    pub row: u64,
    /// The field at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong with it and what would be right.
    pub detail: String,
}
