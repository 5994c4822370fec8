//! `reveille node` against a provisioner, as far as it needs no BMC.

use serde_json::json;

use crate::site::Site;

#[test]
fn a_node_is_added_shown_without_its_password_and_deleted() {
    let site = Site::new();
    let provisioner = site.start("provisioner", &[]);
    assert!(site.run(&["node", "list"]).out().starts_with("no nodes"));
    let password = site.networks.run().write("password", "hunter2\n").unwrap();
    let added = site.run(&[
        "node",
        "add",
        "rack1-7",
        "--mac",
        "52:54:00:bb:00:01",
        "--mac",
        "52:54:00:bb:00:02",
        "--bmc",
        "10.77.1.150",
        "--bmc-user",
        "admin",
        "--bmc-password-file",
        password.to_str().unwrap(),
        "--enroll-only",
    ]);
    assert!(added.out().starts_with("rack1-7 added in state enroll ("));

    let shown = site.run(&["node", "show", "rack1-7", "--json"]).json();
    assert_eq!((&shown["name"], &shown["provision_state"]), (&json!("rack1-7"), &json!("enroll")));
    assert_eq!(shown["driver_info"]["ipmi_address"], "10.77.1.150");
    assert_eq!(shown["driver_info"]["ipmi_password"], "******");
    assert_eq!(shown["ports"].as_array().unwrap().len(), 2);
    let table = site.run(&["node", "show", "rack1-7"]).out();
    assert!(table.contains("52:54:00:bb:00:01 52:54:00:bb:00:02") && table.contains("******"), "{table}");
    let list = site.run(&["node", "list"]).out();
    assert!(list.contains("rack1-7") && list.contains("enroll"), "{list}");
    for args in [
        &["node", "show", "rack1-7", "--json"][..],
        &["node", "show", "rack1-7"],
        &["node", "list", "--json"],
        &["node", "history", "rack1-7", "--json"],
        &["node", "events", "--json"],
    ] {
        let out = site.run(args).out();
        assert!(!out.contains("hunter2"), "{args:?}: {out}");
    }
    let log = provisioner.log().text().unwrap();
    assert!(!log.contains("hunter2"), "{log}");

    let taken = site
        .run(&["node", "add", "rack1-7", "--mac", "52:54:00:bb:00:03", "--bmc", "10.77.1.151", "--enroll-only"])
        .error();
    assert!(taken.contains("rack1-7"), "{taken}");
    // A port that is taken takes the half-made node back.
    let half = site
        .run(&["node", "add", "rack1-8", "--mac", "52:54:00:bb:00:01", "--bmc", "10.77.1.151", "--enroll-only"])
        .error();
    assert!(half.contains("52:54:00:bb:00:01") && half.contains("was not added"), "{half}");
    assert_eq!(site.run(&["node", "list", "--json"]).json().as_array().unwrap().len(), 1);
    let power = site.run(&["node", "power", "status", "rack1-7", "--json"]).json();
    assert!(power["name"] == "rack1-7" && !power.to_string().contains("hunter2"), "{power}");
    let early = site.run(&["node", "provide", "rack1-7"]).error();
    assert!(early.contains("provide") && early.contains("enroll"), "{early}");
    let unknown = site.run(&["node", "show", "rack9"]).error();
    assert!(unknown.contains("rack9") && unknown.contains("could not be found"), "{unknown}");

    assert_eq!(site.run(&["node", "delete", "rack1-7"]).out(), "");
    assert_eq!(site.run(&["node", "list", "--json"]).json(), json!([]));
}
