//! [`OptionSet`]: DHCP options by name with type-checked values, encoded once.
//!
//! The one place that knows how option values are written, in the configuration file and in the lease API.

mod definition;
mod domain;
mod table;
mod value;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use crate::Octets;
use crate::limit::OPTION_BYTES_MAX;
use crate::suggest;
use table::Type;

pub use definition::{Definition, Definitions};

/// Options ready for the wire: code → value octets (without code and length; at most [`OPTION_BYTES_MAX`] octets each, more than 255
/// to be split as RFC 3396 has it).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OptionSet {
    values: BTreeMap<u8, Vec<u8>>,
}

/// Why an option was refused; the message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{0}")]
pub struct OptionValueError(pub String);

/// The same in two parts, for the configuration file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub what: String,
    pub instead: Option<String>,
    /// Whether the name is at fault, not the value.
    pub name: bool,
}

impl OptionSet {
    /// The value octets of option `code`.
    pub fn get(&self, code: u8) -> Option<&[u8]> {
        self.values.get(&code).map(Vec::as_slice)
    }

    /// All options in the order of their codes.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.values.iter().map(|(&code, value)| (code, value.as_slice()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// These options with those of `over` in place of or besides them.
    pub fn merge(&self, over: &Self) -> Self {
        let mut values = self.values.clone();
        values.extend(over.values.iter().map(|(&code, value)| (code, value.clone())));
        Self { values }
    }

    /// The options of a request: by name (`routers`) or by number (`"224"`).
    ///
    /// # Errors
    /// The first option that is unknown, may not be set, is given twice (by name and by number) or has a value of the wrong type.
    pub fn from_json(options: &BTreeMap<String, Value>) -> Result<Self, OptionValueError> {
        Self::read(&Definitions::default(), options)
    }

    fn read(definitions: &Definitions, options: &BTreeMap<String, Value>) -> Result<Self, OptionValueError> {
        let mut set = Self::default();
        for (key, value) in options {
            let (code, octets) = definitions.encode(key, value)?;
            if set.values.insert(code, octets).is_some() {
                return Err(OptionValueError(format!("option {code} is given twice, by name and by number")));
            }
        }
        Ok(set)
    }

    /// The options as they are written: names where there are some, values in their types.
    pub fn to_json(&self) -> BTreeMap<String, Value> {
        self.to_json_with(&Definitions::default())
    }

    /// [`OptionSet::to_json`] with the names and types of the configuration's own options.
    pub fn to_json_with(&self, definitions: &Definitions) -> BTreeMap<String, Value> {
        self.values.iter().map(|(&code, octets)| written(definitions, code, octets)).collect()
    }

    /// Adds an option; returns false, and changes nothing, where it is there already.
    pub(crate) fn insert(&mut self, code: u8, octets: Vec<u8>) -> bool {
        let new = !self.values.contains_key(&code);
        if new {
            self.values.insert(code, octets);
        }
        new
    }
}

impl Serialize for OptionSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

/// Code and value octets of one option, named `routers`, `"3"` …
///
/// Values: addresses, names and routes (`"10.0.0.0/8 via 10.77.1.1"`) are strings, lists are lists, numbers are integers; `"hex:0a0b"` gives the octets themselves.
///
/// # Errors
/// An unknown name, an option that the server sets itself, a value of the wrong type or of more than [`OPTION_BYTES_MAX`] octets;
/// the message says what would be right.
pub fn encode(name_or_number: &str, value: &Value) -> Result<(u8, Vec<u8>), OptionValueError> {
    Definitions::default().encode(name_or_number, value)
}

fn refusal_error(refusal: Refusal) -> OptionValueError {
    OptionValueError(match refusal.instead {
        Some(instead) => format!("{}; {instead}", refusal.what),
        None => refusal.what,
    })
}

/// [`encode`] with the configuration's own options, and the reason in two parts.
pub(crate) fn check(definitions: &Definitions, key: &str, value: &Value) -> Result<(u8, Vec<u8>), Refusal> {
    let found = find(definitions, key)?;
    let code = found.code;
    if let Some(why) = found.refused {
        let what = format!("option {code} (`{}`) cannot be set: {why}", found.name);
        return Err(Refusal { what, instead: Some("leave it out".into()), name: true });
    }
    let octets = match value {
        Value::Object(entries) if code == VENDOR_ENCAPSULATED => definition::encapsulate(definitions, entries)?,
        _ => value::encode(found.kind, value).map_err(|other| wrong_value(key, found.kind, &other, value))?,
    };
    match octets.len() {
        1..=OPTION_BYTES_MAX => Ok((code, octets)),
        length => Err(Refusal {
            what: format!("the value of `{key}` takes {length} octets"),
            instead: Some(format!("an option holds at most {OPTION_BYTES_MAX} octets")),
            name: false,
        }),
    }
}

/// The octets with which an option that a client sends is compared: in the option's type, also of those that only clients send.
pub(crate) fn match_value(definitions: &Definitions, code: u8, value: &Value) -> Result<Vec<u8>, Refusal> {
    let key = code.to_string();
    let found = find(definitions, &key)?;
    if let (Value::String(text), true) = (value, matches!(found.kind, Type::Text | Type::Hex) || is_hex(value)) {
        let octets = Octets::written(text).filter(|octets| !octets.0.is_empty());
        return octets.map(|octets| octets.0).ok_or_else(|| wrong_value(&key, Type::Hex, &value::found(value), value));
    }
    // One address or number of a list may be what it must be.
    let single = match found.kind {
        Type::Addresses => Type::Address,
        Type::U16s => Type::U16,
        kind => kind,
    };
    value::encode(single, value).map_err(|other| wrong_value(&key, single, &other, value))
}

/// Whether the value gives octets themselves.
fn is_hex(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with("hex:"))
}

/// The code of an option by its name or number.
pub(crate) fn code_of(definitions: &Definitions, key: &str) -> Result<u8, Refusal> {
    let found = find(definitions, key)?;
    match found.code {
        0 | 255 => Err(Refusal {
            what: format!("there is no option {key}"),
            instead: Some("option numbers go from 1 to 254".into()),
            name: true,
        }),
        code => Ok(code),
    }
}

/// Options of a lease that its queries have rules of their own for, and what every message has (RFC 4388 §6.4.2).
pub(crate) const TOLD_WITH_THE_LEASE: [u8; 9] = [51, 53, 54, 58, 59, 61, 82, 91, 92];

/// The name of an option that everybody knows.
pub(crate) fn known_name(code: u8) -> Option<&'static str> {
    table::by_code(code).map(|entry| entry.name)
}

/// Option 43, the one that may be written as a table of sub-options.
const VENDOR_ENCAPSULATED: u8 = 43;

/// What a name or number stands for.
struct Found {
    code: u8,
    name: String,
    kind: Type,
    refused: Option<&'static str>,
}

/// The octets that `hex:` lists; `None` where the text is no pairs of hexadecimal digits.
pub(crate) fn hex(digits: &str) -> Option<Vec<u8>> {
    value::hex(digits).ok()
}

fn find(definitions: &Definitions, key: &str) -> Result<Found, Refusal> {
    let unknown = |what, instead| Refusal { what, instead: Some(instead), name: true };
    let known = |entry: &table::Entry| Found {
        code: entry.code,
        name: entry.name.into(),
        kind: entry.kind,
        refused: entry.refused,
    };
    let own = |own: &Definition| Found { code: own.code, name: own.name.clone(), kind: own.kind(), refused: None };
    if key.bytes().all(|b| b.is_ascii_digit()) && !key.is_empty() {
        let code = key.parse::<u8>().map_err(|_| {
            unknown(
                format!("there is no option {key}"),
                "option numbers go from 1 to 254; 224 to 254 are free for private use".into(),
            )
        })?;
        let nameless = || Found { code, name: key.into(), kind: Type::Hex, refused: None };
        return Ok(definitions
            .coded(code)
            .map(own)
            .or_else(|| table::by_code(code).map(known))
            .unwrap_or_else(nameless));
    }
    if let Some(found) = definitions.named(key).map(own).or_else(|| table::by_name(key).map(known)) {
        return Ok(found);
    }
    let lower = key.to_ascii_lowercase().replace('_', "-");
    let meant = table::by_name(&lower).or_else(|| table::by_alias(&lower)).map(|entry| entry.name);
    let meant = meant.or_else(|| suggest::nearest(key, definitions.names()));
    Err(unknown(
        format!("unknown option `{key}`"),
        match meant {
            Some(name) => format!("did you mean `{name}`?"),
            None => "use a name from IANA's list in kebab case such as `domain-name-servers`, or a number with a value \"hex:…\"".into(),
        },
    ))
}

fn wrong_value(key: &str, kind: Type, found: &str, value: &Value) -> Refusal {
    let (takes, example) = match kind {
        Type::Address => ("an IPv4 address", "\"10.77.1.1\""),
        Type::Addresses => ("a list of IPv4 addresses", "[\"10.77.1.1\", \"10.77.1.2\"]"),
        Type::AddressPairs => ("a list of pairs of IPv4 addresses", "[\"10.9.0.1 10.77.1.1\"]"),
        Type::U8 => ("an integer from 0 to 255", "64"),
        Type::U16 => ("an integer from 0 to 65535", "1500"),
        Type::U32 => ("an integer from 0 to 4294967295", "3600"),
        Type::I32 => ("an integer from -2147483648 to 2147483647", "3600"),
        Type::U16s => ("a list of integers from 0 to 65535", "[576, 1500]"),
        Type::Bool => ("a boolean", "true"),
        Type::Text => ("a text that is not empty", "\"example\""),
        Type::Hex => ("octets in hexadecimal", "\"hex:0a0b\""),
        Type::Routes => ("a list of routes", "[\"10.0.0.0/8 via 10.77.1.1\"]"),
        Type::Domains => ("a list of domain names", "[\"example.com\", \"lab.example.com\"]"),
    };
    let key_written =
        if key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') { key.to_owned() } else { format!("{key:?}") };
    // The value itself in the right form, where it is plain what was meant.
    let meant = match (kind, value) {
        (Type::Hex, Value::String(text)) if (1..=32).contains(&text.len()) && !text.starts_with("hex:") => {
            Some(format!("for the text {text:?}: {key_written} = \"{}\"", value::to_hex(text.as_bytes())))
        }
        (
            Type::Addresses | Type::AddressPairs | Type::U16s | Type::Routes | Type::Domains,
            Value::String(_) | Value::Number(_),
        ) => {
            let list = Value::Array(vec![value.clone()]);
            value::encode(kind, &list).is_ok().then(|| format!("write a list: {key_written} = {list}"))
        }
        (Type::U8 | Type::U16 | Type::U32 | Type::I32, Value::String(text)) => {
            let number = text.parse::<i64>().ok().map(Value::from);
            number
                .filter(|number| value::encode(kind, number).is_ok())
                .map(|number| format!("without quotes: {key_written} = {number}"))
        }
        _ => None,
    };
    Refusal {
        what: format!("`{key}` takes {takes}, not {found}"),
        instead: Some(meant.unwrap_or_else(|| format!("for example: {key_written} = {example}"))),
        name: false,
    }
}

/// Name and value as they would be written; the inverse of [`encode`].
fn written(definitions: &Definitions, code: u8, octets: &[u8]) -> (String, Value) {
    let found = find(definitions, &code.to_string());
    let (name, kind) = found.map_or((code.to_string(), Type::Hex), |found| (found.name, found.kind));
    (name, value::write(kind, octets))
}
