//! `reveille image`: temporary URLs.

use std::os::unix::fs::PermissionsExt as _;

use crate::site::reveille;

#[test]
fn a_temporary_url_is_made_from_the_configuration_or_from_a_key_file_and_never_shows_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let (key, config) = (dir.path().join("key"), dir.path().join("reveille.toml"));
    std::fs::write(&key, "mykey\n").unwrap();
    let mode = |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o600);
    let table = "[bootd]\nroots = [\"/\"]\nhttp = [\"10.77.2.1:8080\"]\n[bootd.temp_url]\nguard = [\"images\"]\n";
    std::fs::write(&config, format!("{table}keys = [{{ file = {key:?} }}]\n")).unwrap();
    let (key, config) = (key.to_str().unwrap(), config.to_str().unwrap());
    let until = "2011-12-10T01:11:25Z";
    let make = |more: &[&str]| {
        reveille(&[&["image", "temp-url", "--until", until, "v1/AUTH_account/container/object"], more].concat())
    };
    let signature = "05cb4ea08a08f2fdaef35d0f344975370077835c23bdc9342099ecbf03bc0378";
    let expected = |base: &str| {
        format!("{base}/v1/AUTH_account/container/object?temp_url_sig={signature}&temp_url_expires=1323479485")
    };
    assert_eq!(make(&["--config", config]).out().trim(), expected("http://10.77.2.1:8080"));
    let elsewhere = make(&["--key-file", key, "--url", "https://swift.example.net/"]);
    assert_eq!(elsewhere.out().trim(), expected("https://swift.example.net"));
    let json: serde_json::Value = make(&["--config", config, "--json"]).json();
    assert_eq!(json["expires_unix"], 1_323_479_485_u64);
    let old = make(&["--config", config, "--algorithm", "sha1"]).out();
    assert!(old.contains("d9fc2067e52b06598421664cf6610bfc8fc431f6"), "{old}");
    for (wrong, words) in [
        (&["--ip-range", "10.0.0.1/24"][..], "neither an address nor a network"),
        (&["--prefix", "other"], "does not begin so"),
    ] {
        let error = make(&[&["--config", config], wrong].concat()).error();
        assert!(error.contains(words) && !error.contains("mykey"), "{error}");
    }
    mode(0o644);
    let error = make(&["--key-file", key, "--url", "http://x"]).error();
    assert!(error.contains("everybody on this host can read the key"), "{error}");
}
