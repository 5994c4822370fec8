//! A machine's life cycle, with Ironic's state names, as a pure step function.
//!
//! [`request`] is what people and other programs ask for; it may be refused ([`Refusal`]). [`step`] is what the world
//! reports: an effect's result, a deadline, an agent's heartbeat; it is never refused. Both take the node and give it back
//! changed, together with the notes for its history. The effects that shall be carried out are part of the node
//! ([`Work::pending`]), so that one write keeps the state and what is still to be done: a crash between deciding and doing
//! loses nothing, and as every effect is idempotent, doing the first one again harms nothing.
//!
//! It deliberately knows no sockets, no clock and no random numbers; it does not know how an effect is carried out.
//!
//! Invariants, held by the property tests in `properties`:
//! - a node that waits has a deadline, and a node that works has an effect to carry out: no state without exit;
//! - a failure leaves a reason in `last_error`, and a request that leads out again;
//! - an image is written once per boot of the agent, and power is never cut under a write by our own doing.
//!
//! | file | holds |
//! |---|---|
//! | `state` | names of the states, powers and requests |
//! | `model` | [`Node`] and [`Port`], as they are stored |
//! | `work` | what is being done to a node: stage, pending effects, deadline, agent |
//! | `effect` | effects and their results |
//! | `turn` | one call of the step function: the tools the families share |
//! | `enroll` | enroll, verifying, manageable, available |
//! | `deploy`, `agent_steps` | deploying, wait call-back, active, deploy failed |
//! | `delete` | deleting, error |
//! | `power` | power and boot device on request |
//! | `image` | from `instance_info` to what the agent is told to write |

mod agent_steps;
mod delete;
mod deploy;
mod effect;
mod enroll;
mod image;
mod model;
mod power;
#[cfg(test)]
mod properties;
mod settings;
mod state;
mod step;
mod turn;
mod work;

pub use effect::{
    AgentCommand, Boot, BootDevice, CommandState, CommandStatus, Effect, Failure, Firmware, Outcome, Power,
};
pub use image::{ImageInfo, Unusable, image_info};
pub use model::{Node, Port};
pub use settings::Settings;
pub use state::{PowerState, ProvisionState, Verb};
pub use step::{Event, PowerRequest, Refusal, Request, request, step};
pub use turn::{Machine, Note, Severity, Step};
pub use work::{Agent, Deadline, Pending, Stage, Work};

/// Wall-clock time: milliseconds since the Unix epoch. What is persisted bears it, deadlines included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// This much later.
    pub const fn plus_secs(self, secs: u32) -> Self {
        Self(self.0.saturating_add(secs as u64 * 1_000))
    }

    /// This much later.
    pub const fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}
