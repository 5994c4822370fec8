//! The life cycle against a simulated machine: its power, its firmware, its agent, bootd.
//!
//! The simulation shares nothing with the code under test but the effects. Crashes are modelled as what they are to a
//! node: an effect that was carried out, but whose result was never written down, is carried out again.

use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::proto::agent;

/// A machine and everything around it.
#[derive(Default)]
struct World {
    is_on: bool,
    boots_network: bool,
    intent: Option<Boot>,
    agent: Option<SimulatedAgent>,
    images_written: u32,
    cuts_while_writing: u32,
    ignores_power_off: bool,
    write_error: Option<&'static str>,
}

#[derive(Default)]
struct SimulatedAgent {
    commands: Vec<CommandStatus>,
    writes: u32,
}

impl World {
    fn set_power(&mut self, on: bool) {
        if on == self.is_on {
            return;
        }
        self.is_on = on;
        if !on {
            if let Some(agent) = self.agent.take() {
                self.cuts_while_writing += u32::from(agent.is_writing());
            }
        } else if self.boots_network && matches!(self.intent, Some(Boot::Agent { .. })) {
            self.agent = Some(SimulatedAgent::default());
        }
    }

    fn carry_out(&mut self, node: &Node, effect: &Effect) -> Result<Outcome, Failure> {
        let power = |on| Outcome::Power(if on { PowerState::On } else { PowerState::Off });
        match effect {
            Effect::ReadPower => Ok(power(self.is_on)),
            Effect::EnsurePower { power: wanted, .. } => {
                self.set_power(*wanted == Power::On);
                Ok(power(self.is_on))
            }
            Effect::SetBootDevice { device, .. } => {
                self.boots_network = *device == BootDevice::Pxe;
                Ok(Outcome::Done)
            }
            Effect::PutIntent { boot, .. } => {
                self.intent = Some(boot.clone());
                Ok(Outcome::Done)
            }
            Effect::DeleteIntent { .. } => {
                self.intent = None;
                Ok(Outcome::Done)
            }
            Effect::PutReservation { .. } | Effect::DeleteReservation { .. } | Effect::SetMedia { .. } => {
                Ok(Outcome::Done)
            }
            Effect::Agent(command) => self.command(node, command),
            Effect::Poll { id } => {
                let agent = self.agent.as_mut().ok_or_else(|| Failure::passing("connection refused"))?;
                agent.work(&mut self.images_written, self.write_error);
                let status = agent.commands.iter().find(|status| status.id == *id);
                status.cloned().map(Outcome::Command).ok_or_else(|| Failure::lasting("the agent knows no such command"))
            }
        }
    }

    fn command(&mut self, node: &Node, command: &AgentCommand) -> Result<Outcome, Failure> {
        let sim = self.agent.as_mut().ok_or_else(|| Failure::passing("connection refused"))?;
        if let Some(status) = agent::already_sent(&sim.commands, command) {
            return Ok(Outcome::Command(status.clone()));
        }
        let body = agent::command_body(node, &[], command);
        let (result, is_running) = match command {
            AgentCommand::GetDeploySteps => {
                (json!({ "deploy_steps": { "m": [{ "step": "write_image", "interface": "deploy" }] } }), false)
            }
            AgentCommand::WriteImage { .. } => {
                sim.writes += 1;
                (json!({ "deploy_step": body["params"]["step"] }), true)
            }
            AgentCommand::GetPartitionUuids => (json!({ "root uuid": "0x1" }), false),
            AgentCommand::InstallBootloader { .. } => (Value::Null, true),
            AgentCommand::PowerOff => {
                if !self.ignores_power_off {
                    self.set_power(false);
                }
                (Value::Null, false)
            }
        };
        let status = CommandStatus {
            id: format!("{}-{}", command.name(), node.work.next_effect),
            command_name: command.name().rsplit('.').next().unwrap().into(),
            command_status: if is_running { CommandState::Running } else { CommandState::Succeeded },
            command_error: Value::Null,
            command_result: if is_running { Value::Null } else { result },
        };
        if let Some(sim) = &mut self.agent {
            sim.commands.push(status.clone());
        }
        Ok(Outcome::Command(status))
    }
}

impl SimulatedAgent {
    fn is_writing(&self) -> bool {
        self.commands
            .iter()
            .any(|c| c.command_status == CommandState::Running && c.command_name == "execute_deploy_step")
    }

    /// Ends what runs.
    fn work(&mut self, images_written: &mut u32, error: Option<&'static str>) {
        for status in self.commands.iter_mut().filter(|status| status.command_status == CommandState::Running) {
            status.command_status = CommandState::Succeeded;
            if status.command_name == "execute_deploy_step" {
                if let Some(error) = error {
                    status.command_status = CommandState::Failed;
                    status.command_error = json!({ "type": "ImageChecksumError", "message": error, "details": error });
                    continue;
                }
                *images_written += 1;
                status.command_result = json!({ "deploy_step": { "step": "write_image" } });
            }
        }
    }
}

struct Bench {
    node: Node,
    ports: Vec<Port>,
    settings: Settings,
    now: Millis,
    world: World,
    notes: Vec<Note>,
}

impl Bench {
    fn new() -> Self {
        let mut node = Node::new(1, Uuid::nil(), "ipmi", Millis(0));
        node.name = Some("n1".into());
        node.instance_info.insert("image_source".into(), "os.raw".into());
        node.instance_info.insert("image_checksum".into(), "a".repeat(64).into());
        let port = Port {
            id: 1,
            uuid: Uuid::nil(),
            node_uuid: Uuid::nil(),
            address: "52:54:00:12:34:56".parse().unwrap(),
            name: None,
            pxe_enabled: true,
            physical_network: None,
            local_link_connection: Default::default(),
            extra: Default::default(),
            attributes: Default::default(),
            created_at: Millis(0),
            updated_at: None,
        };
        Self {
            node,
            ports: vec![port],
            settings: Settings::for_tests(),
            now: Millis(1_000_000),
            world: World::default(),
            notes: Vec::new(),
        }
    }

    fn take(&mut self, step: Step) {
        self.node = step.node;
        self.notes.extend(step.notes);
        self.check();
    }

    fn event(&mut self, event: Event) {
        let machine = Machine { node: &self.node, ports: &self.ports };
        let step = step(machine, event, self.now, &self.settings);
        self.take(step);
    }

    fn ask(&mut self, verb: Verb) -> Result<(), Refusal> {
        let machine = Machine { node: &self.node, ports: &self.ports };
        let step = request(machine, Request::Provision { verb, configdrive: None }, self.now, &self.settings)?;
        self.take(step);
        Ok(())
    }

    /// What must hold whenever the node can be seen.
    fn check(&self) {
        let node = &self.node;
        let state = node.provision_state;
        let work = &node.work;
        if work.stage == Stage::Idle {
            assert!(work.pending.is_empty() && work.deadline.is_none(), "{node:?}");
            assert!(!state.is_transient(), "waits for ever: {node:?}");
            assert!(!state.verbs().is_empty(), "no way on: {node:?}");
        } else {
            assert!(work.deadline.is_some(), "works without a deadline: {node:?}");
            let waits_for_call = matches!(work.stage, Stage::AwaitAgent);
            assert!(waits_for_call || !work.pending.is_empty(), "works without an effect: {node:?}");
        }
        if matches!(state, ProvisionState::DeployFailed | ProvisionState::Error) {
            assert!(node.last_error.as_ref().is_some_and(|reason| reason.len() > 10), "no reason: {node:?}");
        }
        assert_eq!(
            node.target_provision_state.is_some(),
            state.is_transient() || state == ProvisionState::DeployFailed
        );
        assert_eq!(self.world.cuts_while_writing, 0, "power cut under a write: {node:?}");
        assert!(self.world.agent.as_ref().is_none_or(|agent| agent.writes <= 1), "written twice: {node:?}");
    }

    /// Carries out the first effect, `times` times (a crash lost the first result), and reports its result.
    fn work(&mut self, times: u32) -> bool {
        let Some(pending) = self.node.work.pending.front().cloned() else { return false };
        self.now = self.now.max(pending.not_before);
        let mut result = Err(Failure::lasting("never carried out"));
        for _ in 0..times {
            result = self.world.carry_out(&self.node, &pending.effect);
        }
        self.event(Event::Finished { effect: pending.id, result });
        true
    }

    /// The agent, if one runs and is expected, looks itself up and calls.
    fn agent_calls(&mut self) -> bool {
        if self.world.agent.is_none() || !agent::expects_agent(&self.node) {
            return false;
        }
        if self.node.work.agent.token.is_none() {
            self.event(Event::Token("t".repeat(43)));
        }
        self.event(Event::Heartbeat { url: "http://10.77.2.9:9999".into(), version: Some("13.0.0".into()) });
        true
    }

    fn deadline_passes(&mut self) {
        if let Some(deadline) = &self.node.work.deadline {
            self.now = self.now.max(deadline.at);
            self.event(Event::Deadline);
        }
    }

    /// Goes on until nothing is left to do; `doubled` is the number of the effect whose first result a crash loses.
    fn run(&mut self, doubled: Option<usize>) -> usize {
        for effects in 0..200 {
            if self.node.work.stage == Stage::AwaitAgent {
                assert!(self.agent_calls(), "no agent was booted: {:?}", self.node);
            }
            if !self.work(if doubled == Some(effects) { 2 } else { 1 }) {
                return effects;
            }
        }
        panic!("never ends: {:?}", self.node);
    }

    fn make_available(&mut self) {
        self.ask(Verb::Manage).unwrap();
        self.run(None);
        assert_eq!(self.node.provision_state, ProvisionState::Manageable);
        self.ask(Verb::Provide).unwrap();
    }
}

#[test]
fn a_deployment_goes_its_way_and_back() {
    let mut bench = Bench::new();
    bench.world.is_on = true;
    bench.make_available();
    bench.ask(Verb::Active).unwrap();
    assert_eq!(bench.ask(Verb::Active), Err(Refusal::Locked));
    bench.run(None);
    assert_eq!(bench.node.provision_state, ProvisionState::Active);
    assert_eq!(bench.world.intent, Some(Boot::Disk));
    assert!(bench.world.is_on && !bench.world.boots_network);
    assert_eq!(bench.world.images_written, 1);
    assert_eq!(bench.node.work.agent, Agent::default(), "the token is forgotten at power off");
    let states: Vec<_> =
        bench.notes.iter().filter(|note| note.kind == "state").map(|note| note.text.as_str()).collect();
    assert_eq!(
        states,
        [
            "enroll → verifying",
            "verifying → manageable",
            "manageable → available",
            "available → deploying",
            "deploying → wait call-back",
            "wait call-back → deploying",
            "deploying → wait call-back",
            "wait call-back → deploying",
            "deploying → active",
        ]
    );
    bench.ask(Verb::Deleted).unwrap();
    bench.run(None);
    assert_eq!(bench.node.provision_state, ProvisionState::Available);
    assert!(bench.node.instance_info.is_empty() && bench.world.intent.is_none() && !bench.world.is_on);
}

#[test]
fn an_effect_doubled_by_a_crash_harms_nothing_wherever_it_is() {
    let mut bench = Bench::new();
    bench.make_available();
    bench.ask(Verb::Active).unwrap();
    let effects = bench.run(None);
    assert!(effects > 10);
    for doubled in 0..effects {
        let mut bench = Bench::new();
        bench.world.is_on = true;
        bench.make_available();
        bench.ask(Verb::Active).unwrap();
        bench.run(Some(doubled));
        let at = format!("effect {doubled}: {:?}", bench.node);
        assert_eq!(bench.node.provision_state, ProvisionState::Active, "{at}");
        assert_eq!(bench.world.images_written, 1, "{at}");
        assert!(bench.world.is_on && bench.world.intent == Some(Boot::Disk), "{at}");
    }
}

#[test]
fn a_wrong_checksum_ends_in_deploy_failed_with_the_agents_words() {
    let mut bench = Bench::new();
    bench.world.write_error = Some("Image failed to verify against checksum");
    bench.make_available();
    bench.ask(Verb::Active).unwrap();
    bench.run(None);
    assert_eq!(bench.node.provision_state, ProvisionState::DeployFailed);
    let reason = bench.node.last_error.clone().unwrap();
    assert_eq!(reason, "the agent could not write the image: Image failed to verify against checksum");
    assert!(!bench.world.is_on && bench.world.intent.is_none(), "cleaned up");
    bench.world.write_error = None;
    bench.ask(Verb::Active).unwrap();
    bench.run(None);
    assert_eq!(bench.node.provision_state, ProvisionState::Active);
    assert_eq!(bench.node.last_error, None);
}

#[test]
fn a_machine_that_does_not_power_off_is_switched_off() {
    let mut bench = Bench::new();
    bench.world.ignores_power_off = true;
    bench.make_available();
    bench.ask(Verb::Active).unwrap();
    bench.run(None);
    assert_eq!(bench.node.provision_state, ProvisionState::Active);
    assert!(bench.notes.iter().any(|note| note.text.contains("switching it off")));
}

#[test]
fn no_call_within_the_time_ends_in_deploy_failed_and_abort_does_too() {
    for abort in [false, true] {
        let mut bench = Bench::new();
        bench.make_available();
        bench.ask(Verb::Active).unwrap();
        while bench.node.work.stage != Stage::AwaitAgent {
            bench.work(1);
        }
        if abort {
            bench.ask(Verb::Abort).unwrap();
        } else {
            bench.deadline_passes();
        }
        assert_eq!(bench.node.provision_state, ProvisionState::DeployFailed);
        let reason = bench.node.last_error.clone().unwrap();
        let expected = if abort { "aborted on request" } else { "no agent called back within 1800 s of power on" };
        assert!(reason.starts_with(expected), "{reason}");
    }
}

#[test]
fn a_bmc_that_does_not_answer_ends_with_its_reason() {
    let mut bench = Bench::new();
    bench.ask(Verb::Manage).unwrap();
    let id = bench.node.work.pending[0].id;
    let reason = "BMC 10.0.0.9:623 gave no answer to Open Session within 15 s";
    bench.event(Event::Finished { effect: id, result: Err(Failure::passing(reason)) });
    assert_eq!(bench.node.provision_state, ProvisionState::Enroll);
    assert_eq!(bench.node.last_error.as_deref(), Some(&*format!("could not read the power state: {reason}")));
}

#[test]
fn a_silent_agent_is_given_up() {
    let mut bench = Bench::new();
    bench.make_available();
    bench.ask(Verb::Active).unwrap();
    while !matches!(bench.node.work.stage, Stage::Write(Some(_))) {
        if bench.node.work.stage == Stage::AwaitAgent {
            bench.agent_calls();
        }
        bench.work(1);
    }
    let since = bench.now;
    // Power lost, not cut by us.
    bench.world.agent = None;
    while bench.node.provision_state == ProvisionState::WaitCallBack {
        bench.work(1);
    }
    assert!(bench.now.0 - since.0 <= 400_000, "{}", bench.now.0 - since.0);
    assert_eq!(bench.node.provision_state, ProvisionState::DeployFailed);
}

#[test]
fn a_result_that_nobody_waits_for_changes_nothing() {
    let mut bench = Bench::new();
    bench.make_available();
    let before = bench.node.clone();
    bench.event(Event::Finished { effect: 77, result: Ok(Outcome::Power(PowerState::On)) });
    bench.event(Event::Deadline);
    assert_eq!(bench.node, before);
    // Nor does one that comes late, for an effect that is not the first any more.
    bench.ask(Verb::Active).unwrap();
    let before = bench.node.clone();
    let stale = before.work.pending[0].id - 1;
    bench.event(Event::Finished { effect: stale, result: Ok(Outcome::Done) });
    bench.event(Event::Finished { effect: before.work.pending[1].id, result: Err(Failure::lasting("too early")) });
    assert_eq!(bench.node, before);
}

#[test]
fn whoever_called_before_the_power_was_cut_is_forgotten() {
    let mut bench = Bench::new();
    bench.make_available();
    bench.world.is_on = true;
    bench.ask(Verb::Active).unwrap();
    bench.event(Event::Token("old".into()));
    bench.event(Event::Heartbeat { url: "http://10.77.2.9:9999".into(), version: None });
    while bench.node.work.pending.front().is_some_and(|first| !matches!(first.effect, Effect::SetBootDevice { .. })) {
        bench.work(1);
    }
    assert_eq!(bench.node.work.agent, Agent::default());
    while bench.node.work.stage == Stage::Prepare {
        bench.work(1);
    }
    assert_eq!(bench.node.work.stage, Stage::AwaitAgent, "the old call is nobody's");
}

#[derive(Debug, Clone, Copy)]
enum Move {
    Work,
    Crash,
    FailPassing,
    FailLasting,
    Call,
    Deadline,
    Ask(Verb),
    PowerLost,
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        12 => Just(Move::Work),
        3 => Just(Move::Crash),
        1 => Just(Move::FailPassing),
        1 => Just(Move::FailLasting),
        6 => Just(Move::Call),
        1 => Just(Move::Deadline),
        1 => Just(Move::PowerLost),
        4 => prop::sample::select(Verb::ALL.to_vec()).prop_map(Move::Ask),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order, the invariants of [`Bench::check`] hold at every point, and when everything
    /// fails from then on, the node comes to rest where a request leads on.
    #[test]
    fn no_history_leaves_a_node_without_exit(moves in prop::collection::vec(moves(), 0..80), uefi: bool) {
        let mut bench = Bench::new();
        if uefi {
            bench.node.properties.insert("capabilities".into(), "boot_mode:uefi".into());
        }
        for step in moves {
            match step {
                Move::Work => { bench.work(1); }
                Move::Crash => { bench.work(2); }
                Move::FailPassing | Move::FailLasting => {
                    let is_transient = matches!(step, Move::FailPassing);
                    if let Some(pending) = bench.node.work.pending.front().cloned() {
                        bench.now = bench.now.max(pending.not_before);
                        let failure = Failure { reason: "the world is bad".into(), is_transient };
                        bench.event(Event::Finished { effect: pending.id, result: Err(failure) });
                    }
                }
                Move::Call => { bench.agent_calls(); }
                Move::Deadline if bench.world.agent.as_ref().is_none_or(|agent| !agent.is_writing()) => bench.deadline_passes(),
                Move::Deadline => {}
                Move::PowerLost => { bench.world.agent = None; bench.world.is_on = false; }
                Move::Ask(verb) if verb == Verb::Abort || verb == Verb::Deleted => {
                    // Whoever asks for that means the write to end.
                    if let Some(agent) = &mut bench.world.agent { agent.work(&mut bench.world.images_written, None); }
                    let _ = bench.ask(verb);
                }
                Move::Ask(verb) => { let _ = bench.ask(verb); }
            }
            if matches!(bench.node.provision_state, ProvisionState::DeployFailed) {
                // The deployment is given up: its write may be cut off.
                if let Some(agent) = &mut bench.world.agent { agent.work(&mut bench.world.images_written, None); }
            }
            if bench.node.provision_state == ProvisionState::Available && bench.node.instance_info.is_empty() {
                bench.node.instance_info = Bench::new().node.instance_info;
            }
        }
        bench.world = World::default();
        for _ in 0..60 {
            match bench.node.work.pending.front().cloned() {
                Some(pending) => {
                    bench.now = bench.now.max(pending.not_before);
                    bench.event(Event::Finished { effect: pending.id, result: Err(Failure::passing("everything is gone")) });
                }
                None => bench.deadline_passes(),
            }
        }
        prop_assert_eq!(&bench.node.work.stage, &Stage::Idle);
        prop_assert!(!bench.node.provision_state.is_transient());
    }
}
