//! [`Settings`]: what the life cycle needs to know of the configuration.

use reveille_config::Subnet;
use reveille_config::provisioner::{Ipmi, PowerPolicy, Provisioner};
use reveille_config::temp_url::TempUrlIssue;

/// What the life cycle needs to know of the configuration, plus the pace of its checks.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `ipa-api-url`, without a trailing slash.
    pub agent_api_url: String,
    /// Where machines fetch images that are named by path, without a trailing slash.
    pub boot_url: String,
    /// What signs images' URLs, where anything does.
    pub temp_url: Option<TempUrlIssue>,
    /// Default `deploy_kernel`.
    pub kernel: Option<String>,
    /// Default `deploy_ramdisk`.
    pub ramdisk: Option<String>,
    /// Appended to the agent's kernel line.
    pub kernel_append: String,
    /// Networks in which agents' call-back addresses must lie.
    pub agent_networks: Vec<Subnet>,
    /// What agents are told as `heartbeat_timeout`, and after which a silent agent is given up.
    pub heartbeat_secs: u32,
    /// From power on to the agent's first heartbeat.
    pub deploy_callback_secs: u32,
    /// One step of the agent.
    pub agent_step_secs: u32,
    /// A wanted power change until it is read back.
    pub power_secs: u32,
    /// One BMC command with its retries.
    pub bmc_secs: u32,
    /// Credentials for nodes whose `driver_info` has none.
    pub ipmi: Ipmi,
    /// How power is kept in view and changed.
    pub power: PowerPolicy,
    /// Between two looks at the power of a machine that was told to power itself off.
    pub off_check_millis: u64,
    /// Between two looks at a command of the agent, where no heartbeat comes first.
    pub poll_millis: u64,
    /// Before the first repetition of an effect that failed for a passing reason; doubles up to 30 s.
    pub retry_millis: u64,
}

/// Looks at a machine's power before it is switched off hard (Ironic looks 7 times, 5 s apart).
pub const OFF_CHECKS_MAX: u8 = 7;

impl From<&Provisioner> for Settings {
    fn from(config: &Provisioner) -> Self {
        Self {
            agent_api_url: config.agent_api_url.trim_end_matches('/').to_owned(),
            boot_url: config.boot_url.trim_end_matches('/').to_owned(),
            temp_url: config.temp_url.clone(),
            kernel: config.deploy.kernel.clone(),
            ramdisk: config.deploy.ramdisk.clone(),
            kernel_append: config.deploy.kernel_append.clone(),
            agent_networks: config.agent_networks.clone(),
            heartbeat_secs: config.timeouts.heartbeat_secs,
            deploy_callback_secs: config.timeouts.deploy_callback_secs,
            agent_step_secs: config.timeouts.agent_step_secs,
            power_secs: config.timeouts.power_secs,
            bmc_secs: config.timeouts.bmc_secs,
            ipmi: config.ipmi.clone(),
            power: config.power.clone(),
            off_check_millis: 5_000,
            poll_millis: 15_000,
            retry_millis: 2_000,
        }
    }
}

#[cfg(test)]
impl Settings {
    /// Settings of a small network, for tests.
    pub fn for_tests() -> Self {
        Self {
            agent_api_url: "http://10.77.2.1:6385".into(),
            boot_url: "http://10.77.2.1:8080".into(),
            temp_url: None,
            kernel: Some("agent/vmlinuz".into()),
            ramdisk: Some("agent/initrd.zst".into()),
            kernel_append: "console=ttyS0".into(),
            agent_networks: vec!["10.77.2.0/24".parse().unwrap()],
            heartbeat_secs: 300,
            deploy_callback_secs: 1_800,
            agent_step_secs: 3_600,
            power_secs: 60,
            bmc_secs: 15,
            ipmi: Ipmi::default(),
            power: PowerPolicy::default(),
            off_check_millis: 5_000,
            poll_millis: 15_000,
            retry_millis: 2_000,
        }
    }
}
