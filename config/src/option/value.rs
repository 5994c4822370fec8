//! One option's value between its written form (JSON, TOML) and its octets.
//!
//! [`encode`] undoes [`write`] exactly, so that an effective configuration can be printed and read again.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::domain;
use super::table::Type;
use crate::Subnet;

/// The value octets, or what kind of value was found instead of the right one.
pub(super) fn encode(kind: Type, value: &Value) -> Result<Vec<u8>, String> {
    if let Some(text) = value.as_str().and_then(|text| text.strip_prefix("hex:")) {
        let octets = hex(text)?;
        let well_formed = match kind {
            Type::Hex => true,
            _ => decode(kind, &octets).is_some(),
        };
        return if well_formed { Ok(octets) } else { Err(format!("{} octets that form no such value", octets.len())) };
    }
    let mut octets = Vec::new();
    match kind {
        Type::Address => octets.extend(address(value)?.octets()),
        Type::Addresses => each(value, &mut octets, |item| Ok(address(item)?.octets().to_vec()))?,
        Type::AddressPairs => each(value, &mut octets, pair)?,
        Type::U8 => octets.push(integer(value, 0, i64::from(u8::MAX))? as u8),
        Type::U16 => octets.extend((integer(value, 0, i64::from(u16::MAX))? as u16).to_be_bytes()),
        Type::U32 => octets.extend((integer(value, 0, i64::from(u32::MAX))? as u32).to_be_bytes()),
        Type::I32 => octets.extend((integer(value, i64::from(i32::MIN), i64::from(i32::MAX))? as i32).to_be_bytes()),
        Type::U16s => {
            each(value, &mut octets, |item| Ok((integer(item, 0, i64::from(u16::MAX))? as u16).to_be_bytes().to_vec()))?
        }
        Type::Bool => octets.push(u8::from(value.as_bool().ok_or_else(|| found(value))?)),
        Type::Text => octets.extend(text(value)?.as_bytes()),
        Type::Hex => return Err(found(value)),
        Type::Routes => each(value, &mut octets, route)?,
        Type::Domains => octets = domain::encode(&strings(value)?)?,
    }
    Ok(octets)
}

/// The written form of octets; `None` where they are not such a value.
pub(super) fn decode(kind: Type, octets: &[u8]) -> Option<Value> {
    Some(match kind {
        Type::Address => json!(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?)),
        Type::Addresses => json!(addresses(octets)?),
        Type::AddressPairs => {
            let addresses = addresses(octets).filter(|all| all.len().is_multiple_of(2))?;
            json!(addresses.chunks(2).map(|pair| format!("{} {}", pair[0], pair[1])).collect::<Vec<_>>())
        }
        Type::U8 => json!(<[u8; 1]>::try_from(octets).ok()?[0]),
        Type::U16 => json!(u16::from_be_bytes(octets.try_into().ok()?)),
        Type::U32 => json!(u32::from_be_bytes(octets.try_into().ok()?)),
        Type::I32 => json!(i32::from_be_bytes(octets.try_into().ok()?)),
        Type::U16s if !octets.is_empty() && octets.len().is_multiple_of(2) => {
            json!(octets.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect::<Vec<_>>())
        }
        Type::Bool => match octets {
            [0] => json!(false),
            [1] => json!(true),
            _ => return None,
        },
        Type::Text => json!(std::str::from_utf8(octets).ok().filter(|text| !text.is_empty() && !text.contains('\0'))?),
        Type::Routes => json!(routes(octets)?),
        Type::Domains => json!(domain::decode(octets)?),
        Type::Hex | Type::U16s => return None,
    })
}

/// The octets as they are written: in their type where reading that gives the same octets again, else in hexadecimal.
pub(super) fn write(kind: Type, octets: &[u8]) -> Value {
    let plain = decode(kind, octets).filter(|value| encode(kind, value).is_ok_and(|again| again == octets));
    plain.unwrap_or_else(|| json!(to_hex(octets)))
}

/// `hex:` and the octets.
pub(super) fn to_hex(octets: &[u8]) -> String {
    octets.iter().fold(String::from("hex:"), |text, octet| text + &format!("{octet:02x}"))
}

/// Octets from hexadecimal digits; spaces and colons between octets are fine.
pub(super) fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text.bytes().filter(|b| !matches!(b, b' ' | b':')).collect();
    let octet = |pair: &[u8]| {
        let digit = |b: u8| char::from(b).to_digit(16);
        Some((digit(*pair.first()?)? * 16 + digit(*pair.get(1)?)?) as u8)
    };
    match digits.chunks(2).map(octet).collect::<Option<Vec<u8>>>() {
        Some(octets) if !octets.is_empty() => Ok(octets),
        _ => Err("`hex:` without pairs of hexadecimal digits after it".into()),
    }
}

/// What kind of value that is, in the words of TOML; short ones are quoted.
pub(super) fn found(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(is) => format!("the boolean {is}"),
        Value::Number(number) if number.is_f64() => format!("the float {number}"),
        Value::Number(number) => format!("the integer {number}"),
        Value::String(text) if text.len() <= 64 => format!("the string {value}"),
        Value::String(_) => "a string".into(),
        Value::Array(items) if items.is_empty() => "an empty list".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a table".into(),
    }
}

//= https://www.rfc-editor.org/rfc/rfc2132#section-3.5
//# Routers SHOULD be listed in order of preference.
fn each(value: &Value, octets: &mut Vec<u8>, one: impl Fn(&Value) -> Result<Vec<u8>, String>) -> Result<(), String> {
    let items = value.as_array().filter(|items| !items.is_empty()).ok_or_else(|| found(value))?;
    for item in items {
        octets.extend(one(item)?);
    }
    Ok(())
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().filter(|text| !text.is_empty() && !text.contains('\0')).ok_or_else(|| found(value))
}

fn strings(value: &Value) -> Result<Vec<&str>, String> {
    let items = value.as_array().filter(|items| !items.is_empty()).ok_or_else(|| found(value))?;
    items.iter().map(text).collect()
}

//= https://www.rfc-editor.org/rfc/rfc2132#section-3.5
//# The minimum length for the router option is 4 octets, and the length MUST always be a multiple of 4.
fn address(value: &Value) -> Result<Ipv4Addr, String> {
    value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| found(value))
}

//= https://www.rfc-editor.org/rfc/rfc8925#section-3.1
//# The server MUST set the length field to 4.
//= https://www.rfc-editor.org/rfc/rfc8925#section-3.1
//# If the server pool is explicitly configured with a V6ONLY_WAIT timer, the server MUST set the field to that configured value.
fn integer(value: &Value, min: i64, max: i64) -> Result<i64, String> {
    value.as_i64().filter(|number| (min..=max).contains(number)).ok_or_else(|| found(value))
}

/// `10.0.0.0 10.77.1.1`: two addresses.
fn pair(value: &Value) -> Result<Vec<u8>, String> {
    let both: Option<Vec<Ipv4Addr>> =
        value.as_str().and_then(|text| text.split_whitespace().map(|word| word.parse().ok()).collect());
    match both.as_deref() {
        Some([first, second]) => Ok([first.octets(), second.octets()].concat()),
        _ => Err(found(value)),
    }
}

/// `10.0.0.0/8 via 10.77.1.1`: RFC 3442, the destination's significant octets only.
fn route(value: &Value) -> Result<Vec<u8>, String> {
    let parts = value.as_str().and_then(|text| text.split_once(" via "));
    let (network, router) = parts.ok_or_else(|| found(value))?;
    let network: Subnet = network.trim().parse().map_err(|_| found(value))?;
    let router: Ipv4Addr = router.trim().parse().map_err(|_| found(value))?;
    if network.trunc() != network {
        return Err(format!("{}, whose host bits are not zero", found(value)));
    }
    let significant = usize::from(network.prefix_len().div_ceil(8));
    Ok([&[network.prefix_len()], &network.network().octets()[..significant], &router.octets()].concat())
}

fn addresses(octets: &[u8]) -> Option<Vec<Ipv4Addr>> {
    let whole = !octets.is_empty() && octets.len().is_multiple_of(4);
    whole.then(|| octets.chunks(4).map(|four| Ipv4Addr::new(four[0], four[1], four[2], four[3])).collect())
}

fn routes(mut octets: &[u8]) -> Option<Vec<String>> {
    let mut routes = Vec::new();
    while let Some((&prefix, rest)) = octets.split_first() {
        let (significant, rest) = rest.split_at_checked(usize::from(prefix.div_ceil(8)))?;
        let (router, rest) = rest.split_first_chunk::<4>()?;
        let mut network = [0; 4];
        network.get_mut(..significant.len())?.copy_from_slice(significant);
        routes.push(format!("{} via {}", Subnet::new(network.into(), prefix).ok()?, Ipv4Addr::from(*router)));
        octets = rest;
    }
    (!routes.is_empty()).then_some(routes)
}
