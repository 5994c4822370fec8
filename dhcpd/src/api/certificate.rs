//! [`Certificates`]: the server's certificate and the clients' roots, from files, put in force anew when the files change; what is already connected goes on as it is.
//!
//! Files that cannot be used leave what is in force as it is.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use reveille_config::dhcpd::{Api, ClientCertificates, Tls};
use reveille_config::dto::token::Role;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use tokio_rustls::TlsAcceptor;

/// How often it is looked whether the files have changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read, or holds nothing of its kind.
    #[error("cannot read {what} from {}: {why}", path.display())]
    File {
        /// What is expected there.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The parts do not fit together.
    #[error("the certificate in {} cannot be used: {why}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// What tells whether a file was changed or replaced.
type Stamp = Vec<(u64, i64, i64, u64)>;

/// The certificates in force.
#[derive(Debug)]
pub struct Certificates {
    tls: Tls,
    clients: Option<ClientCertificates>,
    names: Vec<(ServerName<'static>, Role)>,
    current: ArcSwap<ServerConfig>,
    stamp: Mutex<Stamp>,
}

impl Certificates {
    /// Reads those that the configuration names; `None` where it names none.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn open(api: &Api) -> Result<Option<Self>, CertificateError> {
        let Some(tls) = api.tls.clone() else { return Ok(None) };
        let clients = api.client_certificates.clone();
        let roles = clients.iter().flat_map(|clients| &clients.roles);
        // The configuration has checked that they are names.
        let names = roles.filter_map(|(name, role)| Some((ServerName::try_from(name.clone()).ok()?, *role))).collect();
        let stamp = Mutex::new(stamp(&tls, clients.as_ref()));
        let current = ArcSwap::from_pointee(load(&tls, clients.as_ref())?);
        Ok(Some(Self { tls, clients, names, current, stamp }))
    }

    /// For the next connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// What a client may do that has shown these certificates, which were verified.
    pub fn role_of(&self, shown: Option<&[CertificateDer<'_>]>) -> Option<Role> {
        let own = webpki::EndEntityCert::try_from(shown?.first()?).ok()?;
        let named = self.names.iter().filter(|(name, _)| own.verify_is_valid_for_subject_name(name).is_ok());
        named.map(|(_, role)| *role).max().or(self.clients.as_ref()?.role)
    }

    /// Reads the files again if they have changed; says whether something new is in force.
    ///
    /// # Errors
    /// They cannot be used: what was in force is.
    pub fn refresh(&self) -> Result<bool, CertificateError> {
        let mut known = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        let found = stamp(&self.tls, self.clients.as_ref());
        if *known == found {
            return Ok(false);
        }
        // Whoever replaces certificate and key may be in between: the next look sees another stamp, and tries again.
        *known = found;
        self.current.store(Arc::new(load(&self.tls, self.clients.as_ref())?));
        Ok(true)
    }

    /// Looks at the files now and then, for ever.
    pub async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let looking = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || looking.refresh()).await {
                Ok(Ok(true)) => {
                    tracing::info!(certificate = %self.tls.certificate.display(), "a new certificate is in force")
                }
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the certificate before stays in force"),
                Err(_) => return,
            }
        }
    }
}

fn stamp(tls: &Tls, clients: Option<&ClientCertificates>) -> Stamp {
    let files = [&tls.certificate, &tls.key].into_iter().chain(clients.map(|clients| &clients.ca));
    let of = |path: &PathBuf| {
        let found = std::fs::metadata(path);
        found.map(|file| (file.ino(), file.mtime(), file.mtime_nsec(), file.size())).unwrap_or_default()
    };
    files.map(of).collect()
}

fn load(tls: &Tls, clients: Option<&ClientCertificates>) -> Result<ServerConfig, CertificateError> {
    let chain = certificates("a certificate", &tls.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| unreadable("a private key", &tls.key, error))?;
    let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let unusable = |path: &Path, why: String| CertificateError::Unusable { path: path.into(), why };
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| unusable(&tls.certificate, error.to_string()))?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            for root in certificates("a certificate", &clients.ca)? {
                roots.add(root).map_err(|error| unusable(&clients.ca, error.to_string()))?;
            }
            // Whoever shows none may come with a token.
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated();
            let verifier = verifier.build().map_err(|error| unusable(&clients.ca, error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(chain, key);
    let mut config = config.map_err(|error| unusable(&tls.certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match all.map_err(|error| unreadable(what, path, error))? {
        all if all.is_empty() => Err(CertificateError::File { what, path: path.into(), why: "there is none".into() }),
        all => Ok(all),
    }
}

fn unreadable(what: &'static str, path: &Path, error: rustls::pki_types::pem::Error) -> CertificateError {
    let why = match error {
        rustls::pki_types::pem::Error::Io(error) => io::Error::to_string(&error),
        // What it says of the content could be of the key.
        rustls::pki_types::pem::Error::NoItemsFound => "there is none".into(),
        _ => "it is not PEM".into(),
    };
    CertificateError::File { what, path: path.into(), why }
}
