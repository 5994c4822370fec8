//! Host ranges: `10.1.0.[1-200]`, `10.1.[0-3].[1-254]:6230`, `[fd77::1]:623`, `a,b`.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, bail};

/// Hosts that one command may name.
const HOSTS_MAX: usize = 100_000;
/// The UDP port of IPMI over LAN.
const IPMI_PORT: u16 = 623;

/// The addresses that these arguments name, each once, in their order.
///
/// # Errors
/// What is wrong with which argument.
pub fn expand(arguments: &[String]) -> anyhow::Result<Vec<SocketAddr>> {
    let mut found = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for argument in arguments.iter().flat_map(|argument| parts(argument)) {
        for host in ranges(argument).with_context(|| format!("{argument:?} is not a host or a range of hosts"))? {
            let address = address(&host)?;
            if seen.insert(address) {
                found.push(address);
            }
            if found.len() > HOSTS_MAX {
                bail!("these are more than {HOSTS_MAX} hosts");
            }
        }
    }
    Ok(found)
}

/// At commas that are not inside brackets.
fn parts(argument: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    argument.split(move |c: char| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

/// Every host of a pattern: a bracket holds numbers and ranges of numbers; one that holds an IPv6 address is left as it is.
fn ranges(pattern: &str) -> anyhow::Result<Vec<String>> {
    let is_range = |inside: &str| inside.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | ','));
    let mut from = 0;
    loop {
        let Some(open) = pattern[from..].find('[').map(|at| from + at) else { return Ok(vec![pattern.to_owned()]) };
        let close = pattern[open..].find(']').map(|at| open + at).context("a `[` has no `]`")?;
        let inside = &pattern[open + 1..close];
        if !is_range(inside) {
            from = close + 1;
            continue;
        }
        let mut hosts = Vec::new();
        let rests = ranges(&pattern[close + 1..])?;
        for number in numbers(inside)? {
            for rest in &rests {
                hosts.push(format!("{}{number}{rest}", &pattern[..open]));
                if hosts.len() > HOSTS_MAX {
                    bail!("these are more than {HOSTS_MAX} hosts");
                }
            }
        }
        return Ok(hosts);
    }
}

/// `1-3,7` → 1, 2, 3, 7; leading zeros are kept out, as in addresses.
fn numbers(list: &str) -> anyhow::Result<Vec<u32>> {
    let mut found = Vec::new();
    for item in list.split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let number = |text: &str| text.parse::<u32>().with_context(|| format!("[{list}] is not a range of numbers"));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            bail!("[{list}] runs backwards");
        }
        if (last - first) as usize >= HOSTS_MAX {
            bail!("[{list}] has more than {HOSTS_MAX} numbers");
        }
        found.extend(first..=last);
    }
    Ok(found)
}

fn address(host: &str) -> anyhow::Result<SocketAddr> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, IPMI_PORT));
    }
    host.parse().map_err(|_| anyhow::anyhow!("{host:?} is not an IP address, with or without a port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(arguments: &[&str]) -> Result<String, String> {
        let arguments: Vec<_> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let list = expand(&arguments).map_err(|error| format!("{error:#}"))?;
        Ok(list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn ranges_become_addresses() {
        let cases: [(&[&str], &str); 7] = [
            (&["10.1.0.7"], "10.1.0.7:623"),
            (&["10.1.0.[1-3]"], "10.1.0.1:623 10.1.0.2:623 10.1.0.3:623"),
            (&["10.1.0.[1,5-6]:6230"], "10.1.0.1:6230 10.1.0.5:6230 10.1.0.6:6230"),
            (&["10.1.[0-1].[1-2]"], "10.1.0.1:623 10.1.0.2:623 10.1.1.1:623 10.1.1.2:623"),
            (&["10.1.0.1,10.1.0.2", "10.1.0.1"], "10.1.0.1:623 10.1.0.2:623"),
            (&["fd77::1", "[fd77::1]:6230"], "[fd77::1]:623 [fd77::1]:6230"),
            (&["127.0.0.1:[6230-6231]"], "127.0.0.1:6230 127.0.0.1:6231"),
        ];
        for (arguments, expected) in cases {
            assert_eq!(expanded(arguments).as_deref(), Ok(expected), "{arguments:?}");
        }
    }

    #[test]
    fn what_is_no_range_is_told_so() {
        let cases = [
            ("10.1.0.[1-", "has no `]`"),
            ("10.1.0.[5-1]", "runs backwards"),
            ("10.1.0.[1-x]", "is not an IP address"),
            ("10.1.0.[]", "is not a range of numbers"),
            ("10.1.0.[1-300]", "\"10.1.0.256\" is not an IP address"),
            ("10.1.0.[0-4000000000]", "more than 100000"),
            ("[0-999].[0-999].0.1", "more than 100000 hosts"),
            ("bmc7.example.org", "is not an IP address"),
        ];
        for (argument, words) in cases {
            let error = expanded(&[argument]).unwrap_err();
            assert!(error.contains(words), "{argument}: {error}");
        }
    }
}
