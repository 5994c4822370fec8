//! `reveille boot-files install`.

use crate::site::reveille;

#[test]
fn boot_programs_are_put_under_their_names_and_missing_packages_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (system, root) = (dir.path().join("system"), dir.path().join("root"));
    std::fs::create_dir(&root).unwrap();
    let have = |path: &str| {
        let path = system.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, path.file_name().unwrap().as_encoded_bytes()).unwrap();
    };
    have("usr/lib/ipxe/undionly.kpxe");
    have("usr/lib/ipxe/snponly.efi");
    let install = |more: &[&str]| {
        let from = ["boot-files", "install", root.to_str().unwrap(), "--from", system.to_str().unwrap()];
        reveille(&[&from, more].concat())
    };
    let ran = install(&[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.out.contains("ipxe.efi") && ran.out.contains("apt install ipxe"), "{ran:?}");
    have("boot/ipxe.efi");
    let states = |more: &[&str]| {
        let listed = install(&[&["--json"], more].concat()).json();
        let state =
            |own: &serde_json::Value| format!("{} {}", own["file"].as_str().unwrap(), own["state"].as_str().unwrap());
        listed.as_array().unwrap().iter().map(state).collect::<Vec<_>>()
    };
    assert_eq!(states(&[]), ["undionly.kpxe unchanged", "snponly.efi unchanged", "ipxe.efi installed"]);
    assert_eq!(std::fs::read_to_string(root.join("snponly.efi")).unwrap(), "snponly.efi");
    for path in ["shim/shimx64.efi.signed", "grub/x86_64-efi-signed/grubnetx64.efi.signed", "shim/mmx64.efi.signed"] {
        have(&format!("usr/lib/{path}"));
    }
    let secure = states(&["--arch", "x64", "--with", "secure-boot"]);
    assert_eq!(secure, ["shimx64.efi installed", "grubx64.efi installed", "mmx64.efi installed"]);
    assert_eq!(std::fs::read_to_string(root.join("grubx64.efi")).unwrap(), "grubnetx64.efi.signed");
    let mut names: Vec<_> = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["grubx64.efi", "ipxe.efi", "mmx64.efi", "shimx64.efi", "snponly.efi", "undionly.kpxe"]);
    // What Debian 12 has no package for, and what a PC cannot install.
    for (program, advice) in [
        ("ipxe", "Debian 12's ipxe has none for ARM"),
        ("secure-boot", "apt download shim-signed:arm64"),
        ("grub", "grub-efi-arm64-bin:arm64"),
    ] {
        let ran = install(&["--arch", "arm64", "--with", program]);
        assert!(ran.code == Some(1) && ran.out.contains(advice), "{ran:?}");
    }
    let error = install(&["--arch", "arm64", "--with", "pxelinux"]).error();
    assert!(error.contains("no such boot program"), "{error}");
}
