//! The store by itself: what is answered is on disk, what is refused leaves nothing behind.

use reveille_config::dto::event::EventQuery;
use reveille_events::Log as _;

use super::*;
use crate::proto::node::{Note, Port, Severity};

fn node(id: u64, name: &str) -> Node {
    let mut node = Node::new(id, Uuid::from_u128(id.into()), "ipmi", Millis(1));
    node.name = Some(name.into());
    node
}

fn port(id: u64, node: &Node) -> Port {
    Port {
        id,
        uuid: Uuid::from_u128(u128::from(id) << 64),
        node_uuid: node.uuid,
        address: reveille_config::MacAddr([0x52, 0x54, 0, 0, 0, id as u8]),
        name: None,
        pxe_enabled: true,
        physical_network: None,
        local_link_connection: Default::default(),
        extra: Default::default(),
        attributes: Default::default(),
        created_at: Millis(1),
        updated_at: None,
    }
}

fn note(text: impl Into<String>) -> Note {
    Note { kind: "state", severity: Severity::Info, text: text.into() }
}

async fn put(store: &Store, node: Node, text: &str) {
    let text = text.to_owned();
    let decide = move |_: &Tables| -> Result<_, ()> {
        let mut change = Change::new();
        change.note(node.uuid, note(text), Millis(2));
        change.put_node(Arc::new(node));
        Ok((change, ()))
    };
    store.change(decide).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_answered_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (store, closed) = Store::open(dir.path()).unwrap();
    let epoch = store.events().epoch();
    put(&store, node(1, "n1"), "made").await;
    let with_port = port(1, &node(1, "n1"));
    let decide = move |_: &Tables| -> Result<_, ()> {
        let mut change = Change::new();
        change.put_port(Arc::new(with_port));
        Ok((change, ()))
    };
    store.change(decide).await.unwrap().unwrap();
    drop(store);
    closed.wait().await;

    let (store, _closed) = Store::open(dir.path()).unwrap();
    assert!(store.read(|tables| tables.find_node("n1").is_some()));
    assert_eq!(store.read(|tables| tables.ports_of(Uuid::from_u128(1)).len()), 1);
    let history = store.history(Uuid::from_u128(1)).await.unwrap();
    assert_eq!(history.iter().map(|entry| entry.text.as_str()).collect::<Vec<_>>(), ["made"]);
    let page = store.events().page_now(0, &EventQuery::default());
    assert_eq!((page.events.len(), page.next, page.lost, page.epoch), (1, 1, None, Some(epoch)));
    let elsewhere = tempfile::tempdir().unwrap();
    let (another, _closed) = Store::open(elsewhere.path()).unwrap();
    assert_ne!(another.events().epoch(), epoch, "a database made anew has another history");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(store.path()).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "BMC passwords are in it");
}

#[tokio::test]
async fn a_refused_decision_and_a_second_opening_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _closed) = Store::open(dir.path()).unwrap();
    let refused = store.change(|_| Err::<(Change, ()), _>("no")).await.unwrap();
    assert_eq!(refused, Err("no"));
    assert_eq!(store.read(|tables| tables.nodes().count()), 0);
    let error = Store::open(dir.path()).err().unwrap().to_string();
    assert!(error.contains("does another provisioner run on this state directory?"), "{error}");
}

#[tokio::test]
async fn deleting_a_node_takes_ports_names_and_history_along() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _closed) = Store::open(dir.path()).unwrap();
    put(&store, node(1, "n1"), "made").await;
    let with_port = port(1, &node(1, "n1"));
    let mac = with_port.address;
    store
        .change(move |_| {
            let mut change = Change::new();
            change.put_port(Arc::new(with_port));
            Ok::<_, ()>((change, ()))
        })
        .await
        .unwrap()
        .unwrap();
    store
        .change(|tables| {
            let mut change = Change::new();
            change.delete_node(tables, tables.find_node("n1").ok_or(())?);
            Ok::<_, ()>((change, ()))
        })
        .await
        .unwrap()
        .unwrap();
    assert!(store.read(|tables| tables.find_node("n1").is_none() && tables.port_by_mac(mac).is_none()));
    put(&store, node(1, "n1"), "made again").await;
    assert_eq!(store.history(Uuid::from_u128(1)).await.unwrap().len(), 1, "the old history is gone");
}

#[tokio::test]
async fn history_is_bounded_per_node_and_sequences_never_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, closed) = Store::open(dir.path()).unwrap();
    put(&store, node(1, "n1"), "first").await;
    let first = store.read(Tables::next_sequence) - 1;
    put(&store, node(2, "n2"), "of another").await;
    let many = |_: &Tables| {
        let mut change = Change::new();
        for i in 0..=HISTORY_PER_NODE_MAX {
            change.note(Uuid::from_u128(1), note(i.to_string()), Millis(3));
        }
        Ok::<_, ()>((change, ()))
    };
    store.change(many).await.unwrap().unwrap();
    let history = store.history(Uuid::from_u128(1)).await.unwrap();
    assert_eq!((history.len(), history[0].text.as_str()), (HISTORY_PER_NODE_MAX, "1"));
    drop(store);
    closed.wait().await;
    let (store, _closed) = Store::open(dir.path()).unwrap();
    assert_eq!(store.read(Tables::next_sequence), first + HISTORY_PER_NODE_MAX as u64 + 3);
    let page = store.events().page_now(0, &EventQuery::default());
    assert_eq!((page.events[0].sequence, page.lost), (first + 1, None), "from the oldest that is known");
    let page = store.events().page_now(first, &EventQuery::default());
    assert_eq!(page.lost.map(|lost| lost.to), Some(first + 2), "a reader learns what it missed");
}

#[tokio::test]
async fn names_move_with_their_nodes() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _closed) = Store::open(dir.path()).unwrap();
    put(&store, node(1, "old"), "made").await;
    put(&store, node(1, "new"), "renamed").await;
    assert!(store.read(|tables| tables.find_node("old").is_none() && tables.find_node("new").is_some()));
}

/// A file on a disk that can be full.
#[derive(Debug)]
struct Filling {
    file: redb::backends::FileBackend,
    is_full: Arc<std::sync::atomic::AtomicBool>,
}

impl Filling {
    fn check(&self) -> std::io::Result<()> {
        match self.is_full.load(std::sync::atomic::Ordering::SeqCst) {
            true => Err(std::io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl redb::StorageBackend for Filling {
    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.check()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.check()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.check()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> std::io::Result<()> {
        self.file.close()
    }
}

#[tokio::test]
async fn a_full_disk_refuses_the_change_keeps_the_old_state_and_is_recovered_from() {
    let dir = tempfile::tempdir().unwrap();
    let is_full = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let disk = Arc::clone(&is_full);
    let opener = move |path: &Path| {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).expect("made before");
        let backend = Filling { file: redb::backends::FileBackend::new(file)?, is_full: Arc::clone(&disk) };
        redb::Database::builder().create_with_backend(backend)
    };
    let (store, closed) = Store::open_with(dir.path(), Box::new(opener)).unwrap();
    put(&store, node(1, "n1"), "made").await;

    is_full.store(true, std::sync::atomic::Ordering::SeqCst);
    for name in ["n2", "n3"] {
        let refused = store
            .change(move |_| {
                let mut change = Change::new();
                change.put_node(Arc::new(node(2, name)));
                Ok::<_, ()>((change, ()))
            })
            .await;
        assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
        assert!(store.health().borrow().is_err(), "not ready, and says why");
        assert!(store.read(|tables| tables.find_node("n1").is_some() && tables.find_node(name).is_none()));
    }

    is_full.store(false, std::sync::atomic::Ordering::SeqCst);
    let mut health = store.health();
    let recovered = tokio::time::timeout(std::time::Duration::from_secs(60), health.wait_for(Result::is_ok)).await;
    assert!(recovered.is_ok_and(|health| health.is_ok()), "recovers by itself, without anybody asking for a change");
    put(&store, node(2, "n2"), "made").await;
    drop(store);
    closed.wait().await;
    let (store, _closed) = Store::open(dir.path()).unwrap();
    let names = store.read(|tables| tables.nodes().filter_map(|node| node.name.clone()).collect::<Vec<_>>());
    assert_eq!(names, ["n1", "n2"]);
}
