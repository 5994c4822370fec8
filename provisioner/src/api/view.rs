//! [`View`]: for whom an answer is made: version and the address the client used; times and masks.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use serde_json::{Map, Value, json};

use super::{Api, Version};
use crate::proto::agent::MASKED;
use crate::proto::node::Millis;

/// For whom an answer is made.
#[derive(Debug, Clone)]
pub(super) struct View {
    /// The version it speaks.
    pub version: Version,
    /// `http://host:port` as the client wrote it.
    pub base: String,
    /// This host's name.
    pub conductor: std::sync::Arc<str>,
}

impl FromRequestParts<Api> for View {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Self::Rejection> {
        let version = Version::from_request_parts(parts, api).await?;
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        Ok(Self { version, base: format!("http://{host}"), conductor: api.conductor.clone() })
    }
}

impl View {
    /// `links` of a resource: `path` below `/v1/`.
    pub fn links(&self, path: &str) -> Value {
        let base = &self.base;
        json!([
            { "href": format!("{base}/v1/{path}"), "rel": "self" },
            { "href": format!("{base}/{path}"), "rel": "bookmark" },
        ])
    }
}

/// `2026-11-22T11:07:30.081000+00:00`.
pub(super) fn time(at: Millis) -> Value {
    let text = i64::try_from(at.0)
        .ok()
        .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
        .map(|timestamp| timestamp.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string());
    json!(text)
}

/// The same, or `null`.
pub(super) fn maybe_time(at: Option<Millis>) -> Value {
    at.map_or(Value::Null, time)
}

/// A copy in which everything that looks like a secret by its name is masked, at any depth.
pub(super) fn mask_secrets(map: &Map<String, Value>) -> Value {
    fn mask(key: &str, value: &Value) -> Value {
        let key = key.to_ascii_lowercase();
        let is_secret = ["password", "passwd", "secret", "token", "private_key", "hmac_key", "kg_key"]
            .iter()
            .any(|word| key.contains(word));
        match value {
            Value::Null => Value::Null,
            Value::Object(map) if !is_secret => {
                Value::Object(map.iter().map(|(k, v)| (k.clone(), mask(k, v))).collect())
            }
            _ if is_secret => json!(MASKED),
            other => other.clone(),
        }
    }
    Value::Object(map.iter().map(|(key, value)| (key.clone(), mask(key, value))).collect())
}

/// `instance_info` as everybody may see it: no config drive, no signatures of temporary URLs.
pub(super) fn mask_instance_info(map: &Map<String, Value>) -> Value {
    let mut masked = mask_secrets(map);
    for (key, value) in masked.as_object_mut().into_iter().flatten() {
        let is_signed = |text: &str| text.contains("temp_url_sig=") || text.contains("Signature=");
        if key == "configdrive" || value.as_str().is_some_and(is_signed) {
            *value = json!(MASKED);
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_secrets_at_any_depth_and_writes_times_as_ironic_does() {
        let Value::Object(info) = json!({ "ipmi_address": "10.0.0.1", "ipmi_password": "s", "a": { "snmp_auth_password": 7, "b": 1 },
            "ipmi_hex_kg_key": "00" })
        else {
            panic!()
        };
        assert_eq!(
            mask_secrets(&info),
            json!({ "ipmi_address": "10.0.0.1", "ipmi_password": MASKED, "a": { "snmp_auth_password": MASKED, "b": 1 },
                "ipmi_hex_kg_key": MASKED })
        );
        let Value::Object(info) =
            json!({ "configdrive": "H4s", "image_source": "http://x/o?temp_url_sig=ab", "b": "http://x" })
        else {
            panic!()
        };
        assert_eq!(
            mask_instance_info(&info),
            json!({ "configdrive": MASKED, "image_source": MASKED, "b": "http://x" })
        );
        assert_eq!(time(Millis(1_795_345_650_081)), json!("2026-11-22T11:07:30.081000+00:00"));
    }
}
