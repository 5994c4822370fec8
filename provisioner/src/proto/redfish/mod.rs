//! Redfish (DMTF DSP0266, schemas DSP8010): what resources mean and what is to be sent, as data.
//!
//! It knows nothing of HTTP but status and header values that it is given. What a service says is data: a value that is missing or of the wrong
//! kind is a value that is not there, and a path that leads away from the service is none.
//!
//! | file | holds |
//! |---|---|
//! | `system` | a ComputerSystem: power, reset, boot override |
//! | `media` | VirtualMedia |
//! | `stream` | server-sent events |
//! | `task` | how a task gets on |
//! | `said` | what a service says in an error, and paths, bounded and fit for people |

mod media;
mod said;
mod stream;
mod system;
mod task;

pub use media::{Media, MediaKind};
pub use said::{begins, linked, message, path};
pub use stream::EventCount;
pub use system::{BootOverride, Reset, System};
pub use task::{Task, task};
