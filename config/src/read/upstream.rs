//! The table `[bootd.upstream]`.

use super::provisioner::relative;
use super::reader::Table;
use super::secret::secret;
use super::shape;
use crate::bootd::Upstream;

/// `None` only after a mistake was noted.
pub(super) fn upstream(table: Table<'_, '_>) -> Option<Upstream> {
    let example = "\"mirror\"";
    let path = table.required("path", example);
    let path = path.and_then(|value| relative(&value, shape::plain_text(&value, example)?));
    let url = table.required("url", "\"https://images.example.net/boot\"").and_then(|value| shape::base_url(&value));
    let disk_bytes_max = table.or("disk_bytes_max", 20 << 30, |value| value.integer(1 << 20..=1 << 50, "octets"));
    let check_secs =
        table.or("check_secs", 60, |value| value.integer(0..=31_536_000, "seconds").map(|secs| secs as u32));
    let temp_url_key = match table.get("temp_url_key") {
        Some(value) => secret(&value),
        None => Some(None),
    };
    table.finish();
    Some(Upstream { path: path?, url: url?.value, disk_bytes_max, check_secs, temp_url_key: temp_url_key? })
}
