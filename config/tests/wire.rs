//! The JSON of the daemons' APIs, type by type. If one of these tests fails, do not change the test: conductors and
//! daemons of other versions read this form.

use std::fmt::Debug;

use reveille_config::MacAddr;
use reveille_config::dto::Problem;
use reveille_config::dto::bootd::{BootAction, Intent, IntentPut, Transfer};
use reveille_config::dto::dhcpd::{
    Approve, Lease, LeaseState, Origin, Page, Reservation, ReservationPut, ScopeUse, Sighting,
};
use reveille_config::dto::event::{Epoch, Event, EventPage, Lost};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0xaa, 0, 1]);

/// `value` is written as `golden`, and `golden` is read as `value`.
fn golden<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, golden: &str) {
    assert_eq!(serde_json::to_string(&value).unwrap(), golden);
    assert_eq!(serde_json::from_str::<T>(golden).unwrap(), value);
}

#[test]
fn reservations() {
    golden(ReservationPut::default(), "{}");
    golden(
        ReservationPut {
            scope: Some("bmc".into()),
            address: Some([10, 77, 1, 10].into()),
            hostname: Some("rack1-1".into()),
            boot_file: Some("undionly.kpxe".into()),
            options: [("routers".to_owned(), json!(["10.77.1.1"])), ("224".into(), json!("hex:0a"))].into(),
            node: Some("4f4e".into()),
            ..ReservationPut::default()
        },
        r#"{"scope":"bmc","address":"10.77.1.10","hostname":"rack1-1","boot_file":"undionly.kpxe","options":{"224":"hex:0a","routers":["10.77.1.1"]},"node":"4f4e"}"#,
    );
    golden(
        Page {
            items: vec![Reservation {
                mac: Some(MAC),
                client_id: None,
                circuit_id: None,
                remote_id: None,
                scope: "bmc".into(),
                address: [10, 77, 1, 10].into(),
                hostname: None,
                boot_file: None,
                options: Default::default(),
                node: None,
                boot: None,
                boot_files: Default::default(),
                lease_secs: None,
                labels: Default::default(),
                expires_unix: None,
                origin: Origin::Config,
            }],
            next: Some("1".into()),
        },
        r#"{"items":[{"mac":"52:54:00:aa:00:01","scope":"bmc","address":"10.77.1.10","origin":"config"}],"next":"1"}"#,
    );
    golden(Origin::Api, r#""api""#);
    golden(Approve::default(), "{}");
    golden(
        Approve {
            scope: Some("bmc".into()),
            address: Some([10, 77, 1, 10].into()),
            hostname: Some("h".into()),
            node: Some("n".into()),
        },
        r#"{"scope":"bmc","address":"10.77.1.10","hostname":"h","node":"n"}"#,
    );
    for body in [r#"{"adress":"10.77.1.10"}"#, r#"{"address":"10.77.1"}"#] {
        assert!(serde_json::from_str::<ReservationPut>(body).is_err(), "{body}");
        assert!(serde_json::from_str::<Approve>(body).is_err(), "{body}");
    }
}

#[test]
fn leases_sightings_scopes() {
    golden(
        Lease {
            address: [10, 77, 2, 100].into(),
            mac: MAC,
            scope: "provisioning".into(),
            state: LeaseState::Bound,
            starts_unix: 1_700_000_000,
            ends_unix: 1_700_003_600,
            client_id: Some("01525400aa0001".into()),
            circuit_id: None,
            remote_id: None,
            hostname: None,
            reserved: false,
            sequence: 7,
        },
        r#"{"address":"10.77.2.100","mac":"52:54:00:aa:00:01","scope":"provisioning","state":"bound","starts_unix":1700000000,"ends_unix":1700003600,"client_id":"01525400aa0001","reserved":false,"sequence":7}"#,
    );
    for (state, word) in [
        (LeaseState::Released, r#""released""#),
        (LeaseState::Expired, r#""expired""#),
        (LeaseState::Declined, r#""declined""#),
    ] {
        golden(state, word);
    }
    golden(
        Sighting {
            mac: MAC,
            scope: "bmc".into(),
            vendor_class: Some("iDRAC".into()),
            hostname: None,
            first_unix: 1,
            last_unix: 2,
            count: 3,
        },
        r#"{"mac":"52:54:00:aa:00:01","scope":"bmc","vendor_class":"iDRAC","first_unix":1,"last_unix":2,"count":3}"#,
    );
    golden(
        ScopeUse { scope: "bmc".into(), kind: "static".into(), addresses: 100, in_use: 2, declined: 1 },
        r#"{"scope":"bmc","kind":"static","addresses":100,"in_use":2,"declined":1}"#,
    );
}

#[test]
fn intents_and_transfers() {
    let kernel =
        BootAction::Kernel { kernel: "agent/kernel".into(), initrd: "agent/ramdisk".into(), cmdline: "a=b".into() };
    golden(
        IntentPut { node: Some("4f4e".into()), ..IntentPut::new(kernel.clone()) },
        r#"{"action":"kernel","kernel":"agent/kernel","initrd":"agent/ramdisk","cmdline":"a=b","node":"4f4e"}"#,
    );
    golden(IntentPut::new(BootAction::Disk), r#"{"action":"disk"}"#);
    golden(
        Intent::of(Some(MAC), IntentPut::new(BootAction::Disk), 9),
        r#"{"mac":"52:54:00:aa:00:01","action":"disk","put_unix":9}"#,
    );
    golden(
        Intent::of(Some(MAC), IntentPut::new(kernel), 9),
        r#"{"mac":"52:54:00:aa:00:01","action":"kernel","kernel":"agent/kernel","initrd":"agent/ramdisk","cmdline":"a=b","put_unix":9}"#,
    );
    golden(
        Transfer {
            id: 1,
            protocol: "tftp".into(),
            peer: [10, 77, 2, 100].into(),
            path: "undionly.kpxe".into(),
            bytes_sent: 512,
            bytes_total: None,
            started_unix_millis: 5,
            ended_unix_millis: Some(6),
            outcome: Some("complete".into()),
        },
        r#"{"id":1,"protocol":"tftp","peer":"10.77.2.100","path":"undionly.kpxe","bytes_sent":512,"bytes_total":null,"started_unix_millis":5,"ended_unix_millis":6,"outcome":"complete"}"#,
    );
}

#[test]
fn events_and_problems() {
    let event = Event {
        sequence: 41,
        at_unix_millis: 1_700_000_000_123,
        kind: "bound".into(),
        mac: Some(MAC),
        node: None,
        message: "bound to 10.77.2.100".into(),
        detail: serde_json::Map::from_iter([("address".to_owned(), json!("10.77.2.100"))]),
    };
    golden(
        EventPage {
            events: vec![event],
            next: 41,
            epoch: Some(Epoch(0xab)),
            next_transient: Some(3),
            lost: Some(Lost { from: 12, to: 40 }),
        },
        r#"{"events":[{"sequence":41,"at_unix_millis":1700000000123,"kind":"bound","mac":"52:54:00:aa:00:01","message":"bound to 10.77.2.100","detail":{"address":"10.77.2.100"}}],"next":41,"epoch":"00000000000000ab","next_transient":3,"lost":{"from":12,"to":40}}"#,
    );
    golden(EventPage::default(), r#"{"events":[],"next":0}"#);
    golden(
        Problem {
            status: 404,
            title: "not found".into(),
            detail: "no such lease".into(),
            field: Some("mac".into()),
            errors: vec![],
        },
        r#"{"status":404,"title":"not found","detail":"no such lease","field":"mac"}"#,
    );
}
