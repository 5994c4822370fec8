//! What the demo shows: a live list of steps with their times and progress bars, and a table at the end.
//!
//! On a terminal the step under way has a spinner and a running clock, and downloads have bars. Elsewhere (a pipe, a
//! CI log) each step and each finished download is one line with its time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// Width of the column of names.
const NAME_WIDTH: usize = 20;
/// Width of the longest bar in the table.
const TABLE_BAR_WIDTH: f64 = 30.0;

/// The steps so far.
pub struct Timeline {
    started: Instant,
    live: Option<MultiProgress>,
    current: Option<Current>,
    done: Vec<Done>,
    /// Ids of the bars that have come to their end: they are not shown again in a later step.
    finished: BTreeSet<String>,
}

struct Current {
    name: &'static str,
    started: Instant,
    spinner: Option<ProgressBar>,
    bars: BTreeMap<String, ProgressBar>,
}

struct Done {
    name: &'static str,
    took: Duration,
}

impl Timeline {
    /// An empty time line that starts now.
    pub fn start() -> Self {
        let live = std::io::stdout()
            .is_terminal()
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stdout_with_hz(12)));
        Self { started: Instant::now(), live, current: None, done: Vec::new(), finished: BTreeSet::new() }
    }

    /// Begins a step: `what` says what is being waited for.
    pub fn begin(&mut self, name: &'static str, what: impl Display) {
        let spinner = self.live.as_ref().map(|live| {
            let spinner = live.add(ProgressBar::new_spinner());
            let template = format!("  {{spinner}} {{clock:>8}}  {{prefix:<{NAME_WIDTH}}} {{wide_msg}}");
            let started = self.started;
            let style = ProgressStyle::with_template(&template).expect("a well-formed template");
            spinner.set_style(style.with_key("clock", move |_: &ProgressState, writer: &mut dyn std::fmt::Write| {
                let _ = writer.write_str(&seconds(started.elapsed()));
            }));
            spinner.set_prefix(name);
            spinner.set_message(what.to_string());
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        self.current = Some(Current { name, started: Instant::now(), spinner, bars: BTreeMap::new() });
    }

    /// Says more of the step under way.
    pub fn say(&mut self, what: impl Display) {
        if let Some(spinner) = self.current.as_ref().and_then(|current| current.spinner.as_ref()) {
            spinner.set_message(what.to_string());
        }
    }

    /// Shows how far something of the step under way has come, in bytes. `id` tells it from others.
    pub fn progress(&mut self, id: &str, label: &str, bytes: u64, of: u64) {
        if self.finished.contains(id) {
            return;
        }
        let Some(current) = &mut self.current else { return };
        if let Some(live) = &self.live {
            let bar = current.bars.entry(id.to_owned()).or_insert_with(|| {
                let bar = live.add(ProgressBar::new(of));
                let template =
                    format!("                {{prefix:<{NAME_WIDTH}}} {{bar:30}} {{bytes:>10}} of {{total_bytes}}");
                bar.set_style(ProgressStyle::with_template(&template).expect("a well-formed template"));
                bar.set_prefix(label.to_owned());
                bar
            });
            bar.set_length(of);
            bar.set_position(bytes);
        }
        if bytes >= of {
            self.finished.insert(id.to_owned());
            if self.live.is_none() {
                println!("    {:>8}    {label}: {}, all of it", seconds(self.started.elapsed()), mebibytes(of));
            }
        }
    }

    /// Ends the step under way: `what` says what came of it.
    pub fn end(&mut self, what: impl Display) {
        let Some(current) = self.clear() else { return };
        let took = current.started.elapsed();
        self.line(&format!(
            "  ✔ {:>8}  {:<NAME_WIDTH$} {what}  ({})",
            seconds(self.started.elapsed()),
            current.name,
            seconds(took)
        ));
        self.done.push(Done { name: current.name, took });
    }

    /// Ends the step under way, which failed.
    pub fn fail(&mut self, why: impl Display) {
        let Some(current) = self.clear() else { return };
        let at = seconds(self.started.elapsed());
        self.line(&format!("  ✘ {at:>8}  {:<NAME_WIDTH$} {why}", current.name));
    }

    /// How long each step took.
    pub fn table(&self) -> String {
        let total = self.started.elapsed();
        let longest = self.done.iter().map(|step| step.took).max().unwrap_or_default().as_secs_f64().max(0.001);
        let mut text = format!("\n  {:<NAME_WIDTH$} {:>8}\n", "step", "took");
        for step in &self.done {
            let width = (step.took.as_secs_f64() / longest * TABLE_BAR_WIDTH).round() as usize;
            text += &format!("  {:<NAME_WIDTH$} {:>8}  {}\n", step.name, seconds(step.took), "█".repeat(width));
        }
        text + &format!("  {:<NAME_WIDTH$} {:>8}\n", "total", seconds(total))
    }

    fn clear(&mut self) -> Option<Current> {
        let current = self.current.take()?;
        current.bars.values().chain(&current.spinner).for_each(ProgressBar::finish_and_clear);
        Some(current)
    }

    fn line(&self, text: &str) {
        match &self.live {
            // A terminal that is gone cannot be told so.
            Some(live) => live.println(text).unwrap_or_default(),
            None => println!("{text}"),
        }
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

/// Bytes for people.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_each_ended_step_and_the_total() {
        let mut timeline = Timeline { live: None, ..Timeline::start() };
        timeline.begin("first", "something");
        timeline.progress("1", "file", 5, 10);
        timeline.progress("1", "file", 10, 10);
        timeline.end("it came");
        timeline.begin("second", "something else");
        timeline.fail("it did not come");
        let table = timeline.table();
        let names: Vec<_> = table.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(names, ["step", "first", "total"]);
    }
}
