//! What an image is made from: the files of `images/`, carried in this program.
//!
//! Invariant: the key of a recipe changes with every byte that a build reads from this source, and with nothing else.

use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

/// How to make one image.
#[derive(Debug)]
pub(super) struct Recipe {
    /// Its name, which is also the first part of its directory in the cache.
    pub name: &'static str,
    /// The script that makes it: one of `files`.
    pub script: &'static str,
    /// Files by their paths below `images/`.
    pub files: &'static [(&'static str, &'static str)],
    /// What the script must leave behind.
    pub products: &'static [&'static str],
}

/// The file of `images/` of that name, and what it holds.
macro_rules! file {
    ($path:literal) => {
        ($path, include_str!(concat!("../../images/", $path)))
    };
}

/// Debian with the agent.
pub(super) const AGENT: Recipe = Recipe {
    name: "agent",
    script: "agent/build.sh",
    files: &[
        file!("lib.sh"),
        file!("agent/build.sh"),
        file!("agent/constraints.txt"),
        file!("agent/early-init"),
        file!("agent/init"),
        file!("agent/ironic-python-agent.conf"),
        file!("agent/launch.py"),
        file!("agent/lease"),
        file!("agent/modules.txt"),
        file!("agent/packages.txt"),
        file!("agent/power"),
    ],
    products: &["deploy.kernel", "deploy.initramfs"],
};

/// The operating system to deploy.
pub(super) const OS: Recipe = Recipe {
    name: "os",
    script: "os/build.sh",
    files: &[
        file!("lib.sh"),
        file!("os/build.sh"),
        file!("os/init"),
        file!("os/inittab"),
        file!("os/lease"),
        file!("os/power-button"),
        file!("os/syslinux.cfg"),
    ],
    products: &["os.raw", "os.raw.sha256", "build-id"],
};

impl Recipe {
    /// A digest of all files with their names: 16 hexadecimal digits.
    pub(super) fn key(&self) -> String {
        let mut digest = Sha256::new();
        for (path, text) in self.files {
            for part in [path, text] {
                digest.update((part.len() as u64).to_le_bytes());
                digest.update(part);
            }
        }
        digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Writes the files below `dir`.
    pub(super) fn unpack(&self, dir: &Path) -> io::Result<()> {
        for (path, text) in self.files {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap_or(dir))?;
            fs::write(path, text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_recipe_carries_every_file_of_its_directory() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("images");
        for recipe in [&AGENT, &OS] {
            let entries = fs::read_dir(root.join(recipe.name)).expect("the directory of the recipe");
            let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"));
            let mut there: BTreeSet<String> = names.map(|name| format!("{}/{name}", recipe.name)).collect();
            there.insert("lib.sh".into());
            let carried = recipe.files.iter().map(|(path, _)| (*path).to_owned()).collect();
            assert_eq!(there, carried, "{}", recipe.name);
            assert!(recipe.files.iter().any(|(path, _)| *path == recipe.script), "{}", recipe.name);
        }
    }

    #[test]
    fn the_key_changes_with_names_and_contents() {
        let of = |files| Recipe { name: "x", script: "a", files, products: &[] }.key();
        let keys = [
            of(&[("a", "1")]),
            of(&[("a", "2")]),
            of(&[("b", "1")]),
            of(&[("a", "1"), ("b", "")]),
            of(&[("a1", "")]),
            of(&[]),
        ];
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "{keys:?}");
        assert_eq!(keys[0], of(&[("a", "1")]));
        assert_eq!(keys[0].len(), 16);
    }
}
