//! From the text of the file to a [`Config`], or to all its mistakes.
//!
//! Three passes: syntax ([`syntax`]), each table by itself ([`dhcpd`], [`bootd`], [`provisioner`]), then what only several together
//! can get wrong ([`scopes`], [`listeners`]). A pass goes on behind a mistake wherever that cannot produce a false one.

mod api;
mod boot;
mod bootd;
mod class;
mod condition;
mod dhcpd;
mod dhcpd_elsewhere;
mod link;
mod listeners;
mod options;
mod pool;
mod profile;
mod provisioner;
mod reader;
mod reservation;
mod scopes;
mod secret;
mod shape;
mod syntax;
mod temp_url;
mod upstream;
mod webhook;

use std::path::Path;

use crate::environment::Environment;
use crate::limit::{CONFIG_BYTES_MAX, MISTAKES_MAX};
use crate::mistake::{Mistake, Severity, Source};
use crate::{Config, Part};
pub(crate) use boot::of_files as boot_of_files;
use listeners::Listeners;
use reader::{Note, Reader, Table};

/// Reads the file; what the tables of `looks` refer to is looked at, and the tables of `parts` are in the result.
pub(crate) fn parse(
    text: &str,
    file: &Path,
    environment: &dyn Environment,
    parts: &[Part],
    looks: &[Part],
) -> Result<Config, Vec<Mistake>> {
    if text.len() > CONFIG_BYTES_MAX {
        let what = format!("the file has {} octets", text.len());
        return Err(vec![Mistake::whole_file(file, what, Some(format!("it may have {CONFIG_BYTES_MAX} at most")))]);
    }
    let source = Source::new(file, text);
    let (readable, mut syntax_notes) = syntax::readable(text);
    let (root, more) = syntax::parse(&readable);
    syntax_notes.extend(more);
    let reader = Reader::new(environment);
    let mut config = document(&reader, &source, &root, parts, looks);
    let collected = reader.finish();
    let lines: Vec<usize> = syntax_notes.iter().map(|note| source.line_of(note.span.start)).collect();
    // A line that does not parse, and what may have been lost with it, says nothing more about its content.
    let meaningful =
        |note: &Note| lines.is_empty() || !note.missing && !lines.contains(&source.line_of(note.span.start));
    let mut notes: Vec<Note> = syntax_notes.into_iter().chain(collected.notes.into_iter().filter(meaningful)).collect();
    notes.sort_by(|a, b| (a.span.start, &a.what).cmp(&(b.span.start, &b.what)));
    notes.dedup();
    if notes.is_empty() {
        if let Some(config) = &mut config {
            config.defaults.paths = collected.defaults;
            let advice = |note: &Note| Mistake {
                severity: Severity::Advice,
                ..source.mistake(&note.span, &note.what, note.instead.as_deref(), &collected.masked)
            };
            config.advice.0 = collected.advice.iter().take(MISTAKES_MAX).map(advice).collect();
            config.advice.0.sort_by_key(|advice| (advice.line, advice.column));
        }
        let internal = || {
            vec![Mistake::whole_file(
                file,
                "the file cannot be used, and no reason was noted: a defect of this program".into(),
                None,
            )]
        };
        return config.ok_or_else(internal);
    }
    let all = notes.len();
    let mistake = |note: &Note| source.mistake(&note.span, &note.what, note.instead.as_deref(), &collected.masked);
    let mut mistakes: Vec<Mistake> = notes.iter().take(MISTAKES_MAX).map(mistake).collect();
    if all > MISTAKES_MAX {
        let what = format!("{} more mistakes are not shown", all - MISTAKES_MAX);
        mistakes.push(Mistake::whole_file(file, what, None));
    }
    Err(mistakes)
}

/// Walks the whole file; `None` only after a mistake was noted.
fn document(
    reader: &Reader<'_>,
    source: &Source<'_>,
    root: &toml::de::DeTable<'_>,
    parts: &[Part],
    looks: &[Part],
) -> Option<Config> {
    let root = Table::new(reader, String::new(), 0..0, Some(root));
    let wanted = |part| parts.contains(&part);
    let mut listeners = Listeners::default();

    reader.looks.set(looks.contains(&Part::Dhcpd));
    let dhcpd = root.section("dhcpd", |table| dhcpd::read(table, source, &mut listeners));
    reader.looks.set(looks.contains(&Part::Bootd));
    let bootd = root.section("bootd", |table| bootd::read(table, &mut listeners));
    reader.looks.set(looks.contains(&Part::Provisioner));
    let neighbours = provisioner::Neighbours {
        dhcpd: provisioner::Neighbour::new(&dhcpd),
        bootd: provisioner::Neighbour::new(&bootd),
    };
    let provisioner = root.section("provisioner", |table| provisioner::read(table, neighbours, &mut listeners));
    root.finish();
    listeners.check(reader, source);

    if dhcpd.is_none() && bootd.is_none() && provisioner.is_none() {
        reader.missing(
            0..0,
            "the file configures no daemon",
            "write at least one of the tables [dhcpd], [bootd], [provisioner]",
        );
    }
    /// The table where it is wanted; the outer `None` where it was there and wrong.
    fn settled<T>(table: Option<Option<T>>, wanted: bool) -> Option<Option<T>> {
        match table {
            Some(table) => table.map(|table| wanted.then_some(table)),
            None => Some(None),
        }
    }
    Some(Config {
        dhcpd: settled(dhcpd, wanted(Part::Dhcpd))?,
        bootd: settled(bootd, wanted(Part::Bootd))?,
        provisioner: settled(provisioner, wanted(Part::Provisioner))?,
        defaults: Default::default(),
        advice: Default::default(),
    })
}
