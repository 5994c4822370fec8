//! [`Media`]: a virtual drive as its service shows it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::said::path;

/// What a drive takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    /// CD or DVD.
    Cdrom,
    /// USB stick.
    Disk,
    /// Floppy disk.
    Floppy,
}

impl MediaKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Cdrom, Self::Disk, Self::Floppy];

    /// Ironic's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cdrom => "cdrom",
            Self::Disk => "disk",
            Self::Floppy => "floppy",
        }
    }

    /// The schema's names (`MediaTypes`).
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Cdrom => &["CD", "DVD"],
            Self::Disk => &["USBStick"],
            Self::Floppy => &["Floppy"],
        }
    }
}

/// A drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Its path.
    pub path: String,
    /// The image in it.
    pub image: Option<String>,
    /// Where an image is put in; none: by a change of the resource.
    pub insert: Option<String>,
    /// Where it is taken out; none: by a change of the resource.
    pub eject: Option<String>,
    /// The version of the resource.
    pub tag: Option<String>,
    types: Vec<String>,
}

impl Media {
    /// Reads the resource; `tag` is the header `ETag`.
    pub fn read(at: &str, resource: &Value, tag: Option<&str>) -> Self {
        let action = |name: &str| resource["Actions"][name]["target"].as_str().and_then(path).map(str::to_owned);
        let types = resource["MediaTypes"].as_array().into_iter().flatten();
        let is_in = resource["Inserted"].as_bool() != Some(false);
        let image = resource["Image"].as_str().filter(|image| is_in && !image.is_empty());
        Self {
            path: at.to_owned(),
            image: image.map(str::to_owned),
            insert: action("#VirtualMedia.InsertMedia"),
            eject: action("#VirtualMedia.EjectMedia"),
            tag: tag.or_else(|| resource["@odata.etag"].as_str()).map(str::to_owned),
            types: types.filter_map(|kind| kind.as_str().map(str::to_owned)).take(16).collect(),
        }
    }

    /// Whether it takes this kind.
    pub fn takes(&self, kind: MediaKind) -> bool {
        kind.names().iter().any(|name| self.types.iter().any(|one| one == name))
    }

    /// The body that puts an image in.
    pub fn insertion(image: &str) -> Value {
        json!({ "Image": image, "Inserted": true, "WriteProtected": true })
    }

    /// The body that takes it out where there is no action.
    pub fn removal() -> Value {
        json!({ "Image": null, "Inserted": false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drive_is_read_by_what_it_takes_and_holds() {
        let drive = Media::read(
            "/v/Cd",
            &json!({ "MediaTypes": ["CD", "DVD"], "Image": "http://b/x.iso", "Inserted": true,
            "Actions": { "#VirtualMedia.InsertMedia": { "target": "/v/Cd/i" } } }),
            Some("\"1\""),
        );
        assert!(drive.takes(MediaKind::Cdrom) && !drive.takes(MediaKind::Floppy));
        assert_eq!(
            (drive.image.as_deref(), drive.insert.as_deref(), drive.eject),
            (Some("http://b/x.iso"), Some("/v/Cd/i"), None)
        );
        for empty in
            [json!({ "Image": "" }), json!({ "Image": null }), json!({ "Image": "x", "Inserted": false }), json!(7)]
        {
            assert_eq!(Media::read("/v", &empty, None).image, None, "{empty}");
        }
    }
}
