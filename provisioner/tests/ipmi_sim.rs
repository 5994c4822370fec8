//! The native client against a real BMC simulator (OpenIPMI's `ipmi_sim`), with ipmitool as the second opinion.

mod ipmi_support;

use std::time::Instant;

use ipmi_support::sim::Sim;
use reveille_provisioner::io::bmc::{BmcLimits, BmcSocket, BootDevice, Firmware, PowerAction, PowerState};

#[tokio::test]
async fn reads_the_power_state_that_ipmitool_reads() {
    let sim = Sim::start();
    let bmc = BmcSocket::start(None, BmcLimits::default()).unwrap();
    let target = sim.target();
    let begun = Instant::now();
    assert_eq!(bmc.power_state(&target).await.unwrap(), PowerState::Off);
    let cold = begun.elapsed();
    let begun = Instant::now();
    assert_eq!(bmc.power_state(&target).await.unwrap(), PowerState::Off);
    println!("cold {cold:?}, warm {:?}", begun.elapsed());
    assert_eq!(sim.ipmitool(&["chassis", "power", "status"]).trim(), "Chassis Power is off");

    bmc.set_power(&target, PowerAction::On).await.unwrap();
    assert_eq!(sim.read("power"), "1");
    assert_eq!(bmc.power_state(&target).await.unwrap(), PowerState::On);
    assert_eq!(sim.ipmitool(&["chassis", "power", "status"]).trim(), "Chassis Power is on");

    bmc.set_boot_device(&target, BootDevice::Pxe, false, Firmware::Legacy).await.unwrap();
    assert_eq!(sim.read("boot"), "pxe");
    assert!(sim.ipmitool(&["chassis", "bootparam", "get", "5"]).contains("Force PXE"));
}
