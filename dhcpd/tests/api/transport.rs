//! How requests come in and who may send them: unix socket, loopback, TLS; HTTP/1.1 and 2; tokens and client certificates.

use std::path::Path;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use reveille_config::Config;
use reveille_config::dhcpd::Api;
use reveille_config::dto::token::{Role, TokenCreate};
use reveille_config::environment::System;
use reveille_dhcpd::api::{Certificates, Peer, bind};
use reveille_dhcpd::proto::time::UnixSecs;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tower::ServiceExt as _;

use crate::harness::{A, CONFIG, Server};

fn token(server: &Server, role: Role) -> String {
    let create = TokenCreate { name: role.as_str().into(), role, expires_unix: None };
    server.tokens.create(create, UnixSecs(0)).unwrap().secret
}

#[tokio::test]
async fn each_request_needs_its_role() {
    let server = Server::new();
    let [read, write, admin] = [Role::Read, Role::Write, Role::Admin].map(|role| token(&server, role));
    let put = format!("/v1/reservations/{A}");
    // Without anything; with a token to read, to write, to administer; on the unix socket.
    for (method, path, expected) in [
        (Method::GET, "/healthz", [200, 200, 200, 200, 200]),
        (Method::GET, "/readyz", [200, 200, 200, 200, 200]),
        (Method::GET, "/metrics", [401, 200, 200, 200, 200]),
        (Method::GET, "/v1/leases", [401, 200, 200, 200, 200]),
        (Method::GET, "/v1/nothing", [401, 404, 404, 404, 404]),
        (Method::PUT, &*put, [401, 403, 422, 422, 422]),
        (Method::DELETE, &put, [401, 403, 204, 204, 204]),
        (Method::GET, "/v1/tokens", [401, 403, 403, 200, 200]),
        (Method::POST, "/v1/tokens", [401, 403, 403, 400, 400]),
        (Method::DELETE, "/v1/tokens/x", [401, 403, 403, 204, 204]),
    ] {
        let callers = [None, Some(&read), Some(&write), Some(&admin), None];
        for (at, (caller, expected)) in callers.into_iter().zip(expected).enumerate() {
            let peer = if at == 4 { Peer::LOCAL } else { Peer { role: None } };
            let mut request = Request::builder().method(&method).uri(path);
            if let Some(token) = caller {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            let mut request = request.body(Body::empty()).unwrap();
            request.extensions_mut().insert(peer);
            let answer = server.router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status().as_u16(), expected, "{method} {path}, caller {at}");
            assert_eq!(answer.headers().contains_key(header::WWW_AUTHENTICATE), expected == 401);
            if expected >= 400 {
                assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json");
                let text = to_bytes(answer.into_body(), 1 << 16).await.unwrap();
                let text = String::from_utf8_lossy(&text);
                assert!(callers.into_iter().flatten().all(|token| !text.contains(&**token)), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused_also_where_none_is_needed() {
    let server = Server::new();
    let good = token(&server, Role::Admin);
    for (authorization, expected) in [
        (format!("Bearer {good}"), 200),
        (format!("bearer  {good}"), 200),
        (format!("Basic {good}"), 401),
        (good.clone(), 401),
        (format!("Bearer {good}0"), 401),
        ("Bearer".into(), 401),
        ("\u{fc}".into(), 401),
    ] {
        let request = Request::get("/v1/leases").header(header::AUTHORIZATION, authorization.as_bytes());
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer::LOCAL);
        let answer = server.router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status().as_u16(), expected, "{authorization}");
    }
}

#[tokio::test]
async fn tokens_are_made_listed_and_revoked() {
    let server = Server::new();
    let (status, made) = server.ask("POST", "/v1/tokens", Some(json!({ "name": "ironic", "role": "write" }))).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let id = made["id"].as_str().unwrap();
    assert!(made["secret"].as_str().unwrap().starts_with(&format!("rvl_{id}_")), "{made}");
    let listed = server.get("/v1/tokens").await;
    let (first, count) = (&listed["items"][0], listed["items"].as_array().unwrap().len());
    assert_eq!((count, &first["name"], &first["role"]), (1, &json!("ironic"), &json!("write")));
    assert_eq!((&first["secret"], &first["sha256"]), (&Value::Null, &Value::Null), "never again");
    for (body, status, field) in [
        (json!({ "name": "a b", "role": "read" }), 422, "name"),
        (json!({ "name": "", "role": "read" }), 422, "name"),
        (json!({ "name": "a", "role": "root" }), 400, "role"),
        (json!({ "name": "a", "role": "read", "expires_unix": 1 }), 422, "expires_unix"),
    ] {
        let (got, problem) = server.ask("POST", "/v1/tokens", Some(body)).await;
        assert_eq!((got.as_u16(), &problem["field"]), (status, &json!(field)), "{problem}");
    }
    for _ in 0..2 {
        assert_eq!(server.ask("DELETE", &format!("/v1/tokens/{id}"), None).await.0, StatusCode::NO_CONTENT);
    }
    assert_eq!(server.get("/v1/tokens").await["items"], json!([]));
}

/// One GET over a stream, in either version of HTTP.
async fn ask<S>(stream: S, version: Version, token: Option<&str>) -> (StatusCode, Version)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut request = Request::get("http://reveille/v1/tokens").version(version);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let stream = TokioIo::new(stream);
    let answer = if version == Version::HTTP_2 {
        let shake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await;
        let (mut sender, connection) = shake.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    } else {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    };
    let (status, version) = (answer.status(), answer.version());
    answer.into_body().collect().await.unwrap();
    (status, version)
}

/// Certificates of a small world of its own.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// Writes `<name>.crt` and `<name>.key` for a host or a client of that name.
    fn issue(&self, directory: &Path, name: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.into(), "127.0.0.1".into()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(directory.join(format!("{name}.crt")), certificate.pem()).unwrap();
        let file = directory.join(format!("{name}.key"));
        std::fs::write(&file, key.serialize_pem()).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(file, mode).unwrap();
    }

    fn write(&self, path: &Path) {
        std::fs::write(path, self.issuer.pem()).unwrap();
    }

    /// A client's side of TLS: what it trusts, what it shows, what it speaks.
    fn connector(&self, shown: Option<(&Path, &str)>, alpn: &[u8]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some((directory, name)) => {
                let chain = CertificateDer::from_pem_file(directory.join(format!("{name}.crt"))).unwrap();
                let key = PrivateKeyDer::from_pem_file(directory.join(format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(vec![chain], key).unwrap()
            }
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}

fn api(directory: &Path, table: &str) -> Api {
    let text = CONFIG
        .replace("api = [\"unix:/run/reveille/dhcpd.sock\"]\n", &format!("[dhcpd.api]\n{table}"))
        .replace("DIR", directory.to_str().unwrap());
    Config::parse(&text, Path::new("test.toml"), &System).unwrap().dhcpd.unwrap().api
}

const LISTEN: &str = r#"
listen = ["unix:DIR/api.sock", "127.0.0.1:0", "https://127.0.0.1:0"]
socket_group = "0"
socket_mode = "0600"
loopback_role = "read"
[dhcpd.api.tls]
certificate = "DIR/server.crt"
key = "DIR/server.key"
[dhcpd.api.client_certificates]
ca = "DIR/clients.crt"
role = "read"
roles = { "admin.example.net" = "admin" }
"#;

#[tokio::test]
async fn both_versions_are_spoken_on_every_way_in() {
    let server = Server::new();
    let directory = server.directory.path();
    let (ours, theirs) = (Authority::new(), Authority::new());
    ours.issue(directory, "server");
    theirs.write(&directory.join("clients.crt"));
    theirs.issue(directory, "admin.example.net");
    theirs.issue(directory, "other.example.net");
    let api = api(directory, LISTEN);
    let certificates = Arc::new(Certificates::open(&api).unwrap().unwrap());
    let listeners = bind(&api, Some(&certificates)).await.unwrap();
    let mode = std::fs::metadata(directory.join("api.sock"))
        .map(|file| std::os::unix::fs::PermissionsExt::mode(&file.permissions()));
    assert_eq!(mode.unwrap() & 0o777, 0o600);
    let addresses: Vec<_> = listeners.iter().filter_map(|listener| listener.address()).collect();
    let &[plain, tls] = &addresses[..] else { panic!("two of TCP: {addresses:?}") };
    let serving: Vec<_> =
        listeners.into_iter().map(|listener| tokio::spawn(listener.serve(Arc::clone(&server.state)))).collect();
    let admin = token(&server, Role::Admin);
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let over_tls = async |shown: Option<&str>, alpn: &[u8]| {
        let connector = ours.connector(shown.map(|name| (directory, name)), alpn);
        connector.connect(name.clone(), TcpStream::connect(tls).await.unwrap()).await.unwrap()
    };
    for (version, alpn) in [(Version::HTTP_11, &b"http/1.1"[..]), (Version::HTTP_2, b"h2")] {
        let unix = UnixStream::connect(directory.join("api.sock")).await.unwrap();
        assert_eq!(ask(unix, version, None).await, (StatusCode::OK, version), "the socket's file says who may");
        for (token, expected) in [(None, StatusCode::FORBIDDEN), (Some(&*admin), StatusCode::OK)] {
            let loopback = TcpStream::connect(plain).await.unwrap();
            assert_eq!(ask(loopback, version, token).await, (expected, version), "loopback");
        }
        for (shown, token, expected) in [
            (None, None, StatusCode::UNAUTHORIZED),
            (None, Some(&*admin), StatusCode::OK),
            (Some("other.example.net"), None, StatusCode::FORBIDDEN),
            (Some("admin.example.net"), None, StatusCode::OK),
        ] {
            let stream = over_tls(shown, alpn).await;
            assert_eq!(ask(stream, version, token).await, (expected, version), "{shown:?}");
        }
    }
    // A certificate of somebody else's is no certificate: the server ends the handshake.
    ours.issue(directory, "stranger.example.net");
    let connector = ours.connector(Some((directory, "stranger.example.net")), b"http/1.1");
    let stream = connector.connect(name.clone(), TcpStream::connect(tls).await.unwrap()).await;
    if let Ok(mut stream) = stream {
        let mut octet = [0];
        assert!(tokio::io::AsyncReadExt::read_exact(&mut stream, &mut octet).await.is_err());
    }
    server.state.close();
    for listener in serving {
        listener.await.unwrap();
    }
    assert!(!directory.join("api.sock").exists(), "it is removed at the end");
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_a_bad_one_is_not() {
    let server = Server::new();
    let directory = server.directory.path();
    let (first, second) = (Authority::new(), Authority::new());
    first.issue(directory, "server");
    first.write(&directory.join("clients.crt"));
    let api = api(directory, LISTEN);
    let certificates = Arc::new(Certificates::open(&api).unwrap().unwrap());
    let listener = bind(&api, Some(&certificates)).await.unwrap().pop().unwrap();
    let address = listener.address().unwrap();
    let serving = tokio::spawn(listener.serve(Arc::clone(&server.state)));
    let trusted = async |authority: &Authority| {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        authority.connector(None, b"h2").connect(name, stream).await.is_ok()
    };
    assert_eq!((trusted(&first).await, trusted(&second).await), (true, false));
    assert!(!certificates.refresh().unwrap(), "nothing has changed");
    for (file, content, word) in [("server.crt", "no certificate", "server.crt"), ("server.key", "", "server.key")] {
        let path = directory.join(file);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, content).unwrap();
        let error = certificates.refresh().unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        assert!(trusted(&first).await, "what was in force is");
        std::fs::write(&path, good).unwrap();
    }
    second.issue(directory, "server");
    assert!(certificates.refresh().unwrap());
    assert_eq!((trusted(&first).await, trusted(&second).await), (false, true));
    server.state.close();
    serving.await.unwrap();
}
