//! `reveille boot`: what machines shall boot, against a bootd.

use serde_json::json;

use crate::site::Site;

#[test]
fn boot_intents_are_put_shown_and_deleted_by_every_name_of_a_machine() {
    let site = Site::new();
    let _bootd = site.start("bootd", &[]);
    let (mac, uuid) = ("52:54:00:bb:00:01", "4c4c4544-0044-4810-8031-b4c04f4e3532");
    assert_eq!(site.run(&["boot", "list"]).out(), "no boot intents\n");
    let kernel = ["--kernel", "agent/kernel", "--initrd", "agent/ramdisk", "--cmdline", "BOOTIF=${mac}"];
    let put =
        site.run(&[&["boot", "put", mac, "--node", "rack1-7", "--uuid", uuid, "--json"], &kernel[..]].concat()).json();
    assert_eq!((put["action"].as_str(), put["cmdline"].as_str()), (Some("kernel"), Some("BOOTIF=${mac}")));
    for machine in [mac, uuid, "rack1-7"] {
        assert_eq!(site.run(&["boot", "get", machine, "--json"]).json(), put, "{machine}");
    }
    let listed = site.run(&["boot", "list"]).out();
    assert!(listed.contains("rack1-7") && listed.contains("agent/kernel agent/ramdisk BOOTIF=${mac}"), "{listed}");
    let disk = site.run(&["boot", "put", "rack1-7", "--disk", "--node", "rack1-7", "--json"]).json();
    assert_eq!((disk["action"].clone(), disk["mac"].clone()), (json!("disk"), json!(mac)));
    let error = site.run(&["boot", "put", mac, "--kernel", "../etc/shadow", "--initrd", "i"]).error();
    assert!(error.contains("kernel"), "{error}");
    assert!(site.run(&["boot", "get", "gone"]).error().contains("gone has no boot intent"));
    site.run(&["boot", "delete", "rack1-7", mac]).out();
    assert_eq!(site.run(&["boot", "list"]).out(), "no boot intents\n");
    // Of which nobody has said a MAC.
    for (machine, field) in [(uuid, "uuid"), ("rack1-8", "node")] {
        let put = site.run(&["boot", "put", machine, "--disk", "--json"]).json();
        assert_eq!((put[field].as_str(), put.get("mac")), (Some(machine), None), "{put}");
        assert!(site.run(&["boot", "list"]).out().contains(machine));
    }
    assert!(site.run(&["boot", "put", "52:54:00:bb:00", "--disk"]).error().contains("no MAC"));
    site.run(&["boot", "delete", uuid, "rack1-8"]).out();
    assert_eq!(site.run(&["boot", "list"]).out(), "no boot intents\n");
}
