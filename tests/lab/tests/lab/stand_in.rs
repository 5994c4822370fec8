//! Stand-ins for Reveille's daemons: dnsmasq and busybox's httpd, so that the lab is tested by itself.

use std::path::PathBuf;

use reveille_config::MacAddr;
use reveille_lab::net::{BMC_BRIDGE, PROVISIONING_BRIDGE, PROVISIONING_HOST};
use reveille_lab::{Deadline, LabError, Process, TwoNetworks};
use rustix::process::Signal;

/// dnsmasq on both networks and an HTTP server on the provisioning network.
pub struct StandIn {
    dnsmasq: Process,
    _httpd: Process,
    hosts: PathBuf,
    root: PathBuf,
}

impl StandIn {
    /// Starts both. BMCs are unknown until [`Self::approve`]d; every machine is sent to `boot.ipxe`.
    pub fn start(networks: &TwoNetworks) -> Result<Self, LabError> {
        let run = networks.run();
        let hosts = run.write("stand-in/hosts", "")?;
        let root = hosts.parent().expect("has a parent").join("www");
        std::fs::create_dir_all(&root).expect("a directory for the HTTP server");
        let configuration = format!(
            "port=0\nuser=root\nlog-dhcp\nlog-facility=-\nbind-interfaces\nleasefile-ro\nno-ping\npid-file\n\
             interface={BMC_BRIDGE}\ninterface={PROVISIONING_BRIDGE}\ndhcp-hostsfile={hosts}\n\
             dhcp-range=10.77.1.0,static,255.255.255.0\ndhcp-range=10.77.2.100,10.77.2.200,255.255.255.0\n\
             enable-ra\ndhcp-range=fd77::,ra-stateless\nra-param={PROVISIONING_BRIDGE},0,0\n\
             enable-tftp={PROVISIONING_BRIDGE}\ntftp-root={root}\n\
             dhcp-userclass=set:ipxe,iPXE\ndhcp-boot=tag:ipxe,http://{PROVISIONING_HOST}:8080/boot.ipxe\n\
             dhcp-match=set:uefi,option:client-arch,7\ndhcp-vendorclass=set:http,HTTPClient\n\
             dhcp-option-force=tag:http,60,HTTPClient\n\
             dhcp-boot=tag:http,tag:!ipxe,http://{PROVISIONING_HOST}:8080/ipxe.efi\n\
             dhcp-boot=tag:uefi,tag:!ipxe,snponly.efi\n\
             dhcp-boot=tag:!ipxe,tag:!uefi,tag:!http,undionly.kpxe\n",
            hosts = hosts.display(),
            root = root.display(),
        );
        let configuration = run.write("stand-in/dnsmasq.conf", configuration)?;
        let dnsmasq = networks
            .host()
            .program("dnsmasq")
            .arg("--keep-in-foreground")
            .arg(format!("--conf-file={}", configuration.display()));
        let mut dnsmasq = dnsmasq.start("stand-in-dnsmasq")?;
        dnsmasq.wait_for_line("stand-in/hosts", Deadline::secs(60))?;
        let httpd = networks.host().program("busybox").args(["httpd", "-f", "-vv", "-p"]);
        let httpd = httpd.arg(format!("{PROVISIONING_HOST}:8080")).arg("-h").arg(&root).start("stand-in-httpd")?;
        Ok(Self { dnsmasq, _httpd: httpd, hosts, root })
    }

    /// Makes a BMC known, with its address: `10.77.1.11`.
    pub fn approve(&mut self, mac: MacAddr, address: &str) -> Result<(), LabError> {
        std::fs::write(&self.hosts, format!("{mac},{address}\n")).expect("the file of known BMCs can be written");
        self.dnsmasq.signal(Signal::HUP)
    }

    /// Puts a file on the HTTP and TFTP servers.
    pub fn serve(&self, name: &str, content: &[u8]) {
        std::fs::write(self.root.join(name), content).expect("the file can be written");
    }

    /// Waits until dnsmasq's log has a line with `text`.
    pub fn wait_for_line(&mut self, text: &str, deadline: Deadline) -> Result<String, LabError> {
        self.dnsmasq.wait_for_line(text, deadline)
    }
}
