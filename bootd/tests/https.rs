//! HTTPS and HTTP/2 as curl speaks them, and certificates that are replaced.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reveille_config::Config;
use support::{Daemon, counted, octets, run, turn, until_counted};

/// A new certificate for 127.0.0.0/8's name, and its key, in place of those before.
fn certificate(dir: &Path) {
    let made = rcgen::generate_simple_self_signed(vec!["boot.example".into()]).unwrap();
    std::fs::write(dir.join("new.crt"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("new.key"), made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(dir.join("new.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::rename(dir.join("new.key"), dir.join("tls.key")).unwrap();
    std::fs::rename(dir.join("new.crt"), dir.join("tls.crt")).unwrap();
}

/// A daemon that serves HTTPS too, and curl's arguments for it.
async fn start() -> (Daemon, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("root")).unwrap();
    certificate(dir.path());
    let (certificate, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    let extra = format!("[bootd.tls]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    let daemon = Daemon::start_https(Arc::new(dir), &extra).await;
    let arguments = [
        "-sS".into(),
        "--cacert".into(),
        certificate.display().to_string(),
        "--resolve".into(),
        format!("boot.example:8443:{}", daemon.http.ip()),
    ];
    (daemon, arguments.into())
}

/// curl's body and what `-w` says: version, status.
async fn curl(common: &[String], arguments: &[&str]) -> Result<(Vec<u8>, String), String> {
    let mut all: Vec<&str> = common.iter().map(String::as_str).collect();
    all.extend(["-w", "%{stderr}%{http_version} %{http_code}"]);
    all.extend(arguments);
    let output = run("curl", &all, None).await;
    let said = String::from_utf8(output.stderr).unwrap();
    if output.status.success() { Ok((output.stdout, said)) } else { Err(said) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_versions_with_tls_and_without() {
    let _turn = turn().await;
    let (daemon, common) = start().await;
    let image = octets(3_000_001);
    daemon.file("image", &image);
    let tls = "https://boot.example:8443/image";
    let plain = daemon.url("image");
    for (url, version, said) in [
        (tls, "--http1.1", "1.1 200"),
        (tls, "--http2", "2 200"),
        (&plain, "--http1.1", "1.1 200"),
        (&plain, "--http2-prior-knowledge", "2 200"),
    ] {
        let (body, told) = curl(&common, &[version, url]).await.unwrap();
        assert_eq!(told, said, "{url} {version}");
        assert!(body == image, "{url} {version}: {} octets", body.len());
        let (part, told) = curl(&common, &[version, "-r", "1000000-1999999", url]).await.unwrap();
        assert!(told.ends_with("206") && part == image[1_000_000..2_000_000], "{url} {version}: {told}");
        let (_, told) = curl(&common, &[version, "-I", url]).await.unwrap();
        assert_eq!(told, said, "{url} {version} HEAD");
    }
    // Many at once on one connection.
    let urls: Vec<String> = (0..40).map(|n| format!("{tls}?{n}")).collect();
    let mut arguments = vec!["--http2", "--parallel"];
    for url in &urls {
        arguments.extend(["-o", "/dev/null", url]);
    }
    let (_, told) = curl(&common, &arguments).await.unwrap();
    assert_eq!(told.matches("2 200").count(), 40, "{told}");
    // What is no TLS is counted, and harms nobody.
    let before = counted("reveille_bootd_http_connection_errors_total", "tls");
    assert!(curl(&common, &[&format!("http://{}:8443/image", daemon.http.ip())]).await.is_err());
    until_counted("reveille_bootd_http_connection_errors_total", "tls", before, 1).await;
    assert!(curl(&common, &[tls]).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
    let _turn = turn().await;
    let (daemon, common) = start().await;
    daemon.file("file", b"hello");
    let url = "https://boot.example:8443/file";
    assert_eq!(curl(&common, &[url]).await.unwrap().0, b"hello");
    let reload = || {
        let config = Config::load(&daemon.dir.path().join("reveille.toml")).unwrap().bootd.unwrap();
        daemon.running.as_ref().unwrap().reload(Arc::new(config))
    };
    // curl trusts the certificate that is in the file now, and nothing else.
    certificate(daemon.dir.path());
    reload().unwrap();
    assert_eq!(curl(&common, &[url]).await.unwrap().0, b"hello", "by a reload");
    let good = std::fs::read(daemon.dir.path().join("tls.crt")).unwrap();
    std::fs::write(daemon.dir.path().join("tls.crt"), "nonsense").unwrap();
    let error = reload().unwrap_err().to_string();
    assert!(error.contains("tls.crt") && error.contains("stays in force"), "{error}");
    std::fs::write(daemon.dir.path().join("tls.crt"), good).unwrap();
    assert_eq!(curl(&common, &[url]).await.unwrap().0, b"hello", "the one before is still in force");
    // And by itself, once it is seen that the files have changed.
    certificate(daemon.dir.path());
    let deadline = Instant::now() + Duration::from_secs(60);
    while curl(&common, &[url]).await.is_err() {
        assert!(Instant::now() < deadline, "the new certificate is not taken");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
