//! [`Tokens`]: who may use the lease API over TCP. Kept in one small file beside the journal, replaced whole at each change; held in memory for the requests.
//!
//! A token is `rvl_<id>_<secret>`: the id names it in lists, the secret is 256 bits of the system's randomness in hexadecimal. What is kept is the SHA-256 of the whole
//! token. A slow password hash would add nothing, since nobody can try out 2²⁵⁶ secrets, and would let anybody who sends wrong tokens keep the processor busy.
//!
//! Invariant: what [`Tokens::check`] accepts is in the file, and what was revoked is not in it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use reveille_config::dto::token::{Role, Token, TokenCreate, TokenCreated};
use reveille_config::limit::TOKENS_MAX;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::proto::time::UnixSecs;

/// How every token begins, so that one is known in a log or a repository where it should not be.
const PREFIX: &str = "rvl";
/// The layout of the file.
const VERSION: u32 = 1;

/// Why the tokens could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The system says so.
    #[error("cannot {what} {}", path.display())]
    File {
        /// `read` or `write`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not one of tokens.
    #[error("{} is not a file of tokens: remove it, and make the tokens anew", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A later version wrote it.
    #[error("{} was written by a later version of dhcpd", .0.display())]
    Version(PathBuf),
    /// There are [`TOKENS_MAX`] already.
    #[error("there are {TOKENS_MAX} tokens already: revoke some")]
    TooMany,
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
}

/// A token as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    token: Token,
    /// SHA-256 of the whole token, hexadecimal.
    sha256: String,
}

#[derive(Serialize, Deserialize)]
struct Content {
    version: u32,
    tokens: Vec<Kept>,
}

/// The tokens.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    kept: ArcSwap<Vec<Kept>>,
    changing: Mutex<()>,
}

impl Tokens {
    /// Reads them; there are none where there is no file.
    ///
    /// # Errors
    /// The file cannot be read, or is none of tokens.
    pub fn open(path: PathBuf) -> Result<Self, TokenError> {
        let kept = match fs::read(&path) {
            Ok(octets) => {
                let failed = |source| TokenError::Content { path: path.clone(), source };
                let content: Content = serde_json::from_slice(&octets).map_err(failed)?;
                if content.version != VERSION {
                    return Err(TokenError::Version(path));
                }
                content.tokens
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(TokenError::File { what: "read", path, source }),
        };
        Ok(Self { path, kept: ArcSwap::from_pointee(kept), changing: Mutex::default() })
    }

    /// What a token allows at `now`, and whose it is; `None` where it is none of ours, or over.
    pub fn check(&self, token: &str, now: UnixSecs) -> Option<(Role, Arc<str>)> {
        let id = token.strip_prefix(PREFIX)?.strip_prefix('_')?.split_once('_')?.0;
        // The comparison of two hashes tells nothing of the secret by the time that it takes.
        let hash = hash(token);
        let kept = self.kept.load();
        let kept = kept.iter().find(|kept| kept.token.id == id && kept.sha256 == hash)?;
        let over = kept.token.expires_unix.is_some_and(|expires| expires <= now.0.into());
        (!over).then(|| (kept.token.role, kept.token.name.as_str().into()))
    }

    /// All of them, without their secrets, the oldest first.
    pub fn list(&self) -> Vec<Token> {
        self.kept.load().iter().map(|kept| kept.token.clone()).collect()
    }

    /// Makes one; it holds when this returns. Waits for the disk.
    ///
    /// # Errors
    /// There are too many, or the file cannot be written; then there is no new one.
    pub fn create(&self, create: TokenCreate, now: UnixSecs) -> Result<TokenCreated, TokenError> {
        let _changing = self.lock();
        let mut all = Vec::clone(&self.kept.load());
        if all.len() >= TOKENS_MAX {
            return Err(TokenError::TooMany);
        }
        let id = loop {
            let id = random::<4>()?;
            if all.iter().all(|kept| kept.token.id != id) {
                break id;
            }
        };
        let secret = format!("{PREFIX}_{id}_{}", random::<32>()?);
        let TokenCreate { name, role, expires_unix } = create;
        let token = Token { id, name, role, created_unix: now.0.into(), expires_unix };
        all.push(Kept { token: token.clone(), sha256: hash(&secret) });
        self.replace(all)?;
        Ok(TokenCreated { secret, token })
    }

    /// Revokes the one of this id; says whether there was one. Waits for the disk.
    ///
    /// # Errors
    /// The file cannot be written; then it holds on.
    pub fn revoke(&self, id: &str) -> Result<bool, TokenError> {
        let _changing = self.lock();
        let mut all = Vec::clone(&self.kept.load());
        let before = all.len();
        all.retain(|kept| kept.token.id != id);
        if all.len() == before {
            return Ok(false);
        }
        self.replace(all)?;
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, tokens: Vec<Kept>) -> Result<(), TokenError> {
        let content = Content { version: VERSION, tokens };
        let octets = serde_json::to_vec_pretty(&content).map_err(io::Error::other);
        let failed = |source| TokenError::File { what: "write", path: self.path.clone(), source };
        octets.and_then(|octets| write_durably(&self.path, &octets)).map_err(failed)?;
        self.kept.store(Arc::new(content.tokens));
        Ok(())
    }
}

/// Replaces a file so that after a crash it is the old one or the new one.
fn write_durably(path: &Path, octets: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(octets)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn random<const N: usize>() -> Result<String, TokenError> {
    let mut octets = [0; N];
    getrandom::fill(&mut octets).map_err(|_| TokenError::Random)?;
    Ok(hex(&octets))
}

fn hash(token: &str) -> String {
    hex(&Sha256::digest(token.as_bytes()))
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn create(name: &str, expires_unix: Option<u64>) -> TokenCreate {
        TokenCreate { name: name.into(), role: Role::Write, expires_unix }
    }

    #[test]
    fn a_token_holds_over_a_restart_until_its_end_or_until_it_is_revoked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens.json");
        let tokens = Tokens::open(path.clone()).unwrap();
        let now = UnixSecs(1_000);
        let for_ever = tokens.create(create("ironic", None), now).unwrap();
        let for_now = tokens.create(create("job", Some(1_001)), now).unwrap();
        let tokens = Tokens::open(path.clone()).unwrap();
        let name = |secret: &str, now| tokens.check(secret, UnixSecs(now)).map(|(role, name)| (role, name.to_string()));
        let writes = |name: &str| Some((Role::Write, name.to_string()));
        assert_eq!(name(&for_ever.secret, 9_999), writes("ironic"));
        assert_eq!((name(&for_now.secret, 1_000), name(&for_now.secret, 1_001)), (writes("job"), None));
        let mut wrong = for_ever.secret.clone();
        wrong.replace_range(wrong.len() - 1.., if wrong.ends_with('0') { "1" } else { "0" });
        let other_id = for_ever.secret.replace(&for_ever.token.id, &for_now.token.id);
        for wrong in [&*wrong, &other_id, "", "rvl_", "rvl__", &for_ever.token.id, &for_ever.secret[4..]] {
            assert_eq!(name(wrong, 1_000), None, "{wrong}");
        }
        assert_eq!(
            (tokens.revoke(&for_ever.token.id).unwrap(), tokens.revoke(&for_ever.token.id).unwrap()),
            (true, false)
        );
        assert_eq!(name(&for_ever.secret, 1_000), None);
        assert_eq!(Tokens::open(path).unwrap().list(), [for_now.token]);
    }

    #[test]
    fn no_secret_is_in_the_file_or_in_what_is_printed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens.json");
        let tokens = Tokens::open(path.clone()).unwrap();
        let made = tokens.create(create("a", None), UnixSecs(0)).unwrap();
        let secret = made.secret.rsplit('_').next().unwrap();
        let file = fs::read_to_string(&path).unwrap();
        assert!(!file.contains(secret) && !format!("{made:?}{tokens:?}").contains(secret), "{file}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn at_the_limit_and_on_a_file_that_cannot_be_written_nothing_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens.json");
        let tokens = Tokens::open(path.clone()).unwrap();
        let one = tokens.create(create("a", None), UnixSecs(0)).unwrap();
        let kept = tokens.kept.load().first().cloned().unwrap();
        let many = |at: usize| Kept { token: Token { id: format!("{at:08x}"), ..kept.token.clone() }, ..kept.clone() };
        tokens.kept.store(Arc::new((0..TOKENS_MAX).map(many).collect()));
        assert!(matches!(tokens.create(create("b", None), UnixSecs(0)), Err(TokenError::TooMany)));
        tokens.kept.store(Arc::new(vec![kept]));
        fs::create_dir(path.with_extension("new")).unwrap();
        assert!(matches!(tokens.create(create("b", None), UnixSecs(0)), Err(TokenError::File { .. })));
        assert!(tokens.revoke(&one.token.id).is_err());
        assert!(tokens.check(&one.secret, UnixSecs(0)).is_some(), "it holds on");
        fs::write(&path, "{}").unwrap();
        assert!(matches!(Tokens::open(path.clone()), Err(TokenError::Content { .. })));
        fs::write(&path, r#"{"version":2,"tokens":[]}"#).unwrap();
        assert!(matches!(Tokens::open(path), Err(TokenError::Version(_))));
    }
}
