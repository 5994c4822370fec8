//! `reveille token`, and commands that reach dhcpd over TLS with one.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reveille_lab::Deadline;
use serde_json::json;

use crate::site::{REVEILLE, Ran, Site};

/// Writes a certificate of its own for 10.77.2.1, and what signed it.
pub fn certificate(directory: &Path) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["10.77.2.1".into()]).unwrap().signed_by(&key, &issuer).unwrap();
    for (name, text) in [("ca.crt", issuer.pem()), ("api.crt", own.pem()), ("api.key", key.serialize_pem())] {
        write(&directory.join(name), &text, 0o600);
    }
}

pub fn write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_conductor_elsewhere_uses_a_token_over_tls() {
    let site = Site::new();
    certificate(site.dir());
    let dir = site.dir().display().to_string();
    let table = format!(
        "[dhcpd.api]\nlisten = [\"https://10.77.2.1:7671\", \"127.0.0.1:7671\", \"unix:{dir}/dhcpd.sock\"]\n\
         [dhcpd.api.tls]\ncertificate = \"{dir}/api.crt\"\nkey = \"{dir}/api.key\"\n\n[[dhcpd.scope]]\nname = \"bmc\""
    );
    site.edit(&format!("api = [\"unix:{dir}/dhcpd.sock\"]\nworkers = 1\n\n[[dhcpd.scope]]\nname = \"bmc\""), &table);
    let _dhcpd = site.start("dhcpd", &[]);

    // The unix socket is the nearest of the three, whose file says who may.
    assert_eq!(site.run(&["token", "list"]).out(), "no tokens\n");
    let token = site.run(&["token", "create", "ironic", "--role", "read", "--days", "30"]).out();
    assert!(token.starts_with("rvl_") && token.trim_end().len() == 4 + 8 + 1 + 64, "{} octets", token.len());
    let file = site.dir().join("token");
    write(&file, &token, 0o600);
    let listed = site.run(&["token", "list", "--json"]).json();
    assert_eq!((&listed[0]["name"], &listed[0]["role"]), (&json!("ironic"), &json!("read")));
    assert!(!listed.to_string().contains(token.trim_end()));
    assert!(site.run(&["token", "list"]).out().contains("ironic"));

    let elsewhere = |args: &[&str]| -> Ran {
        let program = site.networks.host().program(REVEILLE).args(args).args(["--ca", &format!("{dir}/ca.crt")]);
        let output = program.output(Deadline::secs(60)).unwrap();
        Ran { code: output.status.code(), out: output.stdout, err: output.stderr }
    };
    let tls = ["--api", "https://10.77.2.1:7671"];
    let with = ["--token-file", file.to_str().unwrap()];
    assert_eq!(elsewhere(&[&["lease", "list"][..], &tls, &with].concat()).out(), "no leases\n");
    for to in [tls, ["--api", "127.0.0.1:7671"]] {
        let error = elsewhere(&[&["lease", "list"][..], &to].concat()).error();
        assert!(error.contains("a token is expected"), "{error}");
        let error = elsewhere(&[&["events", "dhcpd"][..], &to].concat()).error();
        assert!(error.contains("a token is expected"), "{error}");
    }
    let error = elsewhere(&[&["reservation", "delete", "52:54:00:aa:00:01"][..], &tls, &with].concat()).error();
    assert!(error.contains("needs the role write; yours is read"), "{error}");
    write(&file, &token, 0o644);
    let error = elsewhere(&[&["lease", "list"][..], &tls, &with].concat()).error();
    assert!(error.contains("everybody on this host can read the token"), "{error}");
    write(&file, &token, 0o600);
    let id = listed[0]["id"].as_str().unwrap();
    assert_eq!(site.run(&["token", "revoke", id]).out(), "");
    let error = elsewhere(&[&["lease", "list"][..], &tls, &with].concat()).error();
    assert!(error.contains("unknown, revoked or over") && !error.contains(token.trim_end()), "{error}");
    let error = elsewhere(&[&["events", "dhcpd"][..], &tls, &with].concat()).error();
    assert!(error.contains("unknown, revoked or over") && !error.contains(token.trim_end()), "{error}");
}
