//! The few commands the lab gives to a running QEMU over its machine protocol (QMP, one JSON object a line).
//!
//! A connection is made for each command: QEMU serves one at a time, and the lab gives few.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::LabError;

/// How long QEMU may take for one line; it answers within milliseconds unless the machine is overloaded.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Carries out `command` on the QEMU that listens at `socket` and gives its `return` value.
///
/// # Errors
/// When QEMU cannot be reached or answers with an error.
pub fn execute(socket: &Path, command: &str) -> Result<Value, LabError> {
    let tried = || format!("QMP {command} at {}", socket.display());
    let stream = UnixStream::connect(socket).map_err(LabError::io(tried()))?;
    stream.set_read_timeout(Some(ANSWER_LIMIT)).map_err(LabError::io(tried()))?;
    let mut lines = BufReader::new(stream.try_clone().map_err(LabError::io(tried()))?).lines();
    // The greeting comes first; capabilities have to be negotiated before any other command.
    for wanted in ["qmp_capabilities", command] {
        let request = format!("{}\n", json!({ "execute": wanted }));
        (&stream).write_all(request.as_bytes()).map_err(LabError::io(tried()))?;
        let value = answer(&mut lines, &tried)?;
        if wanted == command {
            return Ok(value);
        }
    }
    unreachable!("the loop returns at its last command")
}

/// The next `return`, past greetings and events.
fn answer(
    lines: &mut impl Iterator<Item = std::io::Result<String>>,
    tried: &impl Fn() -> String,
) -> Result<Value, LabError> {
    for line in lines {
        let line = line.map_err(LabError::io(tried()))?;
        let mut object: Value =
            serde_json::from_str(&line).map_err(|_| LabError::Answer { tried: tried(), answer: line.clone() })?;
        if object.get("error").is_some() {
            return Err(LabError::Answer { tried: tried(), answer: line });
        }
        if let Some(value) = object.get_mut("return") {
            return Ok(value.take());
        }
    }
    Err(LabError::Answer { tried: tried(), answer: "the connection ended".to_owned() })
}
