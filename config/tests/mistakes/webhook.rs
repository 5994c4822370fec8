//! Mistakes in `[[dhcpd.webhook]]`, `[[bootd.webhook]]` and `[[provisioner.webhook]]`.

use super::row;

const URL: &str = "url = \"https://cmdb.example.net/hook\"";
const SECRET: &str = "secret = { file = \"/etc/reveille/hook\" }";

/// dhcpd with a web hook of these lines, in place of its threads.
fn hook(lines: &[&str], words: &[(&str, &str)]) {
    let to = format!("workers = 2\n[[dhcpd.webhook]]\n{}\n", lines.join("\n"));
    row("workers = 2", &to, words);
}

#[test]
fn each_key_of_a_web_hook() {
    let name = "name = \"cmdb\"";
    hook(&[name, URL, SECRET], &[]);
    hook(&[name, URL, "secret = [{ file = \"/etc/reveille/hook\" }, { file = \"/etc/reveille/hook\" }]"], &[]);
    for (line, what, instead) in [
        ("kind = [¦\"bond\"]", "there is no `bond`", "did you mean `bound`?"),
        ("kind = [¦\"offered\"]", "a web hook is not told of it", "there are: bound, renewed"),
        ("scope = [¦\"provisionin\"]", "there is no `provisionin`", "did you mean `provisioning`?"),
        ("mac = [¦\"52:54\"]", "`52:54` is not a hardware address", ""),
        ("kind = ¦[]", "`kind` is an empty list", ""),
        ("batch = ¦0", "out of bounds", "from 1 to 1000 events"),
        ("timeout_secs = ¦61", "out of bounds", "from 1 to 60 seconds"),
        ("ca = ¦\"/etc/reveille/gone.crt\"", "cannot be found", "PEM"),
        ("¦token = 1", "unknown key `token`", "known here"),
    ] {
        hook(&[name, URL, SECRET, line], &[(what, instead)]);
    }
    for (url, what) in [
        ("url = ¦\"ftp://cmdb.example.net/\"", "has the scheme `ftp`"),
        ("url = ¦\"https://me:secret@cmdb.example.net/\"", "contains a user name"),
        ("url = ¦\"https://cmdb.example.net/#a\"", "has a fragment"),
    ] {
        hook(&[name, url, SECRET], &[(what, "")]);
    }
    for (secret, what, instead) in [
        ("secret = ¦\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"", "must not stand in this file", "secret = { file ="),
        ("secret = ¦{ file = \"/etc/reveille/hosts\" }", "cannot read the file", ""),
        ("secret = ¦{ file = \"/etc/reveille/short-hook\" }", "holds no secret of a web hook", "whsec_$(head -c 32"),
        ("secret = ¦{ file = \"/etc/reveille/bmc-password\" }", "holds no secret of a web hook", "whsec_"),
        ("secret = ¦[]", "there are 0 secrets", "up to 4"),
    ] {
        hook(&[name, URL, secret], &[(what, instead)]);
    }
    hook(&["name = ¦\"a b\"", URL, SECRET], &[("is not the name of a web hook", "")]);
    let plain = "url = \"http://127.0.0.1/\"";
    hook(&[name, plain, SECRET, "ca = ¦\"/etc/hosts\""], &[("no certificates without TLS", "")]);
    let second = format!("[[dhcpd.webhook]]\nname = ¦\"cmdb\"\n{URL}\n{SECRET}");
    hook(&[name, URL, SECRET, &second], &[("two web hooks called `cmdb`", "a name of its own")]);
}

#[test]
fn every_daemon_has_them() {
    let keys = format!("name = \"a\"\n{URL}\n{SECRET}\n");
    let to = format!("[[bootd.webhook]]\n{keys}[[provisioner.webhook]]\n{keys}[provisioner.ipmi]");
    row("[provisioner.ipmi]", &to, &[]);
}
