//! [`Reader`], [`Table`] and [`Value`]: a walk over a parsed TOML file that collects mistakes instead of stopping at the first.
//!
//! Every getter returns what is right and notes what is not. A [`Table`] learns the keys it is asked for; [`Table::finish`]
//! reports the others. This module knows TOML, not what the keys mean.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::environment::Environment;
use crate::print::quoted;
use crate::suggest;

/// A value and the octets of the file it comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct At<T> {
    pub value: T,
    pub start: usize,
    pub end: usize,
}

impl<T> At<T> {
    pub fn span(&self) -> Range<usize> {
        self.start..self.end
    }

    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At { value: f(self.value), start: self.start, end: self.end }
    }
}

/// A mistake before it has a line and a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub span: Range<usize>,
    pub what: String,
    pub instead: Option<String>,
    /// Whether something is missing, which a syntax error elsewhere may have swallowed.
    pub missing: bool,
}

/// What a walk collects.
pub(crate) struct Reader<'a> {
    /// The world outside the file.
    pub environment: &'a dyn Environment,
    /// Whether what the file refers to is looked at: not for the table of a daemon that runs elsewhere.
    pub looks: Cell<bool>,
    notes: RefCell<Vec<Note>>,
    advice: RefCell<Vec<Note>>,
    defaults: RefCell<BTreeSet<String>>,
    masked: RefCell<Vec<Range<usize>>>,
}

/// What a walk has collected.
pub(crate) struct Collected {
    pub notes: Vec<Note>,
    /// What is right and could be better.
    pub advice: Vec<Note>,
    /// Paths of the keys that were not given.
    pub defaults: BTreeSet<String>,
    /// Octets that hold a secret.
    pub masked: Vec<Range<usize>>,
}

impl<'a> Reader<'a> {
    pub fn new(environment: &'a dyn Environment) -> Self {
        Self {
            environment,
            looks: Cell::new(true),
            notes: RefCell::default(),
            advice: RefCell::default(),
            defaults: RefCell::default(),
            masked: RefCell::default(),
        }
    }

    pub fn finish(self) -> Collected {
        Collected {
            notes: self.notes.into_inner(),
            advice: self.advice.into_inner(),
            defaults: self.defaults.into_inner(),
            masked: self.masked.into_inner(),
        }
    }

    /// Notes a mistake.
    pub fn wrong(&self, span: Range<usize>, what: impl Into<String>, instead: impl Into<String>) {
        let note = Note { span, what: what.into(), instead: Some(instead.into()), missing: false };
        self.notes.borrow_mut().push(note);
    }

    /// Notes what is no mistake and likely to become trouble.
    pub fn advise(&self, span: Range<usize>, what: impl Into<String>, instead: impl Into<String>) {
        let note = Note { span, what: what.into(), instead: Some(instead.into()), missing: false };
        self.advice.borrow_mut().push(note);
    }

    /// Notes that something is not there, unless a syntax error may have swallowed it.
    pub fn missing(&self, span: Range<usize>, what: impl Into<String>, instead: impl Into<String>) {
        let note = Note { span, what: what.into(), instead: Some(instead.into()), missing: true };
        self.notes.borrow_mut().push(note);
    }
}

/// A table of the file; one that is not there reads as an empty one.
pub(crate) struct Table<'r, 'i> {
    pub reader: &'r Reader<'r>,
    /// `dhcpd.scope[0]`.
    pub path: String,
    /// Its header, or where it would belong.
    pub span: Range<usize>,
    entries: Option<&'r DeTable<'i>>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'r, 'i> Table<'r, 'i> {
    pub fn new(reader: &'r Reader<'r>, path: String, span: Range<usize>, entries: Option<&'r DeTable<'i>>) -> Self {
        Self { reader, path, span, entries, asked: RefCell::default() }
    }

    /// The same table known by another path in messages.
    pub fn at_path(self, path: String) -> Self {
        Self { path, ..self }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_none_or(|entries| entries.is_empty())
    }

    /// The value of `key`, where it is there.
    pub fn get(&self, key: &'static str) -> Option<Value<'r, 'i>> {
        self.asked.borrow_mut().push(key);
        let inner = self.entries?.get(key)?;
        Some(Value { reader: self.reader, name: key.to_owned(), inner })
    }

    /// The value of `key`; that it is missing is a mistake, and `example` shows how it is written.
    pub fn required(&self, key: &'static str, example: &str) -> Option<Value<'r, 'i>> {
        let value = self.get(key);
        if value.is_none() {
            let table = if self.path.is_empty() { "the file".into() } else { format!("`{}`", self.path) };
            self.reader.missing(
                self.span.clone(),
                format!("`{key}` is missing in {table}"),
                format!("add: {key} = {example}"),
            );
        }
        value
    }

    /// What `read` makes of `key`, or `default` where the key is not there (which is remembered) or wrong.
    pub fn or<T>(&self, key: &'static str, default: T, read: impl FnOnce(Value<'r, 'i>) -> Option<T>) -> T {
        match self.get(key) {
            Some(value) => read(value).unwrap_or(default),
            None => {
                self.defaulted(key);
                default
            }
        }
    }

    /// Remembers that `key` was not given.
    pub fn defaulted(&self, key: &str) {
        self.reader.defaults.borrow_mut().insert(format!("{}.{key}", self.path));
    }

    /// The table below `key`; an empty one where it is not there.
    pub fn table_or_empty(&self, key: &'static str) -> Self {
        self.table(key).unwrap_or_else(|| Self::new(self.reader, self.child(key), self.span.clone(), None))
    }

    /// What `read` makes of the table below `key`: the outer `None` where it is not there, the inner one where it is wrong.
    pub fn section<T>(&self, key: &'static str, read: impl FnOnce(Self) -> Option<T>) -> Option<Option<T>> {
        let table = self.table(key);
        self.entries?.get(key)?;
        Some(table.and_then(read))
    }

    /// The table below `key`, where it is there.
    pub fn table(&self, key: &'static str) -> Option<Self> {
        let value = self.get(key)?;
        let span = value.span();
        match value.inner.get_ref() {
            DeValue::Table(entries) => Some(Self::new(self.reader, self.child(key), span, Some(entries))),
            DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
                let path = self.child(key);
                self.reader.wrong(
                    span,
                    format!("`{path}` is a list of tables; there is one only"),
                    format!("write [{path}]"),
                );
                None
            }
            _ => value.mistyped("a table", &format!("write [{}]", self.child(key))),
        }
    }

    /// The tables `[[key]]`.
    pub fn tables(&self, key: &'static str) -> Vec<Self> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let path = self.child(key);
        match value.inner.get_ref() {
            DeValue::Array(items) => {
                let table = |(at, item): (usize, &'r Spanned<DeValue<'i>>)| match item.get_ref() {
                    DeValue::Table(entries) => {
                        Some(Self::new(self.reader, format!("{path}[{at}]"), item.span(), Some(entries)))
                    }
                    _ => {
                        self.reader.wrong(
                            item.span(),
                            format!("`{path}` holds tables"),
                            format!("write [[{path}]] with its keys below"),
                        );
                        None
                    }
                };
                items.iter().enumerate().filter_map(table).collect()
            }
            DeValue::Table(entries) => {
                self.reader.wrong(
                    value.span(),
                    format!("`{path}` is a list of tables"),
                    format!("write it with double brackets: [[{path}]]"),
                );
                vec![Self::new(self.reader, format!("{path}[0]"), value.span(), Some(entries))]
            }
            _ => {
                value.mistyped::<()>("a list of tables", &format!("write [[{path}]] with its keys below"));
                Vec::new()
            }
        }
    }

    /// All keys with their values, for tables whose keys are not fixed.
    pub fn entries(&self) -> Vec<(At<&'r str>, Value<'r, 'i>)> {
        let entry = |(key, inner): (&'r Spanned<toml::de::DeString<'i>>, &'r Spanned<DeValue<'i>>)| {
            let (name, span) = (key.get_ref().as_ref(), key.span());
            let at = At { value: name, start: span.start, end: span.end };
            (at, Value { reader: self.reader, name: name.to_owned(), inner })
        };
        self.entries.into_iter().flatten().map(entry).collect()
    }

    /// Reports the keys that nobody asked for.
    pub fn finish(self) {
        self.finish_except(|_| false);
    }

    /// [`Table::finish`] for a table whose keys are not all fixed: `known` says of the others which were looked at.
    pub fn finish_except(self, known: impl Fn(&str) -> bool) {
        let is_known = known;
        let asked = self.asked.borrow();
        for (key, value) in self.entries.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if asked.contains(&name) || is_known(name) {
                continue;
            }
            let what = if value.get_ref().is_table() { "table" } else { "key" };
            let place = if self.path.is_empty() { String::new() } else { format!(" in `{}`", self.path) };
            let known: Vec<&str> = asked.iter().copied().collect();
            let instead = match suggest::nearest(name, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            self.reader.wrong(key.span(), format!("unknown {what} `{name}`{place}"), instead);
        }
    }

    fn child(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// One value of the file.
pub(crate) struct Value<'r, 'i> {
    pub reader: &'r Reader<'r>,
    /// The key's name, for messages.
    pub name: String,
    pub inner: &'r Spanned<DeValue<'i>>,
}

impl<'r, 'i> Value<'r, 'i> {
    /// Where it stands.
    pub fn span(&self) -> Range<usize> {
        self.inner.span()
    }

    /// Notes a mistake about this value.
    pub fn wrong<T>(&self, what: impl Into<String>, instead: impl Into<String>) -> Option<T> {
        self.reader.wrong(self.span(), what, instead);
        None
    }

    /// Notes that it has the wrong type.
    pub fn mistyped<T>(&self, expected: &str, instead: &str) -> Option<T> {
        let found = match self.inner.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.wrong(format!("`{}` is {found}, not {expected}", self.name), instead)
    }

    pub fn at<T>(&self, value: T) -> At<T> {
        let span = self.span();
        At { value, start: span.start, end: span.end }
    }

    /// A string; `example` shows one in quotes.
    pub fn text(&self, example: &str) -> Option<At<&'r str>> {
        match self.inner.get_ref() {
            DeValue::String(text) => Some(self.at(text.as_ref())),
            _ => self.mistyped("a string", &format!("for example: {} = {example}", self.name)),
        }
    }

    /// A string with a meaning: `expected` says which, `example` shows one in quotes.
    pub fn parsed<T: FromStr>(&self, expected: &str, example: &str) -> Option<At<T>> {
        let text = self.text(example)?;
        match text.value.parse() {
            Ok(value) => Some(text.map(|_| value)),
            Err(_) => self.wrong(format!("`{}` is not {expected}", text.value), format!("for example: {example}")),
        }
    }

    /// An integer in `bounds`, counted in `unit` (empty for a plain number).
    pub fn integer(&self, bounds: RangeInclusive<u64>, unit: &str) -> Option<u64> {
        let (min, max) = (*bounds.start(), *bounds.end());
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        let DeValue::Integer(integer) = self.inner.get_ref() else {
            return self.mistyped(
                "an integer",
                &format!("write a number from {min} to {max}{unit}, without quotes or a unit"),
            );
        };
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
        match number.and_then(|number| u64::try_from(number).ok()).filter(|number| bounds.contains(number)) {
            Some(number) => Some(number),
            None => self.wrong(
                format!("`{}` = {integer} is out of bounds", self.name),
                format!("it goes from {min} to {max}{unit}"),
            ),
        }
    }

    /// `true` or `false`.
    pub fn boolean(&self) -> Option<bool> {
        match self.inner.get_ref() {
            &DeValue::Boolean(is) => Some(is),
            _ => self.mistyped("a boolean", &format!("write {0} = true or {0} = false", self.name)),
        }
    }

    /// The items of a list; `example` shows one item.
    pub fn list(&self, example: &str) -> Option<Vec<Self>> {
        match self.inner.get_ref() {
            DeValue::Array(items) => {
                Some(items.iter().map(|inner| Value { reader: self.reader, name: self.name.clone(), inner }).collect())
            }
            DeValue::String(text) => self.mistyped("a list", &format!("write {} = [{}]", self.name, quoted(text))),
            _ => self.mistyped("a list", &format!("for example: {} = [{example}]", self.name)),
        }
    }

    /// The items of a list, or the value itself where it is none.
    pub fn one_or_more(&self) -> Vec<Self> {
        match self.inner.get_ref() {
            DeValue::Array(items) => {
                items.iter().map(|inner| Value { reader: self.reader, name: self.name.clone(), inner }).collect()
            }
            _ => vec![Value { reader: self.reader, name: self.name.clone(), inner: self.inner }],
        }
    }

    /// An absolute path.
    pub fn path(&self, example: &str) -> Option<At<PathBuf>> {
        let text = self.text(example)?;
        match text.value {
            path if !path.starts_with('/') => self.wrong(
                format!("the path {path:?} does not begin with `/`"),
                "write it from the root: a daemon has no working directory of its own",
            ),
            path if path.contains('\0') => self.wrong("the path contains a zero octet", "remove it"),
            path => Some(text.map(|_| PathBuf::from(path))),
        }
    }

    /// An inline table.
    pub fn table(&self) -> Option<Table<'r, 'i>> {
        let entries = self.inner.get_ref().as_table()?;
        Some(Table::new(self.reader, self.name.clone(), self.span(), Some(entries)))
    }

    /// The value as JSON; a date has no place there.
    pub fn json(&self) -> Option<serde_json::Value> {
        let nested = |inner| Value { reader: self.reader, name: self.name.clone(), inner };
        Some(match self.inner.get_ref() {
            DeValue::String(text) => text.as_ref().into(),
            DeValue::Integer(integer) => {
                i64::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i64::MAX).into()
            }
            DeValue::Float(float) => float.as_str().parse::<f64>().unwrap_or_default().into(),
            &DeValue::Boolean(is) => is.into(),
            DeValue::Datetime(_) => {
                return self.mistyped("a value that DHCP has", "write a string, a number, a boolean or a list");
            }
            DeValue::Array(items) => items.iter().map(|item| nested(item).json()).collect::<Option<Vec<_>>>()?.into(),
            DeValue::Table(entries) => {
                let entry = |(key, inner): (&Spanned<toml::de::DeString<'_>>, &'r Spanned<DeValue<'i>>)| {
                    Some((key.get_ref().to_string(), nested(inner).json()?))
                };
                serde_json::Value::Object(entries.iter().map(entry).collect::<Option<_>>()?)
            }
        })
    }

    /// Keeps the value out of every excerpt: it is a secret.
    pub fn mask(&self) {
        self.reader.masked.borrow_mut().push(self.span());
    }
}
