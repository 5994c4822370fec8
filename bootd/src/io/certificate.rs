//! [`Certificates`]: the certificate of HTTPS, from files, put in force anew when the files change; what is already connected goes on as it is.
//!
//! Files that cannot be used leave what is in force as it is.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use reveille_config::dhcpd::Tls;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ServerConfig;
use tokio_rustls::TlsAcceptor;

/// How often it is looked whether the files have changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// A certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {what} in {path} (bootd.tls): {why}", path = .path.display())]
pub struct CertificateError {
    what: &'static str,
    path: PathBuf,
    why: String,
}

/// What tells whether a file was changed or replaced.
type Stamp = [(u64, i64, i64, u64); 2];

/// The certificate in force.
#[derive(Debug)]
pub struct Certificates {
    current: ArcSwap<ServerConfig>,
    from: Mutex<(Tls, Stamp)>,
}

impl Certificates {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn open(tls: &Tls) -> Result<Self, CertificateError> {
        let stamp = stamp(tls);
        Ok(Self { current: ArcSwap::from_pointee(load(tls)?), from: Mutex::new((tls.clone(), stamp)) })
    }

    /// For the next connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// Reads the files of a configuration that was read again, whether they have changed or not.
    ///
    /// # Errors
    /// They cannot be used: what was in force is.
    pub fn reload(&self, tls: &Tls) -> Result<(), CertificateError> {
        let mut from = self.from.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(tls);
        self.current.store(Arc::new(load(tls)?));
        *from = (tls.clone(), stamp);
        Ok(())
    }

    /// Reads the files again if they have changed; says whether something new is in force.
    fn refresh(&self) -> Result<bool, CertificateError> {
        let mut from = self.from.lock().unwrap_or_else(PoisonError::into_inner);
        let found = stamp(&from.0);
        if from.1 == found {
            return Ok(false);
        }
        // Whoever replaces certificate and key may be in between: the next look sees another stamp, and tries again.
        from.1 = found;
        self.current.store(Arc::new(load(&from.0)?));
        Ok(true)
    }

    /// Looks at the files now and then, for ever.
    pub async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let looking = self.clone();
            match tokio::task::spawn_blocking(move || looking.refresh()).await {
                Ok(Ok(true)) => tracing::info!("a new certificate is in force"),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the certificate before stays in force"),
                Err(_) => return,
            }
        }
    }
}

fn stamp(tls: &Tls) -> Stamp {
    [&tls.certificate, &tls.key].map(|path| {
        let found = std::fs::metadata(path);
        found.map(|file| (file.ino(), file.mtime(), file.mtime_nsec(), file.size())).unwrap_or_default()
    })
}

fn load(tls: &Tls) -> Result<ServerConfig, CertificateError> {
    const CHAIN: &str = "the certificate";
    let unusable = |what, path: &Path, why| CertificateError { what, path: path.into(), why };
    let chain = CertificateDer::pem_file_iter(&tls.certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| unusable(CHAIN, &tls.certificate, words(error)))?;
    if chain.is_empty() {
        return Err(unusable(CHAIN, &tls.certificate, "there is none".into()));
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key);
    let key = key.map_err(|error| unusable("the private key", &tls.key, words(error)))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|error| unusable(CHAIN, &tls.certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn words(error: rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        // What it says of the content could be of the key.
        rustls::pki_types::pem::Error::NoItemsFound => "there is none".into(),
        _ => "it is not PEM".into(),
    }
}
