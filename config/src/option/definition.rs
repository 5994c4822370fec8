//! [`Definitions`]: options that the configuration gives a name and a type, besides those that everybody knows.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::table::{self, Type};
use super::{OptionSet, OptionValueError, Refusal, check, refusal_error};

/// One `[[dhcpd.option]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Definition {
    /// 1 to 254; not one of the codes that have a name already.
    pub code: u8,
    /// Unique name in kebab case.
    pub name: String,
    /// The word of its type, one of those of [`Definition::types`].
    pub kind: &'static str,
    /// Whether it is a sub-option of option 43 (vendor-encapsulated-options) and not an option.
    pub vendor: bool,
}

impl Definition {
    /// A definition; `None` where there is no such type.
    pub(crate) fn new(code: u8, name: String, kind: &str, vendor: bool) -> Option<Self> {
        let (kind, _) = Type::WORDS.iter().find(|(word, _)| *word == kind)?;
        Some(Self { code, name, kind, vendor })
    }

    /// The words of all types.
    pub fn types() -> impl Iterator<Item = &'static str> {
        Type::WORDS.iter().map(|(word, _)| *word)
    }

    pub(super) fn kind(&self) -> Type {
        Type::WORDS.iter().find(|(word, _)| *word == self.kind).map_or(Type::Hex, |(_, kind)| *kind)
    }
}

/// The options that a configuration defines: names are unique, codes too (those of sub-options for themselves).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Definitions {
    own: Vec<Definition>,
}

impl Definitions {
    pub(crate) fn new(own: Vec<Definition>) -> Self {
        Self { own }
    }

    /// All, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Definition> {
        self.own.iter()
    }

    /// Code and value octets of one option; see [`super::encode`].
    ///
    /// # Errors
    /// As [`super::encode`].
    pub fn encode(&self, name_or_number: &str, value: &Value) -> Result<(u8, Vec<u8>), OptionValueError> {
        check(self, name_or_number, value).map_err(refusal_error)
    }

    /// The options of a request; see [`OptionSet::from_json`].
    ///
    /// # Errors
    /// As [`OptionSet::from_json`].
    pub fn options(&self, options: &BTreeMap<String, Value>) -> Result<OptionSet, OptionValueError> {
        OptionSet::read(self, options)
    }

    /// The code of an option by its name, which may also be a number.
    pub fn code(&self, name: &str) -> Option<u8> {
        let known = || table::by_name(name).map(|entry| entry.code);
        let number = || name.parse().ok().filter(|code| (1..=254).contains(code));
        self.named(name).map(|own| own.code).or_else(known).or_else(number)
    }

    /// What an option is called; its number where it has no name.
    pub fn name(&self, code: u8) -> String {
        let known = || super::known_name(code).map(str::to_owned);
        self.coded(code).map(|own| own.name.clone()).or_else(known).unwrap_or_else(|| code.to_string())
    }

    /// Every name of an option.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let own = self.own.iter().filter(|own| !own.vendor).map(|own| own.name.as_str());
        own.chain(table::OPTIONS.iter().map(|entry| entry.name))
    }

    /// What the file calls an option of that name.
    pub(super) fn named(&self, name: &str) -> Option<&Definition> {
        self.own.iter().find(|own| !own.vendor && own.name == name)
    }

    /// What the file calls an option of that code.
    pub(super) fn coded(&self, code: u8) -> Option<&Definition> {
        self.own.iter().find(|own| !own.vendor && own.code == code)
    }

    /// The sub-options of option 43.
    pub(super) fn vendor(&self) -> impl Iterator<Item = &Definition> {
        self.own.iter().filter(|own| own.vendor)
    }
}

/// The octets of option 43 from a table of sub-options, with the END that PXE wants after them (RFC 2132 §8.4).
pub(super) fn encapsulate(
    definitions: &Definitions,
    entries: &serde_json::Map<String, Value>,
) -> Result<Vec<u8>, Refusal> {
    let refuse = |what: String, instead: String| Refusal { what, instead: Some(instead), name: false };
    let mut options: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    for (key, value) in entries {
        let own = definitions.vendor().find(|own| own.name == *key);
        let number = || key.parse::<u8>().ok().filter(|code| (1..=254).contains(code));
        let Some(code) = own.map(|own| own.code).or_else(number) else {
            return Err(refuse(
                format!("unknown sub-option `{key}` of `vendor-encapsulated-options`"),
                "use a number from 1 to 254 with \"hex:…\", or define it: [[dhcpd.option]] with vendor = true".into(),
            ));
        };
        let own = own.or_else(|| definitions.vendor().find(|own| own.code == code));
        let kind = own.map_or(Type::Hex, Definition::kind);
        let octets = super::value::encode(kind, value).map_err(|found| super::wrong_value(key, kind, &found, value))?;
        if octets.len() > 255 {
            let what = format!("the value of `{key}` takes {} octets", octets.len());
            return Err(refuse(what, "a sub-option holds at most 255 octets".into()));
        }
        if options.insert(code, octets).is_some() {
            return Err(refuse(
                format!("sub-option {code} is given twice, by name and by number"),
                "remove one".into(),
            ));
        }
    }
    let mut octets: Vec<u8> =
        options.into_iter().flat_map(|(code, value)| [&[code, value.len() as u8][..], &value].concat()).collect();
    octets.push(255);
    Ok(octets)
}
