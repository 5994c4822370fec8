//! The API of boot intents: what it takes, what it refuses, and that what it has answered survives.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Daemon, counted, run, turn};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

const PATH: &str = "/v1/intents/52:54:00:00:00:01";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn put_get_list_delete() {
    let daemon = Daemon::start().await;
    assert_eq!(daemon.api("GET", PATH, None).await.0, 404);
    let (status, first) = daemon.api("PUT", PATH, Some(json!({"action": "disk", "node": "n"}))).await;
    assert_eq!((status, first["action"].as_str(), first["node"].as_str()), (200, Some("disk"), Some("n")));
    assert_eq!(daemon.api("GET", "/v1/intents/52-54-00-00-00-01", None).await, (200, first.clone()));
    daemon.api("PUT", "/v1/intents/52:54:00:00:00:02", Some(json!({"action": "disk"}))).await;
    let (_, page) = daemon.api("GET", "/v1/intents?limit=1", None).await;
    assert_eq!((page["items"][0].clone(), page["next"].as_str()), (first, Some("52:54:00:00:00:01")));
    let (_, page) = daemon.api("GET", "/v1/intents?cursor=52:54:00:00:00:01", None).await;
    assert_eq!((page["items"].as_array().unwrap().len(), page.get("next")), (1, None));
    assert_eq!(daemon.api("DELETE", PATH, None).await.0, 204);
    assert_eq!(daemon.api("DELETE", PATH, None).await.0, 204);
    assert_eq!(daemon.api("GET", PATH, None).await.0, 404);
    assert_eq!(daemon.api("GET", "/healthz", None).await, (200, json!("ok\n")));
    assert_eq!(daemon.api("GET", "/readyz", None).await, (200, json!("ready\n")));
    let (status, metrics) = daemon.api("GET", "/metrics", None).await;
    assert!(status == 200 && metrics.as_str().unwrap().contains("reveille_bootd_"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_problems_that_name_the_field() {
    let daemon = Daemon::start().await;
    let kernel = |field: &str, value: &str| {
        let mut body = json!({"action": "kernel", "kernel": "k", "initrd": "i", "cmdline": "c"});
        body[field] = json!(value);
        Some(body)
    };
    for (method, path, body, status, field) in [
        ("PUT", PATH, kernel("cmdline", "a\nsanboot"), 400, Some("cmdline")),
        ("PUT", PATH, kernel("kernel", "../../etc/shadow"), 400, Some("kernel")),
        ("PUT", PATH, kernel("initrd", "a b"), 400, Some("initrd")),
        ("PUT", PATH, kernel("node", "a\rb"), 400, Some("node")),
        ("PUT", PATH, Some(json!({"action": "kernel", "kernel": "k", "initrd": "i"})), 400, Some("cmdline")),
        ("PUT", PATH, Some(json!({"action": "dance"})), 400, None),
        ("PUT", PATH, Some(json!("x".repeat(2 << 20))), 413, None),
        ("PUT", "/v1/intents/not:a:mac", Some(json!({"action": "disk"})), 400, Some("machine")),
        ("GET", "/v1/intents?cursor=no:where", None, 400, Some("cursor")),
        ("GET", "/v1/events?since=nonsense", None, 400, Some("since")),
        ("GET", "/v2", None, 404, None),
        ("POST", PATH, Some(json!({})), 405, None),
    ] {
        let (got, problem) = daemon.api(method, path, body).await;
        assert_eq!((got, problem["status"].as_u64()), (status, Some(status.into())), "{method} {path}: {problem}");
        assert_eq!(problem["field"].as_str(), field, "{method} {path}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|d| !d.is_empty()), "{problem}");
    }
    let (_, page) = daemon.api("GET", "/v1/intents", None).await;
    assert_eq!(page["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_restart_and_a_kill() {
    let mut daemon = Daemon::start().await;
    let (_, intent) = daemon.api("PUT", PATH, Some(json!({"action": "disk", "node": "n"}))).await;
    // What a process that is killed leaves behind: the files as they are at this moment.
    let killed = tempfile::tempdir().unwrap();
    for directory in ["root", "state"] {
        std::fs::create_dir(killed.path().join(directory)).unwrap();
    }
    std::fs::copy(daemon.dir.path().join("state/intents.redb"), killed.path().join("state/intents.redb")).unwrap();
    daemon.stop().await;
    for dir in [daemon.dir.clone(), Arc::new(killed)] {
        let again = Daemon::start_in(dir).await;
        assert_eq!(again.api("GET", PATH, None).await, (200, intent.clone()));
        let output = run("curl", &["-sSf", &again.url("pxelinux.cfg/52-54-00-00-00-01")], None).await;
        assert!(String::from_utf8_lossy(&output.stdout).contains("sanboot"), "served without anybody pushing it again");
    }
}

async fn text(daemon: &Daemon, path: &str) -> Option<String> {
    let output = run("curl", &["-sSf", &daemon.url(path)], None).await;
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_boot_program_is_answered_in_its_language() {
    let daemon = Daemon::start().await;
    let uuid = "4c4c4544-0044-4810-8031-b4c04f4e3532";
    let kernel = json!({"action": "kernel", "kernel": "k", "initrd": "i", "cmdline": "BOOTIF=${mac}", "uuid": uuid, "node": "n-1"});
    daemon.api("PUT", PATH, Some(kernel)).await;
    for (path, line) in [
        (
            "pxelinux.cfg/52-54-00-00-00-01",
            format!("kernel http://{}/k BOOTIF=${{mac}} initrd=ramdisk || goto again", daemon.http),
        ),
        ("pxelinux.cfg/01-52-54-00-00-00-01", "APPEND BOOTIF=52:54:00:00:00:01".into()),
        (&format!("pxelinux.cfg/{}", uuid.to_uppercase()), "KERNEL ::k".into()),
        ("grub/grub.cfg-01-52-54-00-00-00-01", "linux '/k' 'BOOTIF=52:54:00:00:00:01'".into()),
    ] {
        let text = text(&daemon, path).await.unwrap_or_else(|| panic!("{path} is not there"));
        assert!(text.lines().any(|own| own == line), "{path}: {line:?} is missing in\n{text}");
    }
    let tftp = format!("tftp://{}/grub/grub.cfg-01-52-54-00-00-00-01", daemon.tftp);
    let output = run("curl", &["-sSf", &tftp], None).await;
    assert!(String::from_utf8_lossy(&output.stdout).contains("linux '/k'"), "over TFTP too");
    // GRUB's own parser takes what it is sent, whatever the kernel line holds.
    let odd = json!({"action": "kernel", "kernel": "k", "initrd": "i", "cmdline": "a='b; {c} $(d) \"e \\"});
    let (status, refused) = daemon.api("PUT", "/v1/intents/52:54:00:00:00:03", Some(odd)).await;
    assert_eq!(status, 200, "{refused}");
    for path in ["grub.cfg", "grub.cfg-01-52-54-00-00-00-01", "grub.cfg-01-52-54-00-00-00-03"] {
        let file = daemon.dir.path().join("checked.cfg");
        std::fs::write(&file, text(&daemon, path).await.unwrap()).unwrap();
        let checked = run("grub-script-check", &[file.to_str().unwrap()], None).await;
        assert!(checked.status.success(), "{path}: {}", String::from_utf8_lossy(&checked.stderr));
    }
    daemon.api("DELETE", "/v1/intents/52:54:00:00:00:03", None).await;
    // Nobody knows these: the loop over the cards goes on.
    for path in ["pxelinux.cfg/52-54-00-00-00-02", "discovery.ipxe", "pxelinux.cfg/default", "discovery.grub"] {
        assert_eq!(text(&daemon, path).await, None, "{path}");
    }
    let entry = text(&daemon, "debian-installer/amd64/grub/grub.cfg").await.unwrap();
    assert!(
        entry.contains("configfile /grub.cfg-01-$net_default_mac\n")
            && entry.contains("\nconfigfile /discovery.grub\n"),
        "{entry}"
    );
    // By node and by UUID.
    let by_node = daemon.api("GET", "/v1/intents/n-1", None).await;
    assert_eq!((by_node.0, by_node.1["mac"].as_str()), (200, Some("52:54:00:00:00:01")));
    let script = json!({"action": "script", "script": "menu", "node": "n-1", "uuid": uuid});
    let (status, put) = daemon.api("PUT", &format!("/v1/intents/{uuid}"), Some(script)).await;
    assert_eq!((status, put["action"].as_str()), (200, Some("script")));
    assert!(text(&daemon, "pxelinux.cfg/52-54-00-00-00-01").await.unwrap().contains("chain --replace"));
    assert_eq!(daemon.api("DELETE", "/v1/intents/n-1", None).await.0, 204);
    assert_eq!(text(&daemon, "pxelinux.cfg/52-54-00-00-00-01").await, None);
}

/// A machine of which nobody has said a MAC: whatever boot program it runs, it gets its script by the UUID or by the name of its node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_is_known_by_its_uuid_or_its_node_alone() {
    let uuid = "4c4c4544-0044-4810-8031-b4c04f4e3532";
    let of_uuid = &format!("/v1/intents/{uuid}");
    let kernel = |cmdline: &str| Some(json!({"action": "kernel", "kernel": "k", "initrd": "i", "cmdline": cmdline}));
    let mut daemon = Daemon::start().await;
    let (status, intent) = daemon.api("PUT", of_uuid, kernel("one BOOTIF=${mac}")).await;
    assert_eq!((status, intent["uuid"].as_str(), intent.get("mac")), (200, Some(uuid), None), "{intent}");
    let (status, _) = daemon.api("PUT", "/v1/intents/Rack1-7", kernel("two")).await;
    assert_eq!(status, 200);
    for round in ["before a restart", "after it"] {
        let upper = uuid.to_uppercase();
        for (path, line) in [
            (format!("{uuid}/script.ipxe"), "one BOOTIF=${mac} initrd=ramdisk"),
            (format!("{uuid}/52-54-00-00-00-07/script.ipxe"), "one BOOTIF=${mac} initrd=ramdisk"),
            (format!("pxelinux.cfg/{upper}"), "APPEND one BOOTIF=${mac}"),
            (format!("grub.cfg-{uuid}"), r#"linux '/k' 'one' 'BOOTIF='"$net_default_mac"''"#),
            (format!("EFI/debian/grub.cfg-{upper}"), "initrd '/i'"),
            ("rack1-7/script.ipxe".into(), "/k two initrd=ramdisk"),
            ("RACK1-7/52-54-00-00-00-08/script.ipxe".into(), "/k two initrd=ramdisk"),
        ] {
            let text = text(&daemon, &path).await.unwrap_or_else(|| panic!("{path}, {round}"));
            assert!(text.contains(line), "{path}, {round}: {line:?} is missing in\n{text}");
            let tftp = run("curl", &["-sSf", &format!("tftp://{}/{path}", daemon.tftp)], None).await;
            assert_eq!(String::from_utf8_lossy(&tftp.stdout), text, "{path} over TFTP");
        }
        daemon.stop().await;
        daemon = Daemon::start_in(daemon.dir.clone()).await;
    }
    // Who asked with which interface is told to whoever follows the machine.
    text(&daemon, &format!("{uuid}/52-54-00-00-00-07/script.ipxe")).await.unwrap();
    let (_, page) = daemon.api("GET", "/v1/events?since=0&kind=script-served", None).await;
    assert_eq!(page["events"].as_array().unwrap().last().unwrap()["mac"], "52:54:00:00:00:07");

    // It stays one machine, whatever it is called by.
    let both = Some(json!({"action": "disk", "node": "n", "hostname": "h"}));
    assert_eq!(daemon.api("PUT", of_uuid, both).await.0, 200);
    let (_, by_node) = daemon.api("GET", "/v1/intents/N", None).await;
    assert_eq!((by_node["uuid"].as_str(), by_node["action"].as_str()), (Some(uuid), Some("disk")));
    let (_, put) = daemon.api("PUT", "/v1/intents/n", kernel("three")).await;
    assert_eq!((put["uuid"].as_str(), put["node"].as_str()), (Some(uuid), Some("n")), "names are kept");
    assert!(text(&daemon, &format!("pxelinux.cfg/{uuid}")).await.unwrap().contains("APPEND three"));
    let (_, page) = daemon.api("GET", "/v1/intents?limit=1", None).await;
    assert_eq!(page["next"], uuid);
    let (_, page) = daemon.api("GET", &format!("/v1/intents?limit=1&cursor={uuid}"), None).await;
    assert_eq!((page["items"][0]["node"].as_str(), page.get("next")), (Some("Rack1-7"), None));
    for (machine, body, field) in [
        ("52:54:00:00:00", json!({"action": "disk"}), "machine"),
        ("52-54-00-00-00", json!({"action": "disk"}), "machine"),
        ("a%20b", json!({"action": "disk"}), "machine"),
        (uuid, json!({"action": "disk", "uuid": "4c4c4544-0044-4810-8031-000000000000"}), "uuid"),
        ("rack1-7", json!({"action": "disk", "node": "rack1-8"}), "node"),
    ] {
        let (status, problem) = daemon.api("PUT", &format!("/v1/intents/{machine}"), Some(body)).await;
        assert_eq!((status, problem["field"].as_str()), (400, Some(field)), "{machine}: {problem}");
    }
    for machine in ["n", "rack1-7"] {
        assert_eq!(daemon.api("DELETE", &format!("/v1/intents/{machine}"), None).await.0, 204);
    }
    assert_eq!(daemon.api("GET", "/v1/intents", None).await.1["items"], json!([]));
    assert_eq!(text(&daemon, &format!("{uuid}/script.ipxe")).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn profiles_discovery_and_guarded_kernels() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("root")).unwrap();
    let (template, key) = (dir.path().join("own.ipxe"), dir.path().join("key"));
    std::fs::write(&template, "#!ipxe\necho {{ hostname }}\nkernel {{ kernel }} {{ cmdline }}\nboot\n").unwrap();
    std::fs::write(&key, "mykey").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let extra = format!(
        "[bootd.discovery]\nkernel = \"private/k\"\ninitrd = \"i\"\n[[bootd.profile]]\nname = \"own\"\nipxe = {template:?}\n\
         [bootd.temp_url]\nkeys = [{{ file = {key:?} }}]\nguard = [\"private\"]\n"
    );
    let daemon = Daemon::start_with(Arc::new(dir), &extra).await;
    daemon.file("private/k", b"the kernel");
    let discovery = text(&daemon, "discovery.ipxe").await.unwrap();
    let url = discovery.lines().find_map(|line| line.strip_prefix("kernel ")).unwrap().split(' ').next().unwrap();
    let kernel = run("curl", &["-sSf", url], None).await;
    assert_eq!(kernel.stdout, b"the kernel", "{url}");
    assert!(text(&daemon, "pxelinux.cfg/default").await.unwrap().contains("KERNEL ::private/k"));
    assert_eq!(
        text(&daemon, "pxelinux.cfg/52-54-00-00-00-09").await,
        None,
        "by MAC nobody is unknown: the loop goes on"
    );

    let hostile = "h || shell";
    let intent = |profile: &str| {
        Some(
            json!({"action": "kernel", "kernel": "k", "initrd": "i", "cmdline": "c", "hostname": hostile, "profile": profile}),
        )
    };
    let (status, problem) = daemon.api("PUT", PATH, intent("gone")).await;
    assert_eq!((status, problem["field"].as_str()), (400, Some("profile")), "{problem}");
    daemon.api("PUT", PATH, intent("own")).await;
    let own = text(&daemon, "pxelinux.cfg/52-54-00-00-00-01").await.unwrap();
    assert_eq!(own, format!("#!ipxe\necho h _| shell\nkernel http://{}/k c\nboot\n", daemon.http));
    assert!(
        text(&daemon, "grub.cfg-01-52-54-00-00-00-01").await.unwrap().contains("linux '/k' 'c'"),
        "what is built in"
    );
    // A broken template changes nothing, and says where it is broken.
    std::fs::write(&template, "#!ipxe\n{{ hostnam }}").unwrap();
    let error = daemon.running.as_ref().unwrap().reload(daemon.config.clone()).unwrap_err().to_string();
    assert!(error.contains("profile own") && error.contains("line 2"), "{error}");
    assert_eq!(text(&daemon, "pxelinux.cfg/52-54-00-00-00-01").await.unwrap(), own);
}

/// Returns once a reader waits for the next event.
async fn reader_waits() {
    let deadline = Instant::now() + Duration::from_secs(60);
    while counted("reveille_bootd_event_readers", "") == 0 {
        assert!(Instant::now() < deadline, "no reader of events waits");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_wait_for_the_next_and_end_with_the_daemon() {
    let _turn = turn().await;
    let mut daemon = Daemon::start().await;
    let (_, page) = daemon.api("GET", "/v1/events?since=0", None).await;
    let since = page["next"].as_u64().unwrap();
    let path = format!("/v1/events?since={since}&wait_secs=30");
    let url = daemon.url("boot.ipxe");
    let (answer, _) = tokio::join!(daemon.api("GET", &path, None), async {
        reader_waits().await;
        run("curl", &["-sS", &url], None).await
    });
    assert_eq!(answer.1["events"][0]["kind"], "script-served");
    let running = daemon.running.take().unwrap();
    let next = answer.1["next"].as_u64().unwrap();
    let path = format!("/v1/events?since={next}&wait_secs=30");
    let (answer, ()) = tokio::join!(daemon.api("GET", &path, None), async {
        reader_waits().await;
        running.drain().await;
    });
    // A poll that had held up the end would have been broken off, long before its 30 s were over.
    assert_eq!(answer.1["events"], Value::Array(vec![]));
    assert!(!daemon.dir.path().join("api.sock").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_events_tells_and_ends_with_the_daemon() {
    let _turn = turn().await;
    let mut daemon = Daemon::start().await;
    run("curl", &["-sS", &daemon.url("boot.ipxe")], None).await;
    let mut stream = UnixStream::connect(daemon.dir.path().join("api.sock")).await.unwrap();
    let request = "GET /v1/events?since=0&kind=script-served HTTP/1.1\r\nhost: h\r\naccept: text/event-stream\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut told = String::new();
    let reading = async {
        while !told.contains("event: script-served\ndata: {\"sequence\":") {
            let mut octets = [0; 4_096];
            let read = stream.read(&mut octets).await.unwrap();
            assert!(read > 0, "{told}");
            told.push_str(&String::from_utf8_lossy(&octets[..read]));
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await.expect("the event");
    assert!(told.contains("Content-Type: text/event-stream") && told.contains("\nid: "), "{told}");
    daemon.running.take().unwrap().drain().await;
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut rest)).await;
    ended.expect("the stream ends with the daemon").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_daemon_says_what_is_in_its_way() {
    let daemon = Daemon::start().await;
    let error = reveille_bootd::start(daemon.config.clone(), Arc::new(String::new)).await.unwrap_err().to_string();
    assert!(error.contains("intents.redb") && error.contains("one bootd only"), "{error}");
    let running = daemon.running.as_ref().unwrap();
    running.reload(daemon.config.clone()).unwrap();
    let other = Daemon::start().await;
    let error = running.reload(other.config.clone()).unwrap_err().to_string();
    assert!(error.contains("restart"), "{error}");
}
