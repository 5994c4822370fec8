//! Makes the two guest images, if the cache does not hold them yet, and says where they are.

use std::io::{IsTerminal, stderr};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use reveille_lab::images::{Progress, ensure_agent_image, ensure_os_image};

/// Makes the agent image and the operating-system image of the lab.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Say where the images are as JSON on standard output.
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut teller = Teller::default();
    let os = ensure_os_image(&mut |progress| teller.tell(&progress))?;
    let agent = ensure_agent_image(&mut |progress| teller.tell(&progress))?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "os": os, "agent": agent }))?);
    } else {
        println!("operating system  {} (build {}, sha256 {})", os.path.display(), os.build_id, os.sha256);
        println!("agent             {}", agent.kernel.display());
        println!("                  {}", agent.initramfs.display());
    }
    Ok(())
}

/// Tells progress on standard error: a bar on a terminal, elsewhere a line per phase.
#[derive(Debug, Default)]
struct Teller {
    bar: Option<ProgressBar>,
    last: Option<(&'static str, String)>,
}

/// The length of the bar, in the thousandths that it moves by.
const BAR: u64 = 1000;

impl Teller {
    fn tell(&mut self, progress: &Progress) {
        let now = (progress.image, progress.phase.clone());
        if stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| {
                let style =
                    ProgressStyle::with_template("{prefix:>6} image [{bar:30}] {percent:>3} % {elapsed:>4} {msg}");
                ProgressBar::new(BAR).with_style(style.expect("a valid template"))
            });
            bar.set_prefix(progress.image);
            bar.set_message(progress.phase.clone());
            bar.set_position((progress.fraction * BAR as f64) as u64);
            if progress.fraction >= 1.0 {
                bar.finish();
                self.bar = None;
            }
        } else if self.last.as_ref() != Some(&now) {
            eprintln!("{} image: {:3.0} % {}", progress.image, progress.fraction * 100.0, progress.phase);
        }
        self.last = Some(now);
    }
}
