//! The Redfish driver against a service with the quirks of real ones.

mod redfish_support;

use std::sync::Arc;
use std::time::Duration;

use redfish_support::{Answer, Bmc, PASSWORD, SYSTEM, Served, USER};
use reveille_provisioner::io::bmc::{PowerAction, PowerState};
use reveille_provisioner::io::redfish::{Redfish, RedfishCause, RedfishError};
use reveille_provisioner::proto::access::RedfishAccess;
use reveille_provisioner::proto::node::{BootDevice, Firmware};
use reveille_provisioner::proto::redfish::{BootOverride, MediaKind};
use serde_json::{Value, json};

/// Long enough for a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

fn held() -> Redfish {
    Redfish::new(PATIENCE, None)
}

fn access_to(address: &str, more: Value) -> RedfishAccess {
    let mut info = json!({ "redfish_address": address, "redfish_username": USER, "redfish_password": PASSWORD });
    info.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let Value::Object(info) = info else { panic!() };
    RedfishAccess::read(&info).unwrap()
}

fn access(served: &Served) -> RedfishAccess {
    access_to(&format!("http://{}", served.address), json!({}))
}

fn boot(device: BootDevice, persistent: bool, firmware: Firmware) -> BootOverride {
    BootOverride { device, persistent, firmware, http_uri: Some("http://10.0.0.1/x.efi".into()) }
}

/// Reads the power until it is so.
async fn until_power(redfish: &Redfish, access: &RedfishAccess, wanted: PowerState) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while redfish.power_state(access).await.unwrap() != wanted {
        assert!(tokio::time::Instant::now() < deadline, "it is never {wanted}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn power_is_what_was_asked_for_though_the_service_lags() {
    let served = Served::start(Bmc { lags: 3, ..Bmc::good() }).await;
    let (redfish, access) = (held(), access(&served));
    assert_eq!(redfish.power_state(&access).await.unwrap(), PowerState::Off);
    for (action, reset, wanted) in [
        (PowerAction::On, "On", PowerState::On),
        (PowerAction::Soft, "GracefulShutdown", PowerState::Off),
        (PowerAction::Reset, "ForceRestart", PowerState::On),
        (PowerAction::Off, "ForceOff", PowerState::Off),
    ] {
        redfish.set_power(&access, action).await.unwrap();
        assert_eq!(served.bmc().resets.last().unwrap(), reset);
        let before = if wanted == PowerState::On { PowerState::Off } else { PowerState::On };
        assert_eq!(redfish.power_state(&access).await.unwrap(), before, "it lags");
        until_power(&redfish, &access, wanted).await;
    }
    assert_eq!(served.bmc().sessions(), 1, "one session for all of it");
}

#[tokio::test]
async fn what_is_allowed_may_be_said_elsewhere_or_nowhere() {
    for (bmc, expected) in
        [(Bmc { says_in_info: true, ..Bmc::good() }, "ForceOn"), (Bmc { hides_allowed: true, ..Bmc::good() }, "On")]
    {
        let served = Served::start(bmc).await;
        held().set_power(&access(&served), PowerAction::On).await.unwrap();
        assert_eq!(served.bmc().resets, [expected]);
    }
    let served = Served::start(Bmc::good()).await;
    let error = held().set_power(&access(&served), PowerAction::Diagnostic).await.unwrap_err();
    let text = format!(
        "BMC {}: GET {SYSTEM}: it has no diagnostic interrupt; what it can: On, ForceOff, GracefulShutdown, ForceRestart",
        served.address
    );
    assert_eq!(error.to_string(), text);
    assert!(!error.cause.is_transient());
}

#[tokio::test]
async fn the_boot_override_is_set_whatever_versions_the_service_shows() {
    for bmc in [
        Bmc::good(),
        Bmc { shows_weak_tags: true, ..Bmc::good() },
        Bmc { wants_tag: false, ..Bmc::good() },
        Bmc { hides_allowed: true, ..Bmc::good() },
        Bmc { task_looks: Some(1), ..Bmc::good() },
    ] {
        let what = format!("{bmc:?}");
        let served = Served::start(bmc).await;
        let (redfish, access) = (held(), access(&served));
        redfish
            .set_boot(&access, &boot(BootDevice::Pxe, false, Firmware::Uefi))
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let shown = redfish.boot_override(&access).await.unwrap();
        assert_eq!((shown.0.as_deref(), shown.1.as_deref()), (Some("Pxe"), Some("Once")), "{what}");
        redfish.set_boot(&access, &boot(BootDevice::Disk, true, Firmware::Bios)).await.unwrap();
        let shown = served.bmc().boot.clone();
        let expected = [
            ("BootSourceOverrideEnabled", "Continuous"),
            ("BootSourceOverrideMode", "Legacy"),
            ("BootSourceOverrideTarget", "Hdd"),
        ];
        assert!(shown.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).eq(expected), "{shown:?}");
        redfish.set_boot(&access, &boot(BootDevice::UefiHttp, false, Firmware::Uefi)).await.unwrap();
        assert_eq!(served.bmc().boot["HttpBootUri"], "http://10.0.0.1/x.efi");
    }
    let served = Served::start(Bmc { changes_meanwhile: true, ..Bmc::good() }).await;
    let error = held().set_boot(&access(&served), &boot(BootDevice::Pxe, false, Firmware::Uefi)).await.unwrap_err();
    assert!(matches!(error.cause, RedfishCause::Changing), "{error}");
    assert_eq!(error.step, format!("PATCH {SYSTEM}"));
}

#[tokio::test]
async fn a_task_is_followed_to_its_end() {
    let served = Served::start(Bmc { task_looks: Some(2), ..Bmc::good() }).await;
    held().set_power(&access(&served), PowerAction::On).await.unwrap();
    assert!(served.bmc().task_looks == Some(0), "it was looked at until it was done");
    let served = Served::start(Bmc { task_looks: Some(0), task_fails: true, ..Bmc::good() }).await;
    let error = held().set_power(&access(&served), PowerAction::On).await.unwrap_err();
    assert!(matches!(&error.cause, RedfishCause::Task(words) if words == "Exception no fan"), "{error}");
}

#[tokio::test]
async fn a_session_that_has_ended_is_opened_anew() {
    let served = Served::start(Bmc { session_ends_after: Some(2), ..Bmc::good() }).await;
    let (redfish, access) = (held(), access(&served));
    for action in [PowerAction::On, PowerAction::Off, PowerAction::On] {
        redfish.set_power(&access, action).await.unwrap();
        redfish.set_boot(&access, &boot(BootDevice::Pxe, false, Firmware::Uefi)).await.unwrap();
    }
    assert_eq!(served.bmc().resets, ["On", "ForceOff", "On"], "nothing was done twice");
    redfish.close_sessions().await;
    assert_eq!(served.bmc().sessions(), 0);
}

#[tokio::test]
async fn sessions_are_given_back() {
    let served = Served::start(Bmc::good()).await;
    let redfish = Redfish::new(PATIENCE, Some(Duration::from_millis(50)));
    redfish.power_state(&access(&served)).await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while served.bmc().sessions() > 0 {
        assert!(tokio::time::Instant::now() < deadline, "the session is still open");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // One that is held is given back when the machine is forgotten.
    let redfish = held();
    redfish.power_state(&access(&served)).await.unwrap();
    assert_eq!(served.bmc().sessions(), 1);
    redfish.forget(&access(&served));
    while served.bmc().sessions() > 0 {
        assert!(tokio::time::Instant::now() < deadline, "the session is still open");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn who_we_are_is_said_as_the_service_takes_it() {
    for (bmc, how, sessions) in [
        (Bmc::good(), "auto", 1),
        (Bmc { has_sessions: false, ..Bmc::good() }, "auto", 0),
        (Bmc { has_sessions: false, guards_root: true, ..Bmc::good() }, "auto", 0),
        (Bmc { guards_root: true, ..Bmc::good() }, "auto", 1),
        (Bmc::good(), "session", 1),
        (Bmc::good(), "basic", 0),
    ] {
        let what = format!("{how} {bmc:?}");
        let served = Served::start(bmc).await;
        let access = access_to(&format!("http://{}", served.address), json!({ "redfish_auth_type": how }));
        held().power_state(&access).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(served.bmc().sessions(), sessions, "{what}");
    }
    let served = Served::start(Bmc { has_sessions: false, ..Bmc::good() }).await;
    let access = access_to(&format!("http://{}", served.address), json!({ "redfish_auth_type": "session" }));
    let error = held().power_state(&access).await.unwrap_err();
    assert!(matches!(error.cause, RedfishCause::Unauthorized(_) | RedfishCause::NoSessions), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_a_readable_error_and_is_said_once() {
    for (has_sessions, how, step) in [
        (true, "auto", "POST /redfish/v1/SessionService/Sessions"),
        (false, "auto", "GET /redfish/v1/"),
        (true, "basic", "GET /redfish/v1/"),
    ] {
        let served =
            Served::start(Bmc { has_sessions, guards_root: !has_sessions || how == "basic", ..Bmc::good() }).await;
        let more = json!({ "redfish_password": "not-it", "redfish_auth_type": how });
        let error = held().power_state(&access_to(&format!("http://{}", served.address), more)).await.unwrap_err();
        let text = format!("BMC {}: {step}: it refuses the user or the password (401 Unauthorized)", served.address);
        assert_eq!(error.to_string(), text, "{has_sessions} {how}");
        assert!(!error.cause.is_transient());
    }
}

#[tokio::test]
async fn services_that_lie_are_told_apart() {
    type Is = fn(&RedfishCause) -> bool;
    let cases: [(Answer, Is, &str); 7] = [
        (
            Answer::Html,
            |cause| matches!(cause, RedfishCause::NotJson { .. }),
            "begins with \"<html><title>Login ******</title></html>\": is it a Redfish service?",
        ),
        (Answer::Huge, |cause| matches!(cause, RedfishCause::TooLong), "more than 1048576 octets"),
        (Answer::Nonsense, |cause| matches!(cause, RedfishCause::Missing(_)), "it does not say"),
        (
            Answer::Redirect,
            |cause| matches!(cause, RedfishCause::Redirect(_)),
            "it redirects (302 Found), which is not followed",
        ),
        (
            Answer::Chatty,
            |cause| matches!(cause, RedfishCause::Status { .. }),
            "it answers 500 Internal Server Error: you said ******",
        ),
        (Answer::Hangup, |cause| matches!(cause, RedfishCause::Broken(_)), "the connection broke off"),
        (Answer::Silence, |cause| matches!(cause, RedfishCause::Timeout(_)), "no answer within 0.3 s"),
    ];
    for (answer, is_it, words) in cases {
        let served = Served::start(Bmc { answers: Some(answer), ..Bmc::good() }).await;
        let patience = if answer == Answer::Silence { Duration::from_millis(300) } else { PATIENCE };
        let redfish = Redfish::new(patience, None);
        for auth in ["session", "basic"] {
            let access = access_to(&format!("http://{}", served.address), json!({ "redfish_auth_type": auth }));
            let error = redfish.power_state(&access).await.unwrap_err();
            let text = error.to_string();
            if (answer, auth) != (Answer::Nonsense, "session") {
                assert!(is_it(&error.cause) && text.contains(words), "{answer:?}: {text}");
            }
            assert!(text.starts_with(&format!("BMC {}: ", served.address)) && !text.contains(PASSWORD), "{text}");
        }
    }
    let nobody = access_to("http://127.0.0.1:9", json!({}));
    let error: RedfishError = held().power_state(&nobody).await.unwrap_err();
    assert!(matches!(error.cause, RedfishCause::Connect(_)), "{error}");
}

#[tokio::test]
async fn which_system_is_meant_must_be_said_where_there_are_several() {
    let served = Served::start(Bmc { two_systems: true, ..Bmc::good() }).await;
    let redfish = held();
    let error = redfish.power_state(&access(&served)).await.unwrap_err().to_string();
    assert!(
        error.ends_with(
            "it has 2 systems (/redfish/v1/Systems/1, /redfish/v1/Systems/2): set redfish_system_id to one of them"
        ),
        "{error}"
    );
    let access = access_to(&format!("http://{}", served.address), json!({ "redfish_system_id": SYSTEM }));
    assert_eq!(redfish.power_state(&access).await.unwrap(), PowerState::Off);
}

#[tokio::test]
async fn an_image_is_put_in_and_taken_out() {
    for bmc in [Bmc::good(), Bmc { plain_media: true, ..Bmc::good() }] {
        let served = Served::start(bmc).await;
        let (redfish, access) = (held(), access(&served));
        for image in ["http://10.0.0.1/a.iso", "http://10.0.0.1/a.iso", "http://10.0.0.1/b.iso"] {
            redfish.insert_media(&access, MediaKind::Cdrom, image).await.unwrap();
            assert_eq!(redfish.media(&access, MediaKind::Cdrom).await.unwrap().as_deref(), Some(image));
        }
        for kind in [Some(MediaKind::Cdrom), None] {
            redfish.eject_media(&access, kind).await.unwrap();
            assert_eq!(served.bmc().image, None);
        }
    }
}

#[tokio::test]
async fn events_are_told_where_the_service_sends_them() {
    let stream = ": hello\n\nid: 1\ndata: {\"Events\": []}\n\nid: 2\ndata: {}\n\n";
    for (bmc, redfish, is_offered, events) in [
        (Bmc { events: Some(stream), ..Bmc::good() }, held(), true, 1),
        (Bmc { events: Some(": nothing\n\n"), ..Bmc::good() }, held(), true, 0),
        (Bmc::good(), held(), false, 0),
        // Who holds no sessions holds no stream.
        (Bmc { events: Some(stream), ..Bmc::good() }, Redfish::new(PATIENCE, Some(Duration::ZERO)), false, 0),
    ] {
        let served = Served::start(bmc).await;
        let told = std::sync::atomic::AtomicUsize::new(0);
        let count = || _ = told.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(redfish.watch(&access(&served), &count).await.unwrap(), is_offered);
        let told = told.load(std::sync::atomic::Ordering::Relaxed);
        assert!(if events == 0 { told == 0 } else { told >= events }, "{told}");
    }
}

#[tokio::test]
async fn certificates_are_checked_as_the_node_says() {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key).unwrap();
    let served = Served::start_tls(Bmc::good(), Arc::new(tls)).await;
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        json!({ "redfish_verify_ca": path })
    };
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap().cert.pem();
    let address = format!("https://{}", served.address);
    let redfish = held();
    for good in [json!({ "redfish_verify_ca": false }), file("own.pem", &own.cert.pem())] {
        assert_eq!(redfish.power_state(&access_to(&address, good)).await.unwrap(), PowerState::Off);
    }
    for (bad, words) in [
        (json!({}), "its certificate is not trusted"),
        (json!({ "redfish_verify_ca": true }), "its certificate is not trusted"),
        (file("other.pem", &other), "its certificate is not trusted"),
        (file("empty.pem", ""), "empty.pem: it holds no certificate in PEM"),
        (json!({ "redfish_verify_ca": "/nonexistent/ca.pem" }), "/nonexistent/ca.pem: "),
    ] {
        let error = redfish.power_state(&access_to(&address, bad.clone())).await.unwrap_err();
        assert!(error.to_string().contains(words) && !error.cause.is_transient(), "{bad}: {error}");
    }
    // A file that was changed is read again.
    let mended = file("other.pem", &own.cert.pem());
    std::fs::File::options()
        .append(true)
        .open(dir.path().join("other.pem"))
        .unwrap()
        .set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    assert_eq!(redfish.power_state(&access_to(&address, mended)).await.unwrap(), PowerState::Off);
}
