//! `GET /v1/configuration` of every daemon: whether the configuration that it was last told to read is in force.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which configuration is in force: what became of the times that the daemon was told to read it again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReloadStatus {
    /// How often it was told to since its start.
    pub reloads: u64,
    /// Why the last one changed nothing and the configuration before it is in force; absent where the last one was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl ReloadStatus {
    /// After one reload more, with why it changed nothing, if it did not.
    #[must_use]
    pub fn after(&self, refused: Option<String>) -> Self {
        Self { reloads: self.reloads + 1, refused }
    }
}
