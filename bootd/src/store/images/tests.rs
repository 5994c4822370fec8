//! Tests of [`super::Images`].

use super::*;
use crate::proto::path::{Encoding, resolve};
use crate::store::{Catalogue, Lookup, OpenFile, Patience};

fn add(images: &Images, octets: &[u8], name: Option<&str>) -> Digest {
    let mut ingest = images.begin().unwrap();
    octets.chunks(3).for_each(|chunk| ingest.write(chunk).unwrap());
    ingest.finish(None, name).unwrap()
}

fn digest(octets: &[u8]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.update(octets);
    hasher.finish()
}

fn found(catalogue: &Catalogue, path: &str) -> OpenFile {
    match catalogue.find(&resolve(path, Encoding::Plain).unwrap(), Patience::Blocking) {
        Lookup::Found(file) => file,
        other => panic!("{path}: {other:?}"),
    }
}

fn text(file: &OpenFile) -> String {
    let mut octets = vec![0; file.bytes as usize];
    file.read_blocking(&mut octets, 0).unwrap();
    String::from_utf8(octets).unwrap()
}

#[test]
fn adds_names_lists_removes_and_collects() {
    let root = tempfile::tempdir().unwrap();
    let images = Images::open(root.path()).unwrap();
    let (old, new) = (add(&images, b"old", Some("os.raw")), add(&images, b"new", None));
    assert_eq!((old, new), (digest(b"old"), digest(b"new")));
    assert_eq!(add(&images, b"old", Some("other")), old, "the same octets are the same image");
    let names = |images: &Images| {
        images.list().unwrap().into_iter().map(|image| (image.digest, image.bytes, image.names)).collect::<Vec<_>>()
    };
    let mut expected = vec![(old, 3, vec!["os.raw".to_owned(), "other".into()]), (new, 3, vec![])];
    expected.sort();
    assert_eq!(names(&images), expected);
    assert_eq!(images.find("os.raw").unwrap().digest, old);
    assert_eq!(images.find(&format!("sha256:{new}")).unwrap().digest, new);
    assert!(matches!(images.find("gone"), Err(ImageError::Absent(_))));

    // Young ones stay; what is named stays.
    let (day, now) = (Duration::from_secs(86_400), SystemTime::now());
    assert_eq!(images.collect(day, now).unwrap(), []);
    let gone = images.collect(day, now + 2 * day).unwrap();
    assert_eq!(gone.iter().map(|image| image.digest).collect::<Vec<_>>(), [new]);
    images.remove("other").unwrap();
    assert_eq!(names(&images), [(old, 3, vec!["os.raw".to_owned()])]);
    images.remove(&old.to_string()).unwrap();
    assert_eq!(names(&images), []);
    assert!(images.find("os.raw").is_err());
}

#[test]
fn what_is_wrong_or_unfinished_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let images = Images::open(root.path()).unwrap();
    let mut ingest = images.begin().unwrap();
    ingest.write(b"half").unwrap();
    drop(ingest);
    let mut ingest = images.begin().unwrap();
    ingest.write(b"wrong").unwrap();
    let error = ingest.finish(Some(digest(b"right")), Some("os.raw")).unwrap_err();
    assert!(matches!(error, ImageError::Mismatch { found, .. } if found == digest(b"wrong")), "{error}");
    assert_eq!(images.list().unwrap(), []);
    assert_eq!(std::fs::read_dir(root.path().join("images/sha256")).unwrap().count(), 0);

    let own = root.path().join("images/mine");
    std::fs::write(&own, "an operator's own file").unwrap();
    for (name, taken) in [("mine", true), ("", false), (".x", false), ("a/b", false), ("..", false), ("sha256", false)]
    {
        let mut ingest = images.begin().unwrap();
        ingest.write(b"x").unwrap();
        let error = ingest.finish(None, Some(name)).unwrap_err();
        assert_eq!(matches!(error, ImageError::Taken(_)), taken, "{name:?}: {error}");
    }
    assert_eq!(std::fs::read_to_string(own).unwrap(), "an operator's own file");
    // A process that was killed left this; another may still be at work on that.
    std::fs::write(root.path().join("images/sha256/.new-1-0"), "half").unwrap();
    let (day, now) = (Duration::from_secs(86_400), SystemTime::now());
    images.collect(day, now).unwrap();
    assert!(root.path().join("images/sha256/.new-1-0").exists());
    images.collect(day, now + 2 * day).unwrap();
    assert!(!root.path().join("images/sha256/.new-1-0").exists());
}

#[test]
fn a_swapped_name_never_mixes_and_the_tag_is_the_digest() {
    let root = tempfile::tempdir().unwrap();
    let images = Images::open(root.path()).unwrap();
    let catalogue = Catalogue::open(&[root.path().to_owned()]).unwrap();
    let old = add(&images, b"old", Some("os.raw"));
    let began = found(&catalogue, "images/os.raw");
    let new = add(&images, b"new", Some("os.raw"));
    let after = found(&catalogue, "images/os.raw");
    images.remove(&old.to_string()).unwrap();
    assert_eq!((text(&began), text(&after)), ("old".into(), "new".into()), "an open image is served to its end");
    assert!(began.is_unchanged());
    for (file, digest) in [(&began, old), (&after, new), (&found(&catalogue, &format!("images/sha256/{new}")), new)] {
        assert_eq!(file.validators.etag, format!("\"sha256-{digest}\""));
    }
    // Other files there have tags as everywhere, and links that lead out are refused.
    std::fs::write(root.path().join("images/plain"), "x").unwrap();
    assert!(!found(&catalogue, "images/plain").validators.etag.contains("sha256"));
    symlink("/etc/passwd", root.path().join("images/out")).unwrap();
    let path = resolve("images/out", Encoding::Plain).unwrap();
    assert!(matches!(catalogue.find(&path, Patience::Blocking), Lookup::Escape));
}

#[test]
fn verify_sees_what_the_disk_has_changed() {
    let root = tempfile::tempdir().unwrap();
    let images = Images::open(root.path()).unwrap();
    let digest = add(&images, b"some octets", None);
    let image = images.find(&digest.to_string()).unwrap();
    let mut read = 0;
    assert!(images.verify(&image, |bytes| read += bytes).unwrap());
    assert_eq!(read, 11);
    let path = images.path(digest);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "some octets!").unwrap();
    assert!(!images.verify(&image, |_| ()).unwrap());
}
