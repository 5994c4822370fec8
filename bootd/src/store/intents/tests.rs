//! Tests of [`super::Intents`], on disks that fail.

use super::writer::{FORMAT, META};
use super::*;
use redb::backends::FileBackend;
use redb::{DatabaseError, StorageBackend};
use reveille_config::MacAddr;
use reveille_config::dto::bootd::BootAction;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

fn mac(n: u8) -> MachineId {
    MacAddr([2, 0, 0, 0, 0, n]).into()
}

fn disk() -> IntentPut {
    IntentPut::new(BootAction::Disk)
}

fn kernel(cmdline: &str) -> IntentPut {
    let action = BootAction::Kernel { kernel: "vmlinuz".into(), initrd: "initrd".into(), cmdline: cmdline.into() };
    IntentPut { node: Some("node".into()), ..IntentPut::new(action) }
}

#[tokio::test]
async fn survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let intents = Intents::open(dir.path()).unwrap();
    intents.put(&mac(1), kernel("a")).await.unwrap();
    intents.put(&mac(2), disk()).await.unwrap();
    intents.put(&mac(1), kernel("b")).await.unwrap();
    intents.put(&mac(3), disk()).await.unwrap();
    intents.delete(&mac(3)).await.unwrap();
    intents.delete(&mac(9)).await.unwrap();
    let before = intents.page(None, 10);
    drop(intents);
    let again = Intents::open(dir.path()).unwrap();
    assert_eq!(again.page(None, 10), before);
    assert_eq!(again.get(&mac(1)).unwrap().action, kernel("b").action);
    assert_eq!((again.len(), again.get(&mac(3))), (2, None));
}

#[tokio::test]
async fn a_machine_is_known_by_its_uuid_and_its_node_too() {
    let dir = tempfile::tempdir().unwrap();
    let uuid = "4C4C4544-0044-4810-8031-B4C04F4E3532";
    let put = |node: &str, uuid: Option<&str>| IntentPut {
        node: Some(node.into()),
        uuid: uuid.map(str::to_owned),
        ..IntentPut::new(BootAction::Disk)
    };
    let intents = Intents::open(dir.path()).unwrap();
    intents.put(&mac(2), put("one", Some(uuid))).await.unwrap();
    intents.put(&mac(1), put("one", None)).await.unwrap();
    intents.put(&mac(3), put("two", None)).await.unwrap();
    let macs =
        |intents: &Intents, name: &str| intents.named(name).into_iter().map(|(machine, _)| machine).collect::<Vec<_>>();
    drop(intents);
    let intents = Intents::open(dir.path()).unwrap();
    assert_eq!(macs(&intents, "one"), [mac(1), mac(2)]);
    assert_eq!(macs(&intents, &uuid.to_lowercase()), [mac(2)]);
    intents.put(&mac(2), put("two", None)).await.unwrap();
    intents.delete(&mac(3)).await.unwrap();
    for (name, expected) in [("one", &[mac(1)][..]), ("TWO", &[mac(2)]), (uuid, &[]), ("three", &[])] {
        assert_eq!(macs(&intents, name), expected, "{name}");
    }
}

#[tokio::test]
async fn a_machine_without_a_mac_is_kept_by_its_uuid_or_its_node() {
    let dir = tempfile::tempdir().unwrap();
    let ids = ["4c4c4544-0044-4810-8031-b4c04f4e3532", "rack1-7"].map(|text| MachineId::parse(text).unwrap());
    let intents = Intents::open(dir.path()).unwrap();
    for id in ids.iter().chain([&mac(1)]) {
        intents.put(id, kernel(&id.to_string())).await.unwrap();
    }
    drop(intents);
    let intents = Intents::open(dir.path()).unwrap();
    for id in &ids {
        assert_eq!(intents.get(id).unwrap().mac, None);
        assert_eq!(intents.named(&id.to_string()).iter().map(|(id, _)| id).collect::<Vec<_>>(), [id]);
    }
    let page = intents.page(Some(&mac(1)), 1);
    assert_eq!(page.next, Some(ids[0].to_string()), "behind those with a MAC");
    intents.delete(&ids[0]).await.unwrap();
    drop(intents);
    let intents = Intents::open(dir.path()).unwrap();
    assert_eq!((intents.len(), intents.get(&ids[0])), (2, None));
}

#[tokio::test]
async fn pages_by_mac() {
    let dir = tempfile::tempdir().unwrap();
    let intents = Intents::open(dir.path()).unwrap();
    for n in [3, 1, 2] {
        intents.put(&mac(n), disk()).await.unwrap();
    }
    let first = intents.page(None, 2);
    assert_eq!(first.items.iter().map(|i| i.mac).collect::<Vec<_>>(), [mac(1).mac(), mac(2).mac()]);
    let second = intents.page(first.next.map(|next| MachineId::parse(&next).unwrap()).as_ref(), 2);
    assert_eq!((second.items[0].mac, second.next), (mac(3).mac(), None));
}

#[tokio::test]
async fn changes_that_wait_share_a_transaction() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let bad = BadDisk::default();
    let (syncs, is_held) = (bad.syncs.clone(), bad.is_held.clone());
    let intents = Arc::new(Intents::open_with("db".into(), Box::new(move || bad.open(&path))).unwrap());
    let before = syncs.load(Ordering::SeqCst);
    is_held.store(true, Ordering::SeqCst);
    let begun = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..200 {
        let (intents, begun) = (intents.clone(), begun.clone());
        tasks.spawn(async move {
            // On this one thread, what follows is in the queue before anybody sees the number.
            begun.fetch_add(1, Ordering::SeqCst);
            intents.put(&mac(n), disk()).await.unwrap()
        });
    }
    while begun.load(Ordering::SeqCst) < 200 {
        tokio::task::yield_now().await;
    }
    is_held.store(false, Ordering::SeqCst);
    tasks.join_all().await;
    assert_eq!(intents.len(), 200);
    let syncs = syncs.load(Ordering::SeqCst) - before;
    // Those of the first change, and of all that came meanwhile.
    assert!(syncs < 20, "{syncs} syncs for 200 changes");
}

#[tokio::test]
async fn a_full_disk_refuses_changes_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let bad = BadDisk::default();
    let errno = bad.errno.clone();
    let intents = Intents::open_with("db".into(), Box::new(move || bad.open(&path))).unwrap();
    intents.put(&mac(1), kernel("kept")).await.unwrap();
    errno.store(28, Ordering::SeqCst); // ENOSPC
    let refused = intents.put(&mac(1), kernel("lost")).await.unwrap_err();
    assert!(matches!(&refused, WriteError::Disk(reason) if reason.contains("No space")), "{refused:?}");
    assert!(intents.put(&mac(2), disk()).await.is_err());
    assert!(intents.refusal().is_some());
    assert_eq!(intents.get(&mac(1)).unwrap().action, kernel("kept").action, "what is known is still served");
    errno.store(0, Ordering::SeqCst);
    let mut state = intents.shared.state.subscribe();
    let recovered = tokio::time::timeout(Duration::from_secs(60), state.wait_for(|state| *state == State::Writable));
    recovered.await.expect("it recovers by itself").unwrap();
    assert_eq!(intents.refusal(), None);
    intents.put(&mac(2), disk()).await.unwrap();
    assert_eq!(intents.get(&mac(1)).unwrap().action, kernel("kept").action);
}

#[tokio::test]
async fn an_input_output_error_is_fatal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let bad = BadDisk::default();
    let errno = bad.errno.clone();
    let intents = Intents::open_with("db".into(), Box::new(move || bad.open(&path))).unwrap();
    errno.store(5, Ordering::SeqCst); // EIO
    assert!(intents.put(&mac(1), disk()).await.is_err());
    assert!(intents.broken().await.contains("cannot be written"));
    errno.store(0, Ordering::SeqCst);
    assert!(intents.put(&mac(1), disk()).await.is_err(), "nothing is tried again after a failed disk");
}

#[test]
fn a_later_format_and_a_second_bootd_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let first = Intents::open(dir.path()).unwrap();
    let second = Intents::open(dir.path()).unwrap_err().to_string();
    assert!(second.contains("one bootd only"), "{second}");
    drop(first);
    let path = dir.path().join("later");
    let database = Database::create(&path).unwrap();
    let write = database.begin_write().unwrap();
    write.open_table(META).unwrap().insert(FORMAT, 99).unwrap();
    write.commit().unwrap();
    drop(database);
    let later = Intents::open_with("later".into(), Box::new(move || Database::create(&path))).unwrap_err();
    assert!(matches!(later, IntentsError::Format { found: 99, .. }), "{later:?}");
}

/// A disk that fails every write with `errno` while that is not 0.
#[derive(Debug, Default, Clone)]
struct BadDisk {
    errno: Arc<AtomicI32>,
    syncs: Arc<AtomicUsize>,
    /// No sync ends meanwhile.
    is_held: Arc<AtomicBool>,
}

#[derive(Debug)]
struct BadFile(FileBackend, BadDisk);

impl BadDisk {
    fn open(&self, path: &Path) -> Result<Database, DatabaseError> {
        let file = std::fs::File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        Database::builder().create_with_backend(BadFile(FileBackend::new(file)?, self.clone()))
    }

    fn check(&self) -> std::io::Result<()> {
        match self.errno.load(Ordering::SeqCst) {
            0 => Ok(()),
            errno => Err(std::io::Error::from_raw_os_error(errno)),
        }
    }
}

impl StorageBackend for BadFile {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.1.check()?;
        self.0.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.1.check()?;
        self.1.syncs.fetch_add(1, Ordering::SeqCst);
        while self.1.is_held.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.1.check()?;
        self.0.write(offset, data)
    }
}
