//! What a service says besides its resources: links, errors, nonsense.

use serde_json::Value;

/// Characters of a service's words that are kept.
const WORDS_MAX: usize = 300;
/// Octets of a path.
const PATH_BYTES_MAX: usize = 1_024;

/// The path that a link or a `Location` leads to, of an absolute URL without what comes before: whatever it says, we go nowhere else than to the
/// service that said it. `None`: it is no path.
pub fn path(link: &str) -> Option<&str> {
    let path = match link.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => link,
    };
    let is_path = path.starts_with('/') && path.len() <= PATH_BYTES_MAX;
    let is_of_a_path = |byte: u8| byte.is_ascii_graphic() && !b"#\"\\<>^`{|}".contains(&byte);
    (is_path && path.bytes().all(is_of_a_path)).then_some(path)
}

/// The path in a resource's `name: {"@odata.id": …}`.
pub fn linked<'a>(resource: &'a Value, name: &str) -> Option<&'a str> {
    path(resource.get(name)?.get("@odata.id")?.as_str()?)
}

/// What an error's body says (DSP0266, 8.6), or the text that stands there in its place, in one bounded line without `secret`.
pub fn message(body: &Value, secret: Option<&str>) -> String {
    if let Value::String(text) = body {
        return one_line(text, WORDS_MAX, secret);
    }
    let error = &body["error"];
    let details = error["@Message.ExtendedInfo"].as_array().into_iter().flatten();
    let details: Vec<&str> = details.filter_map(|detail| detail["Message"].as_str()).collect();
    let words = match details.is_empty() {
        true => error["message"].as_str().unwrap_or_default().to_owned(),
        false => details.join(" "),
    };
    one_line(&words, WORDS_MAX, secret)
}

/// How something begins that is not what it should be.
pub fn begins(body: &[u8], secret: Option<&str>) -> String {
    one_line(&String::from_utf8_lossy(&body[..body.len().min(WORDS_MAX)]), 60, secret)
}

fn one_line(words: &str, chars_max: usize, secret: Option<&str>) -> String {
    let words = match secret.filter(|secret| !secret.is_empty()) {
        Some(secret) => words.replace(secret, "******"),
        None => words.to_owned(),
    };
    let line: String = words.chars().take(chars_max).map(|c| if c.is_control() { ' ' } else { c }).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn links_lead_nowhere_else() {
        let cases = [
            ("/redfish/v1/Systems/1", Some("/redfish/v1/Systems/1")),
            ("https://10.0.0.1/redfish/v1/Tasks/7?x=1", Some("/redfish/v1/Tasks/7?x=1")),
            ("https://evil.example.org/a", Some("/a")),
            ("https://10.0.0.1", None),
            ("redfish/v1", None),
            ("", None),
            ("/a b", None),
            ("/a\r\nX-Auth-Token: y", None),
        ];
        for (link, expected) in cases {
            assert_eq!(path(link), expected, "{link}");
        }
        assert_eq!(path(&format!("/{}", "a".repeat(PATH_BYTES_MAX))), None);
        assert_eq!(linked(&json!({ "Bios": { "@odata.id": "/b" }, "Memory": 7 }), "Bios"), Some("/b"));
        assert_eq!(linked(&json!({ "Memory": { "@odata.id": 7 } }), "Memory"), None);
    }

    #[test]
    fn words_are_one_line_without_the_password() {
        let body = json!({ "error": { "message": "See ExtendedInfo", "@Message.ExtendedInfo": [
            { "Message": "The password hunter2\nis wrong." }, { "MessageId": "Base.1.0" }, { "Message": "Go away." }] } });
        assert_eq!(message(&body, Some("hunter2")), "The password ****** is wrong. Go away.");
        assert_eq!(message(&json!({ "error": { "message": "no" } }), None), "no");
        assert_eq!(message(&json!([1]), None), "");
        assert_eq!(message(&json!("No such\nmedia"), None), "No such media");
        assert_eq!(begins(b"<html>\r\n<body>hunter2", Some("hunter2")), "<html>  <body>******");
        assert!(begins(&[b'x'; 5_000], None).len() <= 60);
    }
}
