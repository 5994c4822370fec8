//! The drivers against BMCs that others wrote: sushy-tools' emulator (Redfish) and pyghmi's BMC (IPMI), each a process of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reveille_config::provisioner::Ipmi;
use reveille_provisioner::io::bmc::{
    BmcLimits, BmcSocket, BmcTarget, BootDevice as IpmiDevice, Firmware as IpmiFirmware, PowerAction, PowerState,
    Privilege,
};
use reveille_provisioner::io::ipmitool::Ipmitool;
use reveille_provisioner::io::redfish::{Redfish, RedfishCause};
use reveille_provisioner::proto::access::{IpmitoolAccess, RedfishAccess};
use reveille_provisioner::proto::node::{BootDevice, Firmware};
use reveille_provisioner::proto::redfish::{BootOverride, MediaKind};
use serde_json::{Value, json};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const USER: &str = "admin";
const PASSWORD: &str = "hunter2";

/// A program that is ended with its test, and its folder.
struct Running {
    child: Child,
    dir: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(mut command: Command, dir: TempDir) -> Self {
        let log = fs::File::create(dir.path().join("log")).unwrap();
        command.env("TMPDIR", dir.path()).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self { child: command.spawn().unwrap(), dir }
    }

    fn wait_until(&mut self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            let log = || fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(self.child.try_wait().unwrap().is_none(), "{what}: it has ended: {}", log());
            assert!(Instant::now() < deadline, "{what}: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn programs() -> PathBuf {
    reveille_lab::packages::ensure_bmc_simulators()
        .expect("sushy-tools and pyghmi can be installed (python3-venv and pip's package index are needed)")
}

/// sushy-tools' emulator with its fake machine, over TLS, for one user; its address and its certificate.
fn sushy() -> (Running, SocketAddr, PathBuf) {
    let programs = programs();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(at("cert.pem"), own.cert.pem()).unwrap();
    fs::write(at("key.pem"), own.signing_key.serialize_pem()).unwrap();
    let hash = "import bcrypt, sys; print(bcrypt.hashpw(sys.argv[1].encode(), bcrypt.gensalt(4)).decode())";
    let hashed = Command::new(programs.join("python")).args(["-c", hash, PASSWORD]).output().unwrap();
    assert!(hashed.status.success(), "{}", String::from_utf8_lossy(&hashed.stderr));
    fs::write(at("users"), format!("{USER}:{}", String::from_utf8(hashed.stdout).unwrap())).unwrap();
    // The emulator takes no port 0: one that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = |path: PathBuf| format!("{:?}", path.display().to_string());
    let settings = format!(
        "SUSHY_EMULATOR_LISTEN_IP = '127.0.0.1'\nSUSHY_EMULATOR_LISTEN_PORT = {}\nSUSHY_EMULATOR_SSL_CERT = {}\n\
         SUSHY_EMULATOR_SSL_KEY = {}\nSUSHY_EMULATOR_AUTH_FILE = {}\nSUSHY_EMULATOR_STATE_DIR = {}\nSUSHY_EMULATOR_FAKE_DRIVER = True\n",
        address.port(),
        text(at("cert.pem")),
        text(at("key.pem")),
        text(at("users")),
        text(dir.path().into()),
    );
    fs::write(at("settings.py"), settings).unwrap();
    let certificate = at("cert.pem");
    let mut command = Command::new(programs.join("sushy-emulator"));
    command.arg("--config").arg(at("settings.py"));
    let mut running = Running::start(command, dir);
    running.wait_until("sushy-emulator listens", || TcpStream::connect(address).is_ok());
    (running, address, certificate)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sushy_tools_emulator_does_what_it_is_told() {
    let (_running, address, certificate) = tokio::task::spawn_blocking(sushy).await.unwrap();
    let access = |password: &str| {
        let Value::Object(info) = json!({ "redfish_address": format!("https://{address}"), "redfish_username": USER,
            "redfish_password": password, "redfish_verify_ca": certificate })
        else {
            panic!()
        };
        RedfishAccess::read(&info).unwrap()
    };
    let redfish = Redfish::new(PATIENCE, None);
    let error = redfish.power_state(&access("not-it")).await.unwrap_err();
    assert!(matches!(error.cause, RedfishCause::Unauthorized(_)), "{error}");
    let access = access(PASSWORD);
    assert_eq!(redfish.power_state(&access).await.unwrap(), PowerState::Off);

    for (device, firmware, target) in [
        (BootDevice::Pxe, Firmware::Uefi, "Pxe"),
        (BootDevice::Cdrom, Firmware::Bios, "Cd"),
        // Without a URL this emulator takes it for PXE.
        (BootDevice::UefiHttp, Firmware::Uefi, "Pxe"),
        (BootDevice::Disk, Firmware::Uefi, "Hdd"),
    ] {
        // What is offered depends on the firmware that is set: http only once it is UEFI.
        if device == BootDevice::UefiHttp {
            redfish.set_boot(&access, &over(BootDevice::Pxe, firmware)).await.unwrap();
        }
        redfish.set_boot(&access, &over(device, firmware)).await.unwrap_or_else(|error| panic!("{target}: {error}"));
        assert_eq!(redfish.boot_override(&access).await.unwrap().0.as_deref(), Some(target));
    }
    // A URL it would fetch, and this machine of its cannot boot from it: it says so in plain text.
    let wanted = BootOverride {
        http_uri: Some(format!("http://{address}/x.efi")),
        ..over(BootDevice::UefiHttp, Firmware::Uefi)
    };
    let error = redfish.set_boot(&access, &wanted).await.unwrap_err();
    assert!(error.to_string().contains("it answers 400 Bad Request: Failed to"), "{error}");
    let error = redfish.set_boot(&access, &over(BootDevice::Bios, Firmware::Uefi)).await.unwrap_err();
    assert!(error.to_string().contains("it cannot boot from bios; what it can: Pxe, Cd, Hdd"), "{error}");

    let image = image_server().await;
    redfish.insert_media(&access, MediaKind::Cdrom, &image).await.unwrap();
    assert_eq!(redfish.media(&access, MediaKind::Cdrom).await.unwrap().as_deref(), Some(image.as_str()));
    redfish.eject_media(&access, None).await.unwrap();
    assert_eq!(redfish.media(&access, MediaKind::Cdrom).await.unwrap(), None);

    // Its machine takes up to eleven seconds to follow.
    redfish.set_power(&access, PowerAction::On).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while redfish.power_state(&access).await.unwrap() != PowerState::On {
        assert!(Instant::now() < deadline, "it is never on");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn over(device: BootDevice, firmware: Firmware) -> BootOverride {
    BootOverride { device, persistent: false, firmware, http_uri: None }
}

/// The URL of an image, which the emulator fetches.
async fn image_server() -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/rescue.iso", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4_096]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nisos").await;
        }
    });
    url
}

/// pyghmi's BMC with a machine of its own, on a port of the system's choice, which it prints.
const PYGHMI: &str = r#"
import sys
import pyghmi.ipmi.bmc as bmc

class Machine(bmc.Bmc):
    power, device = 'off', 'default'
    def get_boot_device(self): return self.device
    def set_boot_device(self, device): self.device = device
    def get_power_state(self): return self.power
    def power_on(self): self.power = 'on'
    def power_off(self): self.power = 'off'
    def power_shutdown(self): self.power = 'off'
    def power_reset(self): pass

machine = Machine({'admin': 'hunter2'}, port=int(sys.argv[1]), address='::ffff:127.0.0.1')
machine.listen()
"#;

fn pyghmi() -> (Running, SocketAddr) {
    let programs = programs();
    let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new(programs.join("python"));
    command.args(["-c", PYGHMI, &address.port().to_string()]);
    let mut running = Running::start(command, tempfile::tempdir().unwrap());
    // Get Channel Authentication Capabilities without a session (22.13), which is all that it answers to nobody.
    const ASK: [u8; 23] = [
        0x06, 0x00, 0xff, 0x07, 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0x09, 0x20, 0x18, 0xc8, 0x81, 0x00, 0x38, 0x8e, 0x04,
        0xb5,
    ];
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    socket.connect(address).unwrap();
    running.wait_until("pyghmi's BMC answers", || socket.send(&ASK).is_ok() && socket.recv(&mut [0; 64]).is_ok());
    (running, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pyghmis_bmc_does_what_it_is_told() {
    let (_running, address) = tokio::task::spawn_blocking(pyghmi).await.unwrap();
    let bmc = BmcSocket::start(None, BmcLimits::default()).unwrap();
    let target = |password: &str| BmcTarget::new(address, USER, password, Privilege::Administrator).unwrap();
    let error = bmc.power_state(&target("not-it")).await.unwrap_err().to_string();
    assert!(error.contains("password") && !error.contains("not-it"), "{error}");
    let target = target(PASSWORD);
    for (action, state) in [
        (None, PowerState::Off),
        (Some(PowerAction::On), PowerState::On),
        (Some(PowerAction::Reset), PowerState::On),
        (Some(PowerAction::Soft), PowerState::Off),
        (Some(PowerAction::On), PowerState::On),
        (Some(PowerAction::Off), PowerState::Off),
    ] {
        if let Some(action) = action {
            bmc.set_power(&target, action).await.unwrap_or_else(|error| panic!("{action}: {error}"));
        }
        assert_eq!(bmc.power_state(&target).await.unwrap(), state, "{action:?}");
    }
    for device in [IpmiDevice::Pxe, IpmiDevice::Disk, IpmiDevice::Cdrom, IpmiDevice::Bios] {
        bmc.set_boot_device(&target, device, false, IpmiFirmware::Uefi)
            .await
            .unwrap_or_else(|error| panic!("{device}: {error}"));
        assert_eq!(bmc.boot_device(&target).await.unwrap().device, device);
    }
    bmc.device_id(&target).await.unwrap();
    // By ipmitool, it is the same machine.
    let Value::Object(info) = json!({ "ipmi_address": address.ip(), "ipmi_port": address.port(), "ipmi_username": USER,
        "ipmi_password": PASSWORD, "ipmi_cipher_suite_version": 3 })
    else {
        panic!()
    };
    let access = IpmitoolAccess::read(&info, &Ipmi::default()).unwrap();
    let ipmitool = Ipmitool::new(PATIENCE);
    ipmitool.set_power(&access, PowerAction::On).await.unwrap();
    assert_eq!(bmc.power_state(&target).await.unwrap(), PowerState::On);
}
