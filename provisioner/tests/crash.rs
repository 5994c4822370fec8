//! `kill -9` at every effect of a deployment: each time the provisioner comes back to `active`, or to `deploy failed` with a reason.
//!
//! The call is carried out in the world, its answer never arrives, and the provisioner is gone: the hardest moment there is.

mod rig;

use std::time::Duration;

use rig::Rig;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_effect_a_deployment_still_ends() {
    let mut at = 0;
    let mut failures = Vec::new();
    loop {
        let mut rig = Rig::start().await;
        rig.machine.state().is_on = true;
        rig.make_available().await;
        {
            let mut state = rig.machine.state();
            state.swallow = Some(state.calls + at);
        }
        rig.ask("active").await;
        let was_killed = tokio::select! {
            () = rig.machine.swallowed() => true,
            _ = rig.wait_for_any(&["active", "deploy failed"]) => false,
        };
        if !was_killed {
            assert!(at > 12, "only {at} effects were seen");
            // A kill may cost a deployment where the machine is too busy to come back in time; the rule is that it costs none.
            assert!(failures.len() * 4 <= at, "{} of {at} failed: {failures:#?}", failures.len());
            return;
        }
        rig.kill().await;
        rig.restart().await;
        let node = rig.wait_for_any(&["active", "deploy failed"]).await;
        let state = rig.machine.state();
        assert_eq!(state.cuts_while_writing, 0, "killed at call {at}: {node:#}");
        if node["provision_state"] == "active" {
            assert!(state.is_on && state.intent.as_ref().is_some_and(|intent| intent["action"] == "disk"), "{at}");
            assert_eq!(state.images_written, 1, "killed at call {at}");
        } else {
            let reason = node["last_error"].as_str().unwrap_or_default();
            assert!(reason.len() > 10, "killed at call {at}: {node:#}");
            failures.push(format!("killed at call {at}: {reason}"));
        }
        drop(state);
        at += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_effect_an_undeployment_still_ends() {
    for at in 0.. {
        let mut rig = Rig::start().await;
        rig.make_available().await;
        rig.ask("active").await;
        rig.wait_for("active").await;
        {
            let mut state = rig.machine.state();
            state.swallow = Some(state.calls + at);
        }
        rig.ask("deleted").await;
        let was_killed = tokio::select! {
            () = rig.machine.swallowed() => true,
            _ = rig.wait_for("available") => false,
        };
        if !was_killed {
            assert!(at >= 4, "only {at} effects were seen");
            return;
        }
        rig.kill().await;
        rig.restart().await;
        rig.wait_for("available").await;
        let state = rig.machine.state();
        assert!(!state.is_on && state.intent.is_none() && state.reservation.is_none(), "killed at call {at}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_is_gone_after_the_restart_is_given_up_with_a_reason() {
    let mut rig = Rig::start().await;
    rig.make_available().await;
    rig.machine.state().holds_write = true;
    rig.ask("active").await;
    rig.wait_for_writing().await;
    rig.kill().await;
    rig.machine.lose_power();
    tokio::time::timeout(Duration::from_secs(60), rig.restart()).await.expect("a restart waits for no machine");
    let node = rig.wait_for("deploy failed").await;
    assert!(node["last_error"].as_str().is_some_and(|reason| reason.contains("the agent")), "{node:#}");
}
