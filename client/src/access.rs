//! [`Access`]: what a client shows to a daemon, and whom it trusts.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Why what a client has to show cannot be used. Says nothing of its content.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A file cannot be read, or does not hold what it should.
    #[error("cannot use {}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The token has characters that a header cannot carry.
    #[error("the token is none: it has characters that no token has")]
    Token,
}

/// A token or a certificate, and the roots that a server's certificate must come from. Empty for unix sockets.
#[derive(Clone, Default)]
pub struct Access {
    bearer: Option<Arc<str>>,
    roots: Option<Arc<RootCertStore>>,
    own: Option<(Vec<CertificateDer<'static>>, Arc<PrivateKeyDer<'static>>)>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.bearer.as_ref().map(|_| "******");
        f.debug_struct("Access")
            .field("token", &token)
            .field("certificate", &self.own.is_some())
            .finish_non_exhaustive()
    }
}

impl Access {
    /// Shows this token.
    ///
    /// # Errors
    /// It cannot be one.
    pub fn with_token(mut self, token: &str) -> Result<Self, AccessError> {
        let token = token.trim();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(AccessError::Token);
        }
        self.bearer = Some(format!("Bearer {token}").into());
        Ok(self)
    }

    /// Trusts servers whose certificate is signed by one of those in this PEM file.
    ///
    /// # Errors
    /// The file.
    pub fn with_roots(mut self, path: &Path) -> Result<Self, AccessError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| unusable(path, error))?;
        }
        self.roots = Some(Arc::new(roots));
        Ok(self)
    }

    /// Shows this certificate; both files are PEM.
    ///
    /// # Errors
    /// The files.
    pub fn with_certificate(mut self, certificate: &Path, key: &Path) -> Result<Self, AccessError> {
        // What a library says of a key could show it.
        let key = PrivateKeyDer::from_pem_file(key).map_err(|_| unusable(key, "it holds no private key in PEM"))?;
        self.own = Some((certificates(certificate)?, Arc::new(key)));
        Ok(self)
    }

    /// The value of `Authorization`.
    pub(crate) fn bearer(&self) -> Option<&str> {
        self.bearer.as_deref()
    }

    /// How TLS is spoken.
    pub(crate) fn tls(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let roots = self.roots.clone().unwrap_or_else(|| Arc::new(RootCertStore::empty()));
        let builder = builder.with_root_certificates(roots);
        let mut config = match &self.own {
            Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key())?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, AccessError> {
    let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match all.map_err(|error| unusable(path, error))? {
        all if all.is_empty() => Err(unusable(path, "it holds no certificate in PEM")),
        all => Ok(all),
    }
}

fn unusable(path: &Path, why: impl fmt::Display) -> AccessError {
    AccessError::File { path: path.into(), why: why.to_string() }
}
