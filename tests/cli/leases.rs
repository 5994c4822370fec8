//! `reveille lease` and `reveille reservation` against a dhcpd, with a BMC that asks for an address.

use reveille_lab::{Client, Deadline};
use serde_json::json;

use crate::site::Site;

const BMC: &str = "52:54:00:aa:00:01";

#[test]
fn a_bmc_is_seen_approved_and_served() {
    let site = Site::new();
    let _dhcpd = site.start("dhcpd", &[]);
    let links = site.run(&["links"]).out();
    assert!(links.starts_with("INTERFACE") && links.contains("br-bmc") && links.contains("provisioning"), "{links}");
    assert_eq!(site.run(&["links", "--json"]).json()[0]["scopes"], json!(["bmc"]));
    assert_eq!(site.run(&["lease", "sightings"]).out(), "no unknown machine has asked\n");
    assert_eq!(site.run(&["lease", "list"]).out(), "no leases\n");
    let error = site.run(&["lease", "approve", BMC]).error();
    assert!(error.contains(BMC) && error.contains("was not seen"), "{error}");

    let bmc = Client::on_bmc_network(&site.networks, "bmc1", BMC.parse().unwrap()).unwrap();
    // A vendor class that would clear the reader's screen.
    let ask = bmc.program("busybox").args([
        "udhcpc",
        "-f",
        "-n",
        "-q",
        "-t",
        "3",
        "-T",
        "1",
        "-i",
        "eth0",
        "-s",
        "/bin/true",
    ]);
    let output = ask.args(["-V", "iDRAC\x1b[2J", "-x", "hostname:idrac-1"]).output(Deadline::secs(60)).unwrap();
    assert!(!output.status.success(), "an unknown BMC is not served: {output:?}");

    let sightings = site.run(&["lease", "sightings", "--json"]).json();
    assert_eq!(sightings.as_array().unwrap().len(), 1, "{sightings}");
    assert_eq!((&sightings[0]["mac"], &sightings[0]["scope"]), (&json!(BMC), &json!("bmc")));
    assert_eq!(sightings[0]["hostname"], "idrac-1");
    let table = site.run(&["lease", "sightings"]).out();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].contains("MAC") && lines[0].contains("VENDOR CLASS"), "{table}");
    assert!(lines[1].contains(BMC) && lines[1].contains("iDRAC"), "{table}");
    assert!(!table.contains('\x1b'), "{table:?}");

    let approved = site.run(&["lease", "approve", BMC, "--address", "10.77.1.150"]).out();
    assert_eq!(approved, format!("{BMC} gets 10.77.1.150 on bmc at its next try\n"));
    assert_eq!(bmc.udhcpc(&[]).unwrap().address.to_string(), "10.77.1.150");

    let leases = site.run(&["lease", "list", "--scope", "bmc", "--json"]).json();
    assert_eq!((&leases[0]["address"], &leases[0]["state"]), (&json!("10.77.1.150"), &json!("bound")));
    for which in [BMC, "10.77.1.150"] {
        assert_eq!(site.run(&["lease", "get", which, "--json"]).json(), leases[0], "{which}");
    }
    let table = site.run(&["lease", "list"]).out();
    assert!(table.starts_with("ADDRESS") && table.contains("10.77.1.150") && table.contains("bound"), "{table}");
    assert!(table.lines().all(|line| line.trim_end() == line), "{table:?}");
    assert_eq!(site.run(&["lease", "get", "10.77.1.9"]).error(), "there is no lease of 10.77.1.9");
    assert!(site.run(&["lease", "get", "x"]).error().contains("neither an IPv4 address nor a MAC address"));
    assert!(site.run(&["lease", "list", "--scope", "y"]).error().contains("y"));
    assert_eq!(site.run(&["lease", "sightings"]).out(), "no unknown machine has asked\n");

    for (filter, found) in [
        (&["--mac", BMC][..], true),
        (&["--address", "10.77.1.150", "--state", "bound"], true),
        (&["--state", "declined"], false),
        (&["--scope", "provisioning"], false),
        (&["--label", "rack=r1"], false),
        (&["--hostname", "no-such"], false),
    ] {
        let listed = site.run(&[&["lease", "list", "--json"], filter].concat()).json();
        assert_eq!(listed.as_array().unwrap().len(), usize::from(found), "{filter:?}");
        let lines = site.run(&[&["lease", "export"], filter].concat()).out();
        assert_eq!(lines.lines().count(), usize::from(found), "{filter:?}");
    }
    let wrong = site.run(&["lease", "list", "--state", "gone"]);
    assert!(wrong.code == Some(2) && wrong.err.contains("bound, released, expired, declined"), "{wrong:?}");
    let file = site.dir().join("leases.csv");
    let exported = site.run(&["lease", "export", "--format", "csv", "--output", file.to_str().unwrap()]);
    assert_eq!((exported.code, &*exported.out), (Some(0), ""), "{exported:?}");
    assert!(exported.err.contains("1 leases in"), "{exported:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("address,hwaddr,") && text.contains(&format!("10.77.1.150,{BMC},")), "{text}");
    let nowhere = site.run(&["lease", "export", "--output", "/nonexistent/leases"]).error();
    assert!(nowhere.contains("cannot write /nonexistent/leases"), "{nowhere}");

    let released = site.run(&["lease", "release", "10.77.1.150", "10.77.1.77", "--json"]).json();
    assert_eq!(released[0], json!({ "which": "10.77.1.150", "released": true, "error": null }));
    let wrong = site.run(&["lease", "release", "x", BMC]);
    assert_eq!((wrong.code, &*wrong.out), (Some(1), &*format!("{BMC}: given up\n")), "the others are: {wrong:?}");
    assert_eq!(site.run(&["lease", "get", BMC, "--json"]).json()["state"], "released");
    for which in [BMC, "10.77.1.150"] {
        let history = site.run(&["lease", "history", which, "--json"]).json();
        assert_eq!((&history[0]["change"], &history[1]["change"]), (&json!("released"), &json!("bound")), "{which}");
    }
    let table = site.run(&["lease", "history", BMC]).out();
    assert!(table.starts_with("TIME") && table.contains("released"), "{table}");
    assert_eq!(site.run(&["lease", "history", "x"]).code, Some(2));

    let events = site.run(&["lease", "events", "--transient"]).out();
    for kind in ["sighting", "reserved", "bound"] {
        assert!(events.contains(&format!(" {kind} ")), "{kind}: {events}");
    }
    let documents = site.run(&["lease", "events", "--json"]).out();
    let sequences: Vec<u64> = documents
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["sequence"].as_u64().unwrap())
        .collect();
    assert!(sequences.is_sorted() && sequences.len() < events.lines().count(), "{sequences:?}");
    let later = site.run(&["lease", "events", "--since", &sequences[0].to_string()]).out();
    assert_eq!(later.lines().count(), sequences.len() - 1);
}

#[test]
fn reservations_are_put_shown_and_deleted() {
    let site = Site::new();
    let _dhcpd = site.start("dhcpd", &[]);
    assert_eq!(site.run(&["reservation", "list"]).out(), "no reservations\n");
    assert_eq!(site.run(&["reservation", "list", "--json"]).json(), json!([]));

    let put = site.run(&[
        "reservation",
        "put",
        "52:54:00:bb:00:01",
        "--address",
        "10.77.2.50",
        "--hostname",
        "node-1",
        "--boot-file",
        "x.efi",
        "--option",
        "routers=[\"10.77.2.1\"]",
        "--option",
        "domain-name=example.net",
        "--json",
    ]);
    let expected = json!({ "mac": "52:54:00:bb:00:01", "scope": "provisioning", "address": "10.77.2.50", "hostname": "node-1",
        "boot_file": "x.efi", "options": { "routers": ["10.77.2.1"], "domain-name": "example.net" }, "origin": "api" });
    assert_eq!(put.json(), expected);
    // Without an address one is chosen, and kept when it is put again.
    let args = ["reservation", "put", "52:54:00:bb:00:02", "--scope", "provisioning", "--json"];
    let chosen = site.run(&args).json();
    assert_eq!(site.run(&args).json(), chosen);

    assert_eq!(site.run(&["reservation", "get", "52:54:00:bb:00:01", "--json"]).json(), expected);
    let shown = site.run(&["reservation", "get", "52:54:00:bb:00:01"]).out();
    assert!(shown.contains("10.77.2.50") && shown.contains("node-1") && shown.contains("x.efi"), "{shown}");
    assert_eq!(site.run(&["reservation", "list", "--json"]).json().as_array().unwrap().len(), 2);
    assert_eq!(site.run(&["reservation", "list", "--scope", "bmc"]).out(), "no reservations\n");

    for (args, words) in [
        (&["--address", "10.77.2.50"][..], "10.77.2.50"),
        (&["--address", "192.0.2.1"], "192.0.2.1"),
        (&["--address", "10.77.2.51", "--option", "colour=red"], "colour"),
        (&["--address", "10.77.2.51", "--hostname", "a_b"], "hostname: "),
        (&[], "scope"),
    ] {
        let error = site.run(&[&["reservation", "put", "52:54:00:bb:00:03"], args].concat()).error();
        assert!(error.contains(words), "{args:?}: {error}");
    }
    let error = site.run(&["reservation", "get", "52:54:00:bb:00:03"]).error();
    assert!(error.contains("52:54:00:bb:00:03"), "{error}");

    let filtered = |args: &[&str]| site.run(&[&["reservation", "list", "--json"], args].concat()).json();
    assert_eq!(filtered(&["--hostname", "node-1"]), json!([expected]));
    assert_eq!(filtered(&["--client", "52:54:00:bb:00:02"]), json!([chosen]));
    assert_eq!(filtered(&["--label", "rack=r9"]), json!([]));

    // Who has not seen the last change is told so. The shell may have eaten the quotes.
    let tag =
        || site.run(&["reservation", "get", "52:54:00:bb:00:01", "--tag"]).out().trim().trim_matches('"').to_owned();
    let (before, again) = (tag(), ["reservation", "put", "52:54:00:bb:00:01", "--address", "10.77.2.50", "--if-match"]);
    let also = site.run(&[&again[..], &[&before, "--also", "client-id:01aabb", "--json"]].concat()).json();
    assert_eq!((&also["mac"], &also["client_id"]), (&json!("52:54:00:bb:00:01"), &json!("01aabb")));
    assert_eq!(site.run(&["reservation", "get", "client-id:01aabb", "--json"]).json(), also);
    let delete = ["reservation", "delete", "52:54:00:bb:00:01", "--if-match"];
    for args in [&again[..], &delete] {
        let error = site.run(&[args, &[&before]].concat()).error();
        assert!(error.contains("changed since"), "{args:?}: {error}");
    }
    assert_eq!(site.run(&[&delete[..], &[&tag()]].concat()).out(), "");
    assert_eq!(site.run(&["reservation", "delete", "52:54:00:bb:00:01"]).out(), "", "twice is no error");
    assert_eq!(site.run(&["reservation", "list", "--json"]).json(), json!([chosen]));
}

#[test]
fn reservations_go_out_as_a_file_and_come_in_again() {
    let site = Site::new();
    let _dhcpd = site.start("dhcpd", &[]);
    let csv = "mac,client_id,circuit_id,remote_id,address,scope,hostname,lease_secs,label.rack,option.routers,boot_files.efi_x64\n\
        52:54:00:bb:00:01,,,,10.77.2.61,,rack1-1,3600,r1,\"[\"\"10.77.2.1\"\"]\",snponly.efi\n\
        ,0152540012ab,,,10.77.2.62,,,,,,\n\
        ,,65746831,746f72,10.77.2.63,,,,r2,,\n\
        ,,,746f7232,,provisioning,,,,,\n";
    let file = site.networks.run().write("reservations.csv", csv).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(site.run(&["reservation", "import", file, "--dry-run", "--json"]).json()["created"], 4);
    assert_eq!(site.run(&["reservation", "list"]).out(), "no reservations\n", "it was a trial");
    assert_eq!(site.run(&["reservation", "import", file]).out(), "4 made, 0 changed, 0 as they were\n");
    assert_eq!(site.run(&["reservation", "import", file]).out(), "0 made, 0 changed, 4 as they were\n");
    let listed = site.run(&["reservation", "list", "--json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 4);
    let table = site.run(&["reservation", "list"]).out();
    for words in ["CLIENT", "52:54:00:bb:00:01", "client-id:0152540012ab", "circuit:65746831+remote:746f72", "rack=r1"]
    {
        assert!(table.contains(words), "{words}: {table}");
    }
    let by_port = site.run(&["reservation", "get", "circuit:65746831+remote:746f72", "--json"]).json();
    assert_eq!((&by_port["address"], &by_port["labels"]["rack"]), (&json!("10.77.2.63"), &json!("r2")));

    let exported = site.dir().join("exported.csv");
    let exported = exported.to_str().unwrap();
    assert_eq!(site.run(&["reservation", "export", "--output", exported]).out(), "");
    assert_eq!(site.run(&["reservation", "export"]).out(), std::fs::read_to_string(exported).unwrap());
    assert_eq!(site.run(&["reservation", "export", "--json"]).json()["put"].as_array().unwrap().len(), 4);
    let clients =
        ["52:54:00:bb:00:01", "client-id:01:52:54:00:12:ab", "circuit:65746831+remote:746f72", "remote:746f7232"];
    let deleted = site.run(&[&["reservation", "delete", "--json"], &clients[..]].concat()).json();
    assert_eq!(deleted.as_array().unwrap().len(), 4);
    assert_eq!(site.run(&["reservation", "list"]).out(), "no reservations\n");
    assert_eq!(site.run(&["reservation", "import", exported]).out(), "4 made, 0 changed, 0 as they were\n");
    assert_eq!(site.run(&["reservation", "list", "--json"]).json(), listed);

    let put = ["reservation", "put", "client-id:0152540012ac", "--scope", "provisioning", "--json"];
    let put = site.run(&[&put[..], &["--label", "a=b", "--node", "n-1", "--expires-in", "3600"]].concat()).json();
    assert_eq!((&put["client_id"], &put["labels"]["a"]), (&json!("0152540012ac"), &json!("b")), "{put}");
    let wrong = site.run(&["reservation", "put", "client-id:x", "--scope", "provisioning"]);
    assert!(wrong.code == Some(2) && wrong.err.contains("client-id:HEX"), "{wrong:?}");
    // One bad row, and nothing of the file is done; the line is named.
    let bad = format!("{csv},0199,,,10.77.2.61,,,,,,\n");
    let bad = site.networks.run().write("bad.csv", bad).unwrap();
    let refused = site.run(&["reservation", "import", bad.to_str().unwrap()]);
    assert!(refused.code == Some(1) && refused.err.contains("bad.csv:6: address: "), "{refused:?}");
}
