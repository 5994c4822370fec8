//! Runs dhcpd alone, from the `[dhcpd]` table of a file, until it is killed: `cargo run --example serve -- FILE`. The interop tests use it as a process of its own,
//! in a namespace, that can be killed.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

#[tokio::main]
async fn main() -> ExitCode {
    let Some(file) = std::env::args_os().nth(1) else {
        eprintln!("usage: serve FILE");
        return ExitCode::FAILURE;
    };
    let config = match reveille_config::Config::load(Path::new(&file)) {
        Ok(config) => config,
        Err(mistakes) => {
            mistakes.iter().for_each(|mistake| eprintln!("{mistake}"));
            return ExitCode::FAILURE;
        }
    };
    let Some(dhcpd) = config.dhcpd else {
        eprintln!("the file has no table [dhcpd]");
        return ExitCode::FAILURE;
    };
    match reveille_dhcpd::start(Arc::new(dhcpd), Arc::new(String::new)).await {
        Ok(mut running) => {
            println!("ready");
            eprintln!("{}", running.failed().await);
        }
        Err(error) => {
            let mut cause: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = cause {
                eprintln!("{error}");
                cause = error.source();
            }
        }
    }
    ExitCode::FAILURE
}
