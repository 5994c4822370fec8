//! `reveille image`: images of a root, and temporary URLs.

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

#[test]
fn images_are_added_listed_verified_removed_and_collected() {
    let dir = tempfile::tempdir().unwrap();
    let (root, file) = (dir.path().join("root"), dir.path().join("os.raw"));
    std::fs::create_dir(&root).unwrap();
    std::fs::write(&file, "abc").unwrap();
    let (root_path, file) = (root.to_str().unwrap(), file.to_str().unwrap());
    let image = |args: &[&str]| reveille(&[&["image", "--root", root_path], args].concat());
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(image(&["list"]).out(), "no images\n");
    let wrong = image(&["add", file, "--name", "os.raw", "--sha256", &abc.replace('b', "0")]).error();
    assert!(wrong.contains(abc) && wrong.contains("nothing was added"), "{wrong}");
    assert_eq!(image(&["list"]).out(), "no images\n");
    let said = image(&["add", file, "--name", "os.raw", "--sha256", &format!("sha256:{abc}")]).out();
    assert_eq!(said, format!("images/os.raw is sha256:{abc}\n"));
    assert_eq!(std::fs::read_to_string(root.join("images/os.raw")).unwrap(), "abc");
    let listed = image(&["list", "--json"]).json();
    assert_eq!((listed[0]["sha256"].as_str(), listed[0]["bytes"].as_u64()), (Some(abc), Some(3)));
    assert_eq!(listed[0]["names"], serde_json::json!(["os.raw"]));
    assert_eq!(image(&["verify", "--json"]).json()[0]["good"], true);
    let gone = image(&["remove", "gone"]).error();
    assert!(gone.contains("there is no image gone"), "{gone}");
    image(&["remove", "os.raw"]).out();
    assert_eq!(image(&["gc", "--json"]).json(), serde_json::json!([]), "it is young");
    assert_eq!(image(&["gc", "--older-than", "0", "--json"]).json()[0]["sha256"], abc);
    assert_eq!(image(&["list"]).out(), "no images\n");
    // What the disk has changed is seen.
    image(&["add", file, "--name", "os.raw"]).out();
    let path = root.join("images/sha256").join(abc);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "abd").unwrap();
    let ran = image(&["verify", "os.raw"]);
    assert!(ran.code == Some(1) && ran.out.contains("DAMAGED"), "{ran:?}");
}

#[test]
fn an_image_comes_from_a_url_whole_or_not_at_all() {
    use std::io::{Read as _, Write as _};
    let dir = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 30\r\nConnection: close\r\n\r\nabc",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ] {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4_096]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let add = |name: &str| {
        let url = format!("{base}/os.raw?temp_url_sig=secret");
        reveille(&["image", "add", "--root", dir.path().to_str().unwrap(), &url, "--name", name])
    };
    assert!(add("whole").out().starts_with("images/whole is sha256:ba7816bf"));
    for (name, words) in [("half", "cannot fetch"), ("none", "404")] {
        let error = add(name).error();
        assert!(error.contains(words) && !error.contains("secret"), "{error}");
        assert!(!dir.path().join("images").join(name).exists());
    }
    server.join().unwrap();
}
