//! What the lab needs beside this source: Debian packages, the stock `baremetal` client, and others' BMCs.
//!
//! The packages are listed with their reasons in `packages.txt`; `install-packages.sh` installs what is missing. What is
//! Python is installed by pip into virtual environments in the [`cache_dir`], once.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::error::LabError;
use crate::process::find;

/// The list that `install-packages.sh` reads.
const LIST: &str = include_str!("../packages.txt");

/// The client's parts by their names on the Python package index.
const BAREMETAL_CLIENT: [&str; 2] = ["python-openstackclient", "python-ironicclient"];

/// Others' BMCs by their names and versions on the Python package index: Redfish, and IPMI.
const BMC_SIMULATORS: [&str; 2] = ["sushy-tools==2.2.0", "pyghmi==1.6.19"];

/// A Debian package of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// What the lab wants it for.
    pub reason: &'static str,
}

/// The packages of `packages.txt`.
pub fn packages() -> impl Iterator<Item = Package> {
    LIST.lines().filter_map(|line| {
        let (name, reason) = line.split_once('#')?;
        let (name, reason) = (name.trim(), reason.trim());
        (!name.is_empty()).then_some(Package { name, reason })
    })
}

/// Where downloads and builds are kept between runs: `$REVEILLE_CACHE`, or `reveille` in the user's cache directory.
pub fn cache_dir() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("REVEILLE_CACHE")
        .or_else(|| from("XDG_CACHE_HOME").map(|dir| dir.join("reveille")))
        .or_else(|| from("HOME").map(|home| home.join(".cache/reveille")))
        .unwrap_or_else(|| PathBuf::from("/var/cache/reveille"))
}

/// The stock `baremetal` program, installed into the cache if it is not there; the first time takes about a minute.
///
/// # Errors
/// When Python's venv module is missing or pip cannot install the client.
pub fn ensure_baremetal_client() -> Result<PathBuf, LabError> {
    Ok(ensure_python("baremetal-client", &BAREMETAL_CLIENT, "baremetal")?.join("baremetal"))
}

/// The folder of the programs `sushy-emulator` and `python` (which has pyghmi), installed into the cache if they are not there.
///
/// # Errors
/// When Python's venv module is missing or pip cannot install them.
pub fn ensure_bmc_simulators() -> Result<PathBuf, LabError> {
    ensure_python(&format!("bmc-simulators-{}", BMC_SIMULATORS.join("-")), &BMC_SIMULATORS, "sushy-emulator")
}

/// Packages of the Python index in a virtual environment of their own, installed once; gives the folder of its programs, of which `program` is one.
fn ensure_python(name: &str, packages: &[&str], program: &str) -> Result<PathBuf, LabError> {
    let dir = cache_dir().join(name);
    let program = dir.join("bin").join(program);
    let io = |tried: &str| LabError::io(format!("{tried} {}", dir.display()));
    fs::create_dir_all(dir.parent().expect("has a parent")).map_err(io("make the cache directory of"))?;
    // One installer at a time; the lock goes with the file handle.
    let lock_path = cache_dir().join(format!("{name}.lock"));
    let lock = fs::File::create(&lock_path).map_err(io("make the lock of"))?;
    lock.lock().map_err(io("lock"))?;
    // The last step of an installation writes `complete`, so that an interrupted one is done again.
    let complete = dir.join("complete");
    if complete.exists() && program.exists() {
        return Ok(dir.join("bin"));
    }
    let _ = fs::remove_dir_all(&dir);
    // Debian's own Python: another one in PATH may vanish with its version manager.
    let python = ["/usr/bin/python3"].into_iter().map(PathBuf::from).find(|path| path.exists());
    let python = python.map_or_else(|| find("python3"), Ok)?;
    succeed(Command::new(python).args(["-m", "venv"]).arg(&dir))?;
    let pip = ["install", "--quiet", "--disable-pip-version-check", "--no-input"];
    succeed(Command::new(dir.join("bin/pip")).args(pip).args(packages))?;
    if !program.exists() {
        let tried = format!("install {}", packages.join(" "));
        return Err(LabError::Answer { tried, answer: format!("pip has made no {}", program.display()) });
    }
    fs::write(&complete, "").map_err(io("mark as complete"))?;
    Ok(dir.join("bin"))
}

/// A program of a Debian package that cannot be installed beside others that are needed: the package is unpacked into the cache.
/// `unpacked("dhcp-helper", "usr/sbin/dhcp-helper")`
///
/// # Errors
/// When apt cannot fetch it.
pub fn unpacked(package: &str, program: &str) -> Result<PathBuf, LabError> {
    Ok(unpacked_together(package, || Ok(vec![package.to_owned()]))?.join(program))
}

/// Debian packages that are unpacked into one directory of the cache, which is called `name`: `usr`, `boot` and so on are below it.
/// Packages of another architecture, `grub-efi-arm64-signed:arm64`, need that architecture known to apt: `foreign-architecture.sh`.
///
/// # Errors
/// When apt cannot fetch one.
pub fn unpacked_together(
    name: &str,
    packages: impl Fn() -> Result<Vec<String>, LabError>,
) -> Result<PathBuf, LabError> {
    let dir = cache_dir().join("unpacked").join(name);
    let io = |tried: &str| LabError::io(format!("{tried} {}", dir.display()));
    fs::create_dir_all(&dir).map_err(io("make"))?;
    let lock = fs::File::create(dir.with_extension("lock")).map_err(io("make the lock of"))?;
    lock.lock().map_err(io("lock"))?;
    let root = dir.join("root");
    if root.exists() {
        return Ok(root);
    }
    let download = || succeed(Command::new("apt-get").args(["-qq", "download"]).args(packages()?).current_dir(&dir));
    // Where the lists are too old, the archive has newer packages and no longer these.
    download().or_else(|_| {
        succeed(Command::new("apt-get").args(["-qq", "-o", "DPkg::Lock::Timeout=300", "update"]))?;
        download()
    })?;
    // The last step renames, so that an interrupted one is done again.
    let unpack = "set -e; rm -rf new; for deb in ./*.deb; do dpkg-deb -x \"$deb\" new; done; rm ./*.deb; mv new root";
    succeed(Command::new("sh").args(["-c", unpack]).current_dir(&dir))?;
    Ok(root)
}

/// The package that has the kernel which a package without files of its own, such as `linux-image-cloud-arm64:arm64`, stands for.
///
/// # Errors
/// When apt knows none.
pub fn kernel_package(stands_for: &str) -> Result<String, LabError> {
    let mut query = Command::new("apt-cache");
    let output = query.args(["depends", "--important", stands_for]).output().map_err(LabError::io("run apt-cache"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let kernel = text.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
    kernel.map(|name| format!("linux-image-{name}")).ok_or_else(|| LabError::Answer {
        tried: format!("ask apt for the kernel behind {stands_for}"),
        answer: "it knows none; make matrix adds the architecture".to_owned(),
    })
}

fn succeed(command: &mut Command) -> Result<(), LabError> {
    let tried = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().map_err(LabError::io(tried.clone()))?;
    if output.status.success() {
        return Ok(());
    }
    let output_text = [output.stdout, output.stderr].concat();
    let output_text = String::from_utf8_lossy(&output_text).trim().to_owned();
    Err(LabError::Failed { tried, status: output.status.to_string(), output: output_text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_listed_once_and_with_a_reason() {
        let all: Vec<Package> = packages().collect();
        assert!(all.iter().any(|package| package.name == "qemu-system-x86"));
        for (i, package) in all.iter().enumerate() {
            assert!(!package.reason.is_empty(), "{} has no reason", package.name);
            assert!(!package.name.contains(char::is_whitespace), "{} is not one name", package.name);
            assert!(all[..i].iter().all(|other| other.name != package.name), "{} is listed twice", package.name);
        }
        let lines = LIST.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        assert_eq!(lines.count(), all.len(), "each line is `package # reason`");
    }
}
