//! [`Turn`]: one call of the step function, and the tools that the families of states share.

use reveille_config::MacAddr;

use super::{Agent, Deadline, Effect, Firmware, Millis, Node, Pending, Port, ProvisionState, Settings, Stage};

/// A machine as it stands: the node and its interfaces.
#[derive(Debug, Clone, Copy)]
pub struct Machine<'a> {
    /// The node.
    pub node: &'a Node,
    /// Its interfaces.
    pub ports: &'a [Port],
}

/// How much a note of the history matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    /// It went as it should.
    Info,
    /// Something went wrong.
    Error,
}

/// A line of the node's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// A short fixed word: `state`, `power`, `boot`, `agent`, `retry`, `error` …
    pub kind: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// Plain words.
    pub text: String,
}

/// What a call of the step function gives back.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The node, changed.
    pub node: Node,
    /// For its history, oldest first.
    pub notes: Vec<Note>,
    /// Whether the change may be lost in a crash: only when to ask next, and when the agent was heard last.
    pub is_volatile: bool,
}

/// One call of the step function.
pub(super) struct Turn<'a> {
    pub node: Node,
    pub ports: &'a [Port],
    pub now: Millis,
    pub settings: &'a Settings,
    notes: Vec<Note>,
    is_volatile: bool,
}

impl<'a> Turn<'a> {
    pub fn new(machine: Machine<'a>, now: Millis, settings: &'a Settings) -> Self {
        let Machine { node, ports } = machine;
        Self { node: node.clone(), ports, now, settings, notes: Vec::new(), is_volatile: true }
    }

    pub fn end(mut self) -> Step {
        if !self.is_volatile {
            self.node.updated_at = Some(self.now);
        }
        Step { node: self.node, notes: self.notes, is_volatile: self.is_volatile }
    }

    /// What has been changed must survive a crash.
    pub fn keep(&mut self) {
        self.is_volatile = false;
    }

    /// Whether something has been changed that must survive a crash.
    pub fn is_kept(&self) -> bool {
        !self.is_volatile
    }

    /// What has been changed may be lost after all.
    pub fn forgo(&mut self) {
        self.is_volatile = true;
    }

    pub fn note(&mut self, kind: &'static str, text: impl Into<String>) {
        self.keep();
        self.notes.push(Note { kind, severity: Severity::Info, text: text.into() });
    }

    pub fn note_error(&mut self, kind: &'static str, text: impl Into<String>) {
        self.keep();
        self.notes.push(Note { kind, severity: Severity::Error, text: text.into() });
    }

    /// Enters a provision state.
    pub fn enter(&mut self, state: ProvisionState, target: Option<ProvisionState>) {
        let from = std::mem::replace(&mut self.node.provision_state, state);
        self.node.target_provision_state = target;
        self.node.provision_updated_at = Some(self.now);
        if from != state {
            self.note("state", format!("{from} → {state}"));
        }
    }

    /// Enters a stage that is given up with `reason` after `secs`.
    pub fn wait_in(&mut self, stage: Stage, secs: u32, reason: impl Into<String>) {
        self.node.work.stage = stage;
        self.node.work.deadline = Some(Deadline { at: self.now.plus_secs(secs), reason: reason.into() });
        self.keep();
    }

    /// Nothing more to do.
    pub fn rest(&mut self) {
        self.node.work.stage = Stage::Idle;
        self.node.work.deadline = None;
        self.node.work.pending.clear();
        self.keep();
    }

    pub fn push(&mut self, effect: Effect) {
        self.push_after(0, effect);
    }

    pub fn push_after(&mut self, millis: u64, effect: Effect) {
        let work = &mut self.node.work;
        let id = work.next_effect;
        work.next_effect += 1;
        let not_before = self.now.plus_millis(millis);
        work.pending.push_back(Pending { id, not_before, attempts: 0, since: None, effect });
        self.keep();
    }

    /// The power was cut, or is about to be: whoever calls next is another agent.
    pub fn forget_agent(&mut self) {
        if self.node.work.agent != Agent::default() {
            self.node.work.agent = Agent::default();
            self.keep();
        }
    }

    /// The interfaces that the machine may boot from.
    pub fn boot_macs(&self) -> Vec<MacAddr> {
        self.ports.iter().filter(|port| port.pxe_enabled).map(|port| port.address).collect()
    }

    pub fn firmware(&self) -> Firmware {
        if self.node.boots_by_uefi() { Firmware::Uefi } else { Firmware::Bios }
    }
}
