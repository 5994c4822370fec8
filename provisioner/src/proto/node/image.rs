//! From `instance_info` to the `image_info` that the agent is given.
//!
//! A checksum is mandatory, and MD5 is none: the agent would refuse it anyway, minutes later.

use percent_encoding::percent_decode_str;
use reveille_config::temp_url::{Algorithm, Grant};
use serde::{Deserialize, Serialize};

use super::{Millis, Node, Settings};

/// What the agent shall write: the fields of its `image_info` that we choose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// A name for it.
    pub id: String,
    /// Where the agent fetches it.
    pub url: String,
    /// `sha256` or `sha512`.
    pub hash_algorithm: String,
    /// Hexadecimal.
    pub hash: String,
    /// `raw`, `qcow2` …
    pub disk_format: String,
}

impl ImageInfo {
    /// The URL as everybody may read it: a name and password before the host, and a query (which may be a signature), are left out.
    pub fn public_url(&self) -> String {
        let url = self.url.split('?').next().unwrap_or_default();
        match url.split_once("://") {
            Some((scheme, rest)) => {
                let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                format!("{scheme}://{}{path}", host.rsplit('@').next().unwrap_or_default())
            }
            None => url.to_owned(),
        }
    }

    /// The image as an agent is handed it at `now`: with a temporary URL, where the configuration has images of this place signed and the
    /// URL bears no query of its own.
    pub fn signed(&self, settings: &Settings, now: Millis) -> Self {
        let Some(issue) = &settings.temp_url else { return self.clone() };
        let own = format!("{}/", settings.boot_url);
        let bases = std::iter::once(&own).chain(&issue.urls);
        if self.url.contains(['?', '#']) || !bases.into_iter().any(|base| self.url.starts_with(base.as_str())) {
            return self.clone();
        }
        let host_end = self.url.find("://").map_or(0, |at| at + 3);
        let path = self.url[host_end..].find('/').map_or(self.url.len(), |at| host_end + at);
        // What is signed is the path as the server decodes it.
        let Ok(plain) = percent_decode_str(&self.url[path..]).decode_utf8() else { return self.clone() };
        let expires_unix = now.0 / 1_000 + u64::from(issue.duration_secs);
        let grant = Grant { method: "GET", expires_unix, path: &plain, prefix: None, ip_range: None };
        let signed = grant.signed_path(Algorithm::Sha256, issue.key.expose().as_bytes());
        Self { url: format!("{}{signed}", &self.url[..path]), ..self.clone() }
    }
}

/// Why `instance_info` does not describe an image that can be deployed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// No `image_source`.
    #[error(
        "instance_info has no image_source: set it to the image's URL or to its path below the boot server's roots"
    )]
    NoSource,
    /// An `image_source` that is not a URL or a path.
    #[error("image_source {0:?} is neither an http:// or https:// URL nor a path below the boot server's roots")]
    Source(String),
    /// No checksum.
    #[error(
        "instance_info has no checksum: set image_checksum, or image_os_hash_algo and image_os_hash_value (sha256 or sha512)"
    )]
    NoChecksum,
    /// A checksum of another kind.
    #[error("the image's checksum must be sha256 (64 hexadecimal digits) or sha512 (128), not {0}")]
    Checksum(String),
    /// A disk format that the agent does not take.
    #[error("image_disk_format {0:?} is none of raw, qcow2")]
    Format(String),
}

/// Reads what `instance_info` says about the image.
pub fn image_info(node: &Node, settings: &Settings) -> Result<ImageInfo, Unusable> {
    let text = |key: &str| node.instance_info.get(key).and_then(|v| v.as_str()).filter(|text| !text.is_empty());
    let source = text("image_source").ok_or(Unusable::NoSource)?;
    let is_plain = source.chars().all(|c| c.is_ascii_graphic());
    let url = if source.starts_with("http://") || source.starts_with("https://") {
        source.to_owned()
    } else if is_plain && !source.contains(':') && !source.split('/').any(|part| part == "..") {
        format!("{}/{}", settings.boot_url, source.trim_start_matches('/'))
    } else {
        return Err(Unusable::Source(source.to_owned()));
    };
    if !is_plain {
        return Err(Unusable::Source(source.to_owned()));
    }
    let (hash_algorithm, hash) = match (text("image_os_hash_algo"), text("image_os_hash_value"), text("image_checksum"))
    {
        (Some(algorithm), Some(value), _) => (algorithm.to_ascii_lowercase(), value),
        (_, _, Some(checksum)) => match checksum.len() {
            64 => ("sha256".to_owned(), checksum),
            128 => ("sha512".to_owned(), checksum),
            32 => return Err(Unusable::Checksum("MD5".into())),
            digits => return Err(Unusable::Checksum(format!("{digits} digits"))),
        },
        _ => return Err(Unusable::NoChecksum),
    };
    let digits = match hash_algorithm.as_str() {
        "sha256" => 64,
        "sha512" => 128,
        _ => return Err(Unusable::Checksum(hash_algorithm)),
    };
    if hash.len() != digits || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Unusable::Checksum(format!("{} digits of {hash_algorithm}", hash.len())));
    }
    let disk_format = text("image_disk_format").unwrap_or("raw");
    if !["raw", "qcow2"].contains(&disk_format) {
        return Err(Unusable::Format(disk_format.to_owned()));
    }
    let name = url.split(['?', '#']).next().and_then(|path| path.rsplit('/').next()).filter(|name| !name.is_empty());
    Ok(ImageInfo {
        id: name.unwrap_or("image").to_owned(),
        hash: hash.to_ascii_lowercase(),
        hash_algorithm,
        disk_format: disk_format.to_owned(),
        url,
    })
}

#[cfg(test)]
mod tests {
    use reveille_config::Config;
    use reveille_config::environment::Imagined;
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::proto::node::Millis;

    fn read(info: Value) -> Result<ImageInfo, Unusable> {
        let mut node = Node::new(1, Uuid::nil(), "ipmi", Millis(0));
        let Value::Object(info) = info else { panic!("an object") };
        node.instance_info = info;
        image_info(&node, &Settings::for_tests())
    }

    #[test]
    fn reads_urls_and_paths_and_every_form_of_checksum() {
        let sha256 = "a".repeat(64);
        let sha512 = "B".repeat(128);
        let url = read(json!({ "image_source": "http://x/a/os.raw?sig=1", "image_checksum": sha256 })).unwrap();
        assert_eq!((url.id.as_str(), url.hash_algorithm.as_str()), ("os.raw", "sha256"));
        assert_eq!((url.url.as_str(), url.disk_format.as_str()), ("http://x/a/os.raw?sig=1", "raw"));
        assert_eq!(url.public_url(), "http://x/a/os.raw");
        let user = ImageInfo { url: "https://me:pw@x:8443/a@b?temp_url_sig=1".into(), ..url.clone() };
        assert_eq!(user.public_url(), "https://x:8443/a@b");
        let path = read(
            json!({ "image_source": "/images/os.raw", "image_os_hash_algo": "SHA512", "image_os_hash_value": sha512,
            "image_disk_format": "qcow2" }),
        )
        .unwrap();
        assert_eq!(path.url, "http://10.77.2.1:8080/images/os.raw");
        assert_eq!((path.hash, path.disk_format.as_str()), ("b".repeat(128), "qcow2"));
    }

    #[test]
    fn signs_images_of_the_boot_server_and_of_configured_places() {
        let world = Imagined::default().directory("/").file("/key", 0o600, "mykey");
        let text = "[provisioner]\nagent_api = [\"10.77.2.1:6385\"]\nboot_url = \"http://10.77.2.1:8080\"\n\
            agent_networks = [\"10.77.2.0/24\"]\n[provisioner.temp_url]\nkey = { file = \"/key\" }\n\
            urls = [\"https://swift.example/v1/AUTH_a/c/\"]\n";
        let config = Config::parse(text, "t".as_ref(), &world).unwrap().provisioner.unwrap();
        let settings = Settings::from(&config);
        let image = |url: &str| ImageInfo {
            id: "os".into(),
            url: url.into(),
            hash_algorithm: "sha256".into(),
            hash: "a".repeat(64),
            disk_format: "raw".into(),
        };
        let now = Millis(1_800_000_000_999);
        for (base, path, plain) in [
            ("http://10.77.2.1:8080", "/images/os.raw", "/images/os.raw"),
            ("https://swift.example", "/v1/AUTH_a/c/my%20os", "/v1/AUTH_a/c/my os"),
        ] {
            let signed = image(&format!("{base}{path}")).signed(&settings, now);
            let grant = Grant { method: "GET", expires_unix: 1_800_001_200, path: plain, prefix: None, ip_range: None };
            assert_eq!(signed.url, format!("{base}{}", grant.signed_path(Algorithm::Sha256, b"mykey")));
            assert_eq!(signed.public_url(), format!("{base}{path}"));
            assert_eq!(
                image(&format!("{base}{path}")).signed(&Settings::for_tests(), now).url,
                format!("{base}{path}")
            );
        }
        for url in
            ["https://elsewhere.example/os.raw", "http://10.77.2.1:8080/os.raw?mine=1", "http://10.77.2.1:80801/x"]
        {
            assert_eq!(image(url).signed(&settings, now).url, url);
        }
        assert!(!format!("{settings:?}").contains("mykey"));
    }

    #[test]
    fn refuses_what_the_agent_would_refuse_minutes_later() {
        let sum = "a".repeat(64);
        let cases = [
            (json!({}), Unusable::NoSource),
            (json!({ "image_source": 7, "image_checksum": sum }), Unusable::NoSource),
            (json!({ "image_source": "http://x/y" }), Unusable::NoChecksum),
            (json!({ "image_source": "glance:x", "image_checksum": sum }), Unusable::Source("glance:x".into())),
            (json!({ "image_source": "../x", "image_checksum": sum }), Unusable::Source("../x".into())),
            (json!({ "image_source": "http://x/a b", "image_checksum": sum }), Unusable::Source("http://x/a b".into())),
            (
                json!({ "image_source": "http://x/y", "image_checksum": "a".repeat(32) }),
                Unusable::Checksum("MD5".into()),
            ),
            (
                json!({ "image_source": "http://x/y", "image_checksum": "z".repeat(64) }),
                Unusable::Checksum("64 digits of sha256".into()),
            ),
            (
                json!({ "image_source": "http://x/y", "image_os_hash_algo": "md5", "image_os_hash_value": sum }),
                Unusable::Checksum("md5".into()),
            ),
            (
                json!({ "image_source": "http://x/y", "image_checksum": sum, "image_disk_format": "vmdk" }),
                Unusable::Format("vmdk".into()),
            ),
        ];
        for (info, why) in cases {
            assert_eq!(read(info.clone()), Err(why), "{info}");
        }
    }
}
