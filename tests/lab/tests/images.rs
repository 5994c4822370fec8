//! The guest images as a machine sees them: they need root, QEMU and, the first time, the package archives.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;

use reveille_lab::images::{BootMarker, OsImage, ensure_agent_image, ensure_os_image};
use reveille_lab::{Deadline, Log, Process, Run};
use serde_json::{Value, json};

/// A disk that the agent accepts without a root-device hint: at least 4 GiB.
const DISK_BYTES: u64 = 5 << 30;

/// Copies the image onto a disk of [`DISK_BYTES`], as a deploy does.
fn disk_with(os: &OsImage, path: &Path) {
    fs::copy(&os.path, path).expect("copy the image");
    fs::File::options().write(true).open(path).and_then(|disk| disk.set_len(DISK_BYTES)).expect("grow the disk");
}

/// A machine with that disk, on a network of QEMU's own whose DHCP server calls it `host`; `more` are further arguments.
fn power_on(run: &Run, host: &str, disk: &Path, network: &str, more: &[&str]) -> (Process, Log) {
    let serial = run.path(format!("{host}.serial"));
    let qemu = run
        .program("qemu-system-x86_64")
        .args(["-accel", "tcg,thread=multi", "-machine", "pc,graphics=off", "-nodefaults", "-vga", "none"])
        .args(["-display", "none", "-no-reboot", "-m", "3072", "-smp", "2"])
        .args(["-serial", &format!("file:{}", serial.display())])
        .args(["-drive", &format!("file={},if=none,id=d0,format=raw,cache=unsafe", disk.display())])
        .args(["-device", "virtio-blk-pci,drive=d0"])
        .args(["-netdev", &format!("user,id=n0,hostname={host}{network}")])
        .args(["-device", "virtio-net-pci,netdev=n0,mac=52:54:00:77:03:01,romfile="])
        .args(["-uuid", "77000000-0000-4000-8000-000000000301"])
        .args(more)
        .start(&format!("{host}-qemu"))
        .expect("start QEMU");
    (qemu, Log::at(serial))
}

#[test]
fn the_operating_system_boots_from_its_disk_and_says_which_it_is() {
    let os = ensure_os_image(&mut |_| {}).expect("the operating-system image");
    assert!(os.size_bytes <= 64 << 20, "{} bytes", os.size_bytes);
    let run = Run::start().expect("a run");
    let disk = run.path("disk.raw");
    disk_with(&os, &disk);
    let (mut qemu, serial) = power_on(&run, "node7", &disk, ",restrict=on", &[]);
    let line = serial.wait_for(os.marker, Deadline::secs(120)).expect("the marker");
    let said = BootMarker::parse(&line).expect("a whole marker");
    let booted = BootMarker {
        hostname: "node7".into(),
        build: os.build_id.clone(),
        disk: "/dev/vda1".into(),
        partuuid: format!("{}-01", &os.build_id[..8]),
        address: Some("10.0.2.15".into()),
        uuid: "77000000-0000-4000-8000-000000000301".into(),
    };
    assert_eq!(said, booted);
    qemu.kill().expect("switch it off");
    run.end().expect("nothing left behind");
}

#[test]
fn a_disk_whose_build_id_was_changed_is_not_taken_for_the_image() {
    let os = ensure_os_image(&mut |_| {}).expect("the operating-system image");
    let run = Run::start().expect("a run");
    let disk = run.path("disk.raw");
    disk_with(&os, &disk);
    // The id where a sector begins is the file; elsewhere it is the end of the boot loader's kernel line.
    let image = fs::read(&os.path).expect("the image");
    let sectors = image.chunks(512).enumerate().filter(|(_, sector)| sector.starts_with(os.build_id.as_bytes()));
    let places: Vec<usize> = sectors.map(|(number, _)| number * 512).collect();
    let [place] = places[..] else { panic!("the build id is at {places:?}") };
    let file = fs::File::options().write(true).open(&disk).expect("the disk");
    file.write_all_at(b"0123456789abcdef", place as u64).expect("change the build id");
    let (mut qemu, serial) = power_on(&run, "node8", &disk, ",restrict=on", &[]);
    let line = serial.wait_for("REVEILLE-OS-FAILED", Deadline::secs(120)).expect("a refusal");
    assert!(line.contains("reason=no-partition-holds-this-build hostname=node8"), "{line}");
    assert_eq!(serial.find(os.marker).expect("the log"), None);
    qemu.kill().expect("switch it off");
    run.end().expect("nothing left behind");
}

const TOKEN: &str = "0123456789abcdef0123456789abcdef01234567";
const NODE: &str = "77000000-0000-4000-8000-0000000003ff";

#[test]
fn the_agent_looks_itself_up_heartbeats_and_powers_off() {
    let agent = ensure_agent_image(&mut |_| {}).expect("the agent image");
    let run = Run::start().expect("a run");
    let disk = run.path("disk.raw");
    fs::File::create(&disk).and_then(|disk| disk.set_len(DISK_BYTES)).expect("a disk");
    let ironic = TcpListener::bind("127.0.0.1:0").expect("a port");
    let agent_port = TcpListener::bind("127.0.0.1:0").and_then(|probe| probe.local_addr()).expect("a port").port();
    let line = format!(
        "console=ttyS0,115200 ipa-api-url=http://10.0.2.2:{} ipa-ironic-api-version=1.67 BOOTIF=52:54:00:77:03:01",
        ironic.local_addr().expect("an address").port()
    );
    let (kernel, initramfs) = (agent.kernel.display().to_string(), agent.initramfs.display().to_string());
    let more = ["-kernel", &kernel, "-initrd", &initramfs, "-append", &line];
    let forward = format!(",hostfwd=tcp:127.0.0.1:{agent_port}-:9999");
    let (mut qemu, serial) = power_on(&run, "node9", &disk, &forward, &more);

    let deadline = Deadline::secs(400);
    let asked = answer_until_heartbeat(&ironic, &deadline, &serial);
    assert!(asked.iter().any(|path| path == "/v1/lookup?addresses=52%3A54%3A00%3A77%3A03%3A01"), "{asked:?}");
    assert_eq!(asked.last().map(String::as_str), Some(format!("/v1/heartbeat/{NODE}").as_str()));
    assert!(serial.find("agent image: node9 has 10.0.2.15").expect("the log").is_some(), "{}", serial.tail());

    let body = json!({"name": "standby.power_off", "params": {}}).to_string();
    let command = format!("POST /v1/commands/?wait=false&agent_token={TOKEN}");
    let mut stream = TcpStream::connect(("127.0.0.1", agent_port)).expect("the agent's port");
    let head = "Host: agent\r\nContent-Type: application/json\r\nConnection: close";
    write!(stream, "{command} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("a command");
    stream.set_read_timeout(Some(deadline.left())).expect("a timeout");
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status).expect("an answer");
    assert!(status.starts_with("HTTP/1.1 200"), "{status}");
    let status = qemu.wait(Deadline::secs(90)).expect("the machine to power off");
    assert!(status.success(), "{status}");
    run.end().expect("nothing left behind");
}

/// Plays Ironic until the first heartbeat; says what was asked for, in order.
fn answer_until_heartbeat(ironic: &TcpListener, deadline: &Deadline, serial: &Log) -> Vec<String> {
    ironic.set_nonblocking(true).expect("a listener");
    let mut asked = Vec::new();
    while !asked.last().is_some_and(|path: &String| path.starts_with("/v1/heartbeat/")) {
        let accepted = deadline.until("a request of the agent", || Ok(ironic.accept().ok()));
        let (stream, _) =
            accepted.unwrap_or_else(|error| panic!("{error}; asked so far: {asked:?}; {}", serial.tail()));
        stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(deadline.left()))).expect("a stream");
        asked.extend(answer(stream));
    }
    asked
}

/// Answers one request and closes; the path asked for, or nothing when the peer only looked whether somebody listens.
fn answer(stream: TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let path = head.split(' ').nth(1)?.to_owned();
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    reader.read_exact(&mut vec![0; length.unwrap_or(0)]).ok()?;
    let (status, body) = match path.as_str() {
        path if path.starts_with("/v1/lookup") => ("200 OK", lookup()),
        path if path.starts_with("/v1/heartbeat") => ("202 Accepted", Value::Null),
        _ => ("200 OK", json!({"default_version": {"id": "v1", "version": "1.68", "min_version": "1.1"}})),
    };
    let body = body.to_string();
    let head = "Content-Type: application/json\r\nConnection: close";
    let answer = format!("HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    reader.get_mut().write_all(answer.as_bytes()).ok()?;
    Some(path)
}

fn lookup() -> Value {
    json!({
        "node": {"uuid": NODE, "properties": {}, "instance_info": {}, "driver_internal_info": {}, "links": []},
        "config": {
            "heartbeat_timeout": 300, "agent_token": TOKEN, "agent_token_required": true,
            "agent_md5_checksum_enable": false, "disable_deep_image_inspection": false,
            "permitted_image_formats": ["raw"],
        },
    })
}
