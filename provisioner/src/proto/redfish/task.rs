//! How a task gets on that a service has begun in place of an answer (DSP0266, 12.2).

use serde_json::Value;

/// How it gets on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// It is not done yet.
    Runs,
    /// It is done.
    Done,
    /// It failed, or was ended: its state and what it says.
    Failed(String),
}

/// Reads what a task's monitor answers, a Task resource or, once it is done, the answer of the operation itself.
pub fn task(status: u16, body: &Value) -> Task {
    match (body["TaskState"].as_str(), status) {
        (Some("Completed"), _) => match body["TaskStatus"].as_str() {
            Some("Critical") => Task::Failed(words("Completed", body)),
            _ => Task::Done,
        },
        (Some(state @ ("Exception" | "Killed" | "Cancelled" | "Cancelling" | "Interrupted" | "Stopping")), _) => {
            Task::Failed(words(state, body))
        }
        (Some(_), _) | (None, 202) => Task::Runs,
        (None, _) => Task::Done,
    }
}

fn words(state: &str, body: &Value) -> String {
    let messages = body["Messages"].as_array().into_iter().flatten();
    let message = messages.filter_map(|message| message["Message"].as_str()).next_back().unwrap_or_default();
    let line: String =
        format!("{state} {message}").chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_monitor_tells_until_it_is_done() {
        let cases = [
            (202, Value::Null, Task::Runs),
            (202, json!({ "TaskState": "Running" }), Task::Runs),
            (200, json!({ "TaskState": "New" }), Task::Runs),
            (200, json!({ "TaskState": "Completed", "TaskStatus": "OK" }), Task::Done),
            (200, json!({ "TaskState": "Completed", "TaskStatus": "Critical" }), Task::Failed("Completed".into())),
            (
                200,
                json!({ "TaskState": "Exception", "Messages": [{ "Message": "no\nfan" }] }),
                Task::Failed("Exception no fan".into()),
            ),
            (204, Value::Null, Task::Done),
            (200, json!({ "Name": "the operation's own answer" }), Task::Done),
        ];
        for (status, body, expected) in cases {
            assert_eq!(task(status, &body), expected, "{status} {body}");
        }
    }
}
