//! Mistakes in `dhcpd` of `[provisioner]`: where it is, whom to trust there, and what to show.

use super::row;

const URL: &str = "url = \"https://dhcp1.example.net:7671\"";
const CA: &str = "ca = \"/etc/reveille/api.crt\"";
const TOKEN: &str = "token = { file = \"/etc/reveille/bmc-password\" }";
const CERTIFICATE: &str = "certificate = \"/etc/reveille/api.crt\"";
const KEY: &str = "key = \"/etc/reveille/api.key\"";

/// The right file with these lines in `[provisioner]`.
fn provisioner(lines: &[&str], words: &[(&str, &str)]) {
    row("[provisioner.ipmi]", &format!("{}\n[provisioner.ipmi]", lines.join("\n")), words);
}

#[test]
fn where_dhcpd_is_and_what_it_is_shown() {
    let table = "[provisioner.dhcpd]";
    for right in [
        &["dhcpd = \"127.0.0.1:7671\""][..],
        &["dhcpd = \"unix:/run/dhcpd.sock\""],
        &[table, URL, CA, TOKEN],
        &[table, URL, CA, CERTIFICATE, KEY],
        &[table, URL, CA, TOKEN, CERTIFICATE, KEY],
        &[table, "url = \"unix:/run/dhcpd.sock\"", TOKEN],
        &[table, "url = \"127.0.0.1:7671\"", TOKEN],
    ] {
        provisioner(right, &[]);
    }
    let marked = "¦[provisioner.dhcpd]";
    for (lines, what, instead) in [
        (&["dhcpd = ¦\"https://dhcp1.example.net:7671\""][..], "cannot be trusted", "write [provisioner.dhcpd]"),
        (&["dhcpd = ¦7671"], "`dhcpd` is an integer", ""),
        (&[marked, CA, TOKEN], "`url` is missing in `provisioner.dhcpd`", "add: url = \"https://"),
        (&[marked, URL, TOKEN], "`ca` is missing in `provisioner.dhcpd`", "add: ca ="),
        (&[marked, URL, CA], "neither a token nor a certificate", "reveille token create"),
        (&[marked, URL, CA, CERTIFICATE], "goes with its key", "key = "),
        (&[marked, URL, CA, KEY], "with its certificate", "certificate = "),
        (&[table, "url = ¦\"10.77.1.1:7671\"", TOKEN], "for everybody to read", "\"https://10.77.1.1:7671\""),
        (&[table, "url = \"unix:/run/d.sock\"", "ca = ¦\"/etc/reveille/api.crt\"", TOKEN], "without TLS", "leave `ca`"),
        (&[table, URL, CA, "token = ¦\"rvl_secret\""], "must not stand in this file", "token = {"),
        (&[table, URL, CA, "token = ¦{ file = \"/etc/hosts\" }"], "everybody on this host can read", ""),
        (&[table, URL, "ca = ¦\"/etc/reveille/gone.crt\"", TOKEN], "cannot be found", "PEM"),
        (&[table, URL, CA, CERTIFICATE, "key = ¦\"/etc/hosts\""], "everybody on this host", "chmod o="),
        (&[table, URL, CA, TOKEN, "¦tokens = 1"], "unknown key `tokens`", "did you mean `token`?"),
    ] {
        provisioner(lines, &[(what, instead)]);
    }
}

#[test]
fn a_dhcpd_of_the_same_file_that_has_tls_alone_is_not_found_by_itself() {
    let listen = "[dhcpd.api]\nlisten = [\"https://10.77.1.1:7671\"]\n[dhcpd.api.tls]\n\
        certificate = \"/etc/reveille/api.crt\"\nkey = \"/etc/reveille/api.key\"\n[dhcpd.journal]";
    let text = super::RIGHT.replace("api = [\"unix:/run/reveille/dhcpd.sock\"]\n", "");
    let text = text.replace("workers = 2\n", &format!("workers = 2\n{listen}\n"));
    let marked = text.replace("[provisioner]", "¦[provisioner]");
    super::check(&marked, &[("reached over TLS alone", "write [provisioner.dhcpd]")]);
    let own = format!("[provisioner.dhcpd]\n{URL}\n{CA}\n{TOKEN}\n[provisioner.ipmi]");
    super::check(&text.replace("[provisioner.ipmi]", &own), &[]);
}
