//! Mistakes in `[bootd.temp_url]` and `[provisioner.temp_url]`.

use super::row;

const KEY: &str = "{ file = \"/etc/reveille/bmc-password\" }";

fn bootd(lines: &str, words: &[(&str, &str)]) {
    row("[provisioner]\n", &format!("[bootd.temp_url]\n{lines}\n[provisioner]\n"), words);
}

fn provisioner(lines: &str, words: &[(&str, &str)]) {
    row("[provisioner.ipmi]", &format!("[provisioner.temp_url]\n{lines}\n[provisioner.ipmi]"), words);
}

#[test]
fn each_key() {
    bootd(&format!("keys = [{KEY}, {KEY}]\nguard = [\"images/private\", \"v1\"]"), &[]);
    bootd(&format!("keys = {KEY}\nguard = [\"images\"]"), &[]);
    for (lines, what, instead) in [
        ("keys = ¦\"hunter2\"\nguard = [\"a\"]".to_owned(), "must not stand in this file", "keys = { file ="),
        (format!("keys = ¦[{KEY}, {KEY}, {KEY}]\nguard = [\"a\"]"), "there are 3 keys", "one, or 2"),
        (format!("keys = {KEY}\nguard = ¦[]"), "`guard` is an empty list", "images/private"),
        (format!("keys = {KEY}\nguard = [¦\"/images\"]"), "is not a path below", "without a leading `/`"),
        (format!("keys = {KEY}\nguard = [¦\"a/../b\"]"), "is not a path below", ""),
        (format!("keys = {KEY}\nguard = [\"a\"]\n¦method = \"GET\""), "unknown key `method`", "known here"),
    ] {
        bootd(&lines, &[(what, instead)]);
    }
    provisioner(&format!("key = {KEY}\nurls = [\"https://swift.example.net/v1/AUTH_a/c/\"]"), &[]);
    for (lines, what, instead) in [
        (format!("key = {KEY}\nduration_secs = ¦1"), "out of bounds", "from 10 to 604800 seconds"),
        (format!("key = {KEY}\nurls = [¦\"http://swift.example.net\"]"), "beginning of other names", "example.net/\""),
        (format!("key = {KEY}\nurls = [¦\"http://swift.example.net/?a/\"]"), "has a query", "end it before"),
        (format!("key = {KEY}\nurls = [¦\"swift/\"]"), "is not a URL", "https://"),
    ] {
        provisioner(&lines, &[(what, instead)]);
    }
    row(
        "[provisioner]\n",
        "¦[bootd.temp_url]\nguard = [\"a\"]\n[provisioner]\n",
        &[("`keys` is missing in `bootd.temp_url`", "keys = [{ file =")],
    );
}
