//! Web hooks over TLS: a receiver whose certificate an authority of its own has signed, and what is told where it cannot be trusted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use reveille_config::Config;
use reveille_config::environment::Imagined;
use reveille_config::webhook::Webhook;
use reveille_events::webhook::test;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// An authority, and a receiver on the loopback whose certificate for `host` it has signed; the receiver takes everything.
async fn receiver(directory: &Path, name: &str, host: &str) -> (PathBuf, u16) {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec![host.into()]).unwrap().signed_by(&key, &issuer).unwrap();
    let ca = directory.join(format!("{name}.crt"));
    std::fs::write(&ca, issuer.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![own.der().clone()], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Who does not trust it ends the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let (mut text, mut octets) = (String::new(), [0; 4_096]);
            while !text.contains("nothing has happened") {
                let read = stream.read(&mut octets).await.unwrap();
                assert!(read > 0, "{text}");
                text.push_str(std::str::from_utf8(&octets[..read]).unwrap());
            }
            assert!(text.starts_with("POST /hook HTTP/1.1\r\n") && text.contains("webhook-signature: v1,"), "{text}");
            stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    });
    (ca, port)
}

/// A hook as a file has it.
fn hook(host: &str, port: u16, ca: &Path) -> Webhook {
    let secret = format!("whsec_{}\n", STANDARD.encode([7; 32]));
    let world = Imagined::with_all_directories().file("/etc/a", 0o600, secret).file(ca, 0o644, "");
    let text = format!(
        "[bootd]\nhttp = [\"10.0.0.1:80\"]\nroots = [\"/srv\"]\n[[bootd.webhook]]\nname = \"cmdb\"\nca = \"{}\"\n\
         url = \"https://{host}:{port}/hook\"\nsecret = {{ file = \"/etc/a\" }}\ntimeout_secs = 60",
        ca.display()
    );
    Config::parse(&text, Path::new("x.toml"), &world).unwrap().bootd.unwrap().webhooks.remove(0)
}

#[tokio::test]
async fn a_receiver_is_trusted_by_its_own_authority_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let (ca, port) = receiver(directory.path(), "own", "127.0.0.1").await;
    let (other, named) = receiver(directory.path(), "other", "cmdb.example.net").await;
    let empty = directory.path().join("empty.crt");
    std::fs::write(&empty, "").unwrap();
    assert_eq!(test("x", &hook("127.0.0.1", port, &ca)).await.unwrap(), 202);
    for (hook, reason, words) in [
        (hook("127.0.0.1", port, &other), "connect", "its certificate is not trusted (UnknownIssuer): see `ca`"),
        (hook("127.0.0.1", named, &other), "connect", "whether the certificate is for the host in `url`"),
        (hook("127.0.0.1", port, &empty), "trust", "holds no certificate in PEM"),
        (hook("127.0.0.1", port, &directory.path().join("gone.crt")), "trust", "gone.crt"),
    ] {
        let failure = test("x", &hook).await.unwrap_err();
        assert_eq!((failure.as_str(), failure.status()), (reason, None), "{failure}");
        assert!(failure.to_string().contains(words), "{failure}");
    }
}
