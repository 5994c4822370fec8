//! [`Intents`]: boot intents, in memory for reading and in a redb database for keeping.
//!
//! A change is answered once it is on disk. One thread writes; the changes that wait for it share a transaction and its fsync. Readers
//! never wait for the disk. Values are the API's JSON under the MAC's octets; the table `meta` holds the format's version.
//!
//! A write that the system refuses cleanly (no space, quota, read-only, not permitted) fails that change and makes the daemon
//! unready; the database is opened again until it works. Any other error of the disk is fatal (DESIGN.md, rule 3).

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use redb::{Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use reveille_config::MacAddr;
use reveille_config::dto::bootd::{Intent, IntentPut};
use reveille_config::dto::dhcpd::Page;
use reveille_config::limit::{INTENT_QUEUE_MAX, INTENTS_MAX, PAGE_MAX};
use tokio::sync::{mpsc, oneshot, watch};

use super::clock;

const INTENTS: TableDefinition<'_, &[u8; 6], &[u8]> = TableDefinition::new("intents");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const FORMAT: &str = "format";
const FORMAT_VERSION: u64 = 1;
/// Between attempts to open the database again.
const RETRY: Duration = Duration::from_secs(2);
/// Changes that share one transaction.
const BATCH_MAX: usize = 512;

/// The intents in force.
#[derive(Debug)]
pub struct Intents {
    shared: Arc<Shared>,
    /// Taken only to end the thread.
    queue: Option<mpsc::Sender<Change>>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    map: RwLock<BTreeMap<MacAddr, Arc<Intent>>>,
    state: watch::Sender<State>,
}

/// Whether intents can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Writable,
    Refused(String),
    Broken(String),
}

struct Change {
    mac: MacAddr,
    /// None: delete.
    intent: Option<Arc<Intent>>,
    done: oneshot::Sender<Result<(), WriteError>>,
}

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum IntentsError {
    /// The directory or the file.
    #[error("cannot open the boot intents in {path}; the directory must be writable and belong to one bootd only")]
    Open {
        /// The database file.
        path: String,
        /// Why.
        #[source]
        source: redb::Error,
    },
    /// Made by a later version.
    #[error(
        "the boot intents in {path} have format {found}, this bootd knows {FORMAT_VERSION}; run the bootd that wrote them"
    )]
    Format {
        /// The database file.
        path: String,
        /// Its format.
        found: u64,
    },
    /// A record that is not an intent.
    #[error("the boot intent of {mac} in {path} cannot be read; move the file away to begin with none")]
    Record {
        /// The database file.
        path: String,
        /// The machine.
        mac: MacAddr,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// A change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// At the limit.
    #[error("there are {INTENTS_MAX} boot intents already; delete those of machines that are gone")]
    Full,
    /// More changes wait for the disk than can.
    #[error("{INTENT_QUEUE_MAX} changes wait for the disk already; try again")]
    Busy,
    /// The system refuses to write.
    #[error("the boot intent cannot be kept on disk: {0}")]
    Disk(String),
}

type Opener = Box<dyn Fn() -> Result<Database, DatabaseError> + Send>;

impl Intents {
    /// Opens or makes `intents.redb` in the directory and reads it. Blocks.
    ///
    /// # Errors
    /// See [`IntentsError`].
    pub fn open(state_dir: &Path) -> Result<Self, IntentsError> {
        let path = state_dir.join("intents.redb");
        let name = path.display().to_string();
        let open_error =
            |error: std::io::Error| IntentsError::Open { path: name.clone(), source: redb::Error::Io(error) };
        std::fs::create_dir_all(state_dir).map_err(open_error)?;
        let open = {
            let path = path.clone();
            move || Database::create(&path)
        };
        let intents = Self::open_with(name.clone(), Box::new(open))?;
        // The file's name must survive a power loss as its contents do.
        std::fs::File::open(state_dir).and_then(|dir| dir.sync_all()).map_err(open_error)?;
        Ok(intents)
    }

    fn open_with(path: String, open: Opener) -> Result<Self, IntentsError> {
        let failed = |source: redb::Error| IntentsError::Open { path: path.clone(), source };
        let database = open().map_err(|error| failed(error.into()))?;
        let found = prepare(&database).map_err(failed)?;
        if found != FORMAT_VERSION {
            return Err(IntentsError::Format { path, found });
        }
        let mut map = BTreeMap::new();
        for (mac, json) in read_all(&database).map_err(failed)? {
            let intent: Intent = serde_json::from_slice(&json).map_err(|source| IntentsError::Record {
                path: path.clone(),
                mac,
                source,
            })?;
            map.insert(mac, Arc::new(intent));
        }
        let shared = Arc::new(Shared { map: RwLock::new(map), state: watch::Sender::new(State::Writable) });
        let (queue, changes) = mpsc::channel(INTENT_QUEUE_MAX);
        let thread = Writer { shared: shared.clone(), open, database: Some(database) };
        let writer = std::thread::Builder::new()
            .name("intents".into())
            .spawn(move || thread.run(changes))
            .map_err(|error| failed(redb::Error::Io(error)))?;
        Ok(Self { shared, queue: Some(queue), writer: Some(writer) })
    }

    /// The machine's intent.
    pub fn get(&self, mac: MacAddr) -> Option<Arc<Intent>> {
        self.shared.map.read().unwrap_or_else(PoisonError::into_inner).get(&mac).cloned()
    }

    /// One page, by MAC, of those after `after`.
    pub fn page(&self, after: Option<MacAddr>, limit: usize) -> Page<Intent> {
        let limit = limit.clamp(1, PAGE_MAX);
        let map = self.shared.map.read().unwrap_or_else(PoisonError::into_inner);
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = map.range((start, Bound::Unbounded));
        let items: Vec<Intent> = rest.by_ref().take(limit).map(|(_, intent)| Intent::clone(intent)).collect();
        let next = rest.next().and(items.last()).map(|last| last.mac.to_string());
        Page { items, next }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.shared.map.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts an intent that has passed [`crate::proto::script::check`]; returns once it is on disk. Putting the same again
    /// leaves its time as it is and writes nothing.
    ///
    /// # Errors
    /// See [`WriteError`]; then the intent in force is as before.
    pub async fn put(&self, mac: MacAddr, put: IntentPut) -> Result<Arc<Intent>, WriteError> {
        if let Some(same) = self.get(mac).filter(|old| old.action == put.action && old.node == put.node) {
            return Ok(same);
        }
        let intent = Arc::new(Intent { mac, action: put.action, node: put.node, put_unix: clock::unix_secs() });
        self.change(mac, Some(intent.clone())).await?;
        Ok(intent)
    }

    /// Deletes an intent; fine where there is none.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn delete(&self, mac: MacAddr) -> Result<(), WriteError> {
        self.change(mac, None).await
    }

    async fn change(&self, mac: MacAddr, intent: Option<Arc<Intent>>) -> Result<(), WriteError> {
        let (done, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.try_send(Change { mac, intent, done }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => WriteError::Busy,
            mpsc::error::TrySendError::Closed(_) => stopped(),
        })?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Why intents cannot be written at present.
    pub fn refusal(&self) -> Option<String> {
        match &*self.shared.state.borrow() {
            State::Writable => None,
            State::Refused(reason) | State::Broken(reason) => Some(reason.clone()),
        }
    }

    /// Resolves when the disk has failed in a way that must end the daemon, with the reason.
    pub async fn broken(&self) -> String {
        let mut state = self.shared.state.subscribe();
        let broken = state.wait_for(|state| matches!(state, State::Broken(_))).await;
        match broken.as_deref() {
            Ok(State::Broken(reason)) => reason.clone(),
            // The sender is in `self`.
            _ => std::future::pending().await,
        }
    }
}

impl Drop for Intents {
    /// Waits for the change that is being written, so that the database is closed when this returns.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(writer) = self.writer.take() {
            // A panic of the thread has been reported where it happened.
            let _ = writer.join();
        }
    }
}

fn stopped() -> WriteError {
    WriteError::Disk("the store has stopped".into())
}

/// Makes the tables where they are missing; returns the format's version.
fn prepare(database: &Database) -> Result<u64, redb::Error> {
    let write = database.begin_write()?;
    let version = {
        write.open_table(INTENTS)?;
        let mut meta = write.open_table(META)?;
        let found = meta.get(FORMAT)?.map(|version| version.value());
        match found {
            Some(version) => version,
            None => {
                meta.insert(FORMAT, FORMAT_VERSION)?;
                FORMAT_VERSION
            }
        }
    };
    write.commit()?;
    Ok(version)
}

fn read_all(database: &Database) -> Result<Vec<(MacAddr, Vec<u8>)>, redb::Error> {
    let table = database.begin_read()?.open_table(INTENTS)?;
    let mut all = Vec::new();
    for row in table.iter()? {
        let (mac, json) = row?;
        all.push((MacAddr(*mac.value()), json.value().to_vec()));
    }
    Ok(all)
}

/// The thread that writes.
struct Writer {
    shared: Arc<Shared>,
    open: Opener,
    /// None after an error: redb does not go on after one.
    database: Option<Database>,
}

impl Writer {
    fn run(mut self, mut changes: mpsc::Receiver<Change>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            if self.database.is_none() {
                self.reopen();
            }
            if self.database.is_none() {
                if matches!(*self.shared.state.borrow(), State::Broken(_)) || changes.is_closed() {
                    return;
                }
                self.refuse_for(&mut changes, RETRY);
                continue;
            }
            if changes.blocking_recv_many(&mut batch, BATCH_MAX) == 0 {
                return;
            }
            let broken = self.write(&mut batch);
            if broken {
                return;
            }
        }
    }

    /// Answers changes with the reason while the disk refuses.
    fn refuse_for(&self, changes: &mut mpsc::Receiver<Change>, wait: Duration) {
        let until = std::time::Instant::now() + wait;
        while std::time::Instant::now() < until && !changes.is_closed() {
            while let Ok(change) = changes.try_recv() {
                let reason = match &*self.shared.state.borrow() {
                    State::Refused(reason) | State::Broken(reason) => reason.clone(),
                    State::Writable => continue,
                };
                let _ = change.done.send(Err(WriteError::Disk(reason)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Tries to open and to write once.
    fn reopen(&mut self) {
        match (self.open)().map_err(redb::Error::from).and_then(|database| prepare(&database).map(|_| database)) {
            Ok(database) => {
                self.database = Some(database);
                self.shared.state.send_replace(State::Writable);
            }
            Err(error) => {
                self.fail(&error);
            }
        }
    }

    /// Writes one transaction and answers; true if the disk is broken.
    fn write(&mut self, batch: &mut Vec<Change>) -> bool {
        let mut count = self.shared.map.read().unwrap_or_else(PoisonError::into_inner).len();
        let mut accepted: BTreeMap<MacAddr, Option<Arc<Intent>>> = BTreeMap::new();
        let mut answers = Vec::with_capacity(batch.len());
        {
            let map = self.shared.map.read().unwrap_or_else(PoisonError::into_inner);
            for change in batch.drain(..) {
                let exists = accepted.get(&change.mac).map_or_else(|| map.contains_key(&change.mac), Option::is_some);
                match (exists, change.intent.is_some()) {
                    (false, true) if count >= INTENTS_MAX => {
                        let _ = change.done.send(Err(WriteError::Full));
                        continue;
                    }
                    (false, true) => count += 1,
                    (true, false) => count -= 1,
                    _ => {}
                }
                accepted.insert(change.mac, change.intent);
                answers.push(change.done);
            }
        }
        let result = match &self.database {
            Some(database) => commit(database, &accepted),
            None => Err(redb::Error::DatabaseClosed),
        };
        let (answer, broken) = match result {
            Ok(()) => {
                let mut map = self.shared.map.write().unwrap_or_else(PoisonError::into_inner);
                for (mac, intent) in accepted {
                    match intent {
                        Some(intent) => map.insert(mac, intent),
                        None => map.remove(&mac),
                    };
                }
                (Ok(()), false)
            }
            Err(error) => {
                self.database = None;
                (Err(WriteError::Disk(error.to_string())), self.fail(&error))
            }
        };
        for done in answers {
            // Whoever asked may have gone.
            let _ = done.send(answer.clone());
        }
        broken
    }

    /// Notes an error; true if it must end the daemon.
    fn fail(&self, error: &redb::Error) -> bool {
        let clean = match error {
            redb::Error::Io(io) => matches!(
                io.kind(),
                ErrorKind::StorageFull
                    | ErrorKind::QuotaExceeded
                    | ErrorKind::ReadOnlyFilesystem
                    | ErrorKind::PermissionDenied
            ),
            _ => false,
        };
        let reason = format!("boot intents cannot be written: {error}");
        self.shared.state.send_replace(if clean { State::Refused(reason) } else { State::Broken(reason) });
        !clean
    }
}

fn commit(database: &Database, changes: &BTreeMap<MacAddr, Option<Arc<Intent>>>) -> Result<(), redb::Error> {
    let mut write = database.begin_write()?;
    write.set_durability(Durability::Immediate)?;
    {
        let mut table = write.open_table(INTENTS)?;
        for (mac, intent) in changes {
            match intent {
                Some(intent) => {
                    // An intent has nothing that JSON could not hold.
                    let json = serde_json::to_vec(&**intent).map_err(|error| redb::Error::Io(error.into()))?;
                    table.insert(&mac.octets(), json.as_slice())?;
                }
                None => {
                    table.remove(&mac.octets())?;
                }
            }
        }
    }
    write.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::StorageBackend;
    use redb::backends::FileBackend;
    use reveille_config::dto::bootd::BootAction;
    use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

    fn mac(n: u8) -> MacAddr {
        MacAddr([2, 0, 0, 0, 0, n])
    }

    fn disk() -> IntentPut {
        IntentPut { action: BootAction::Disk, node: None }
    }

    fn kernel(cmdline: &str) -> IntentPut {
        let action = BootAction::Kernel { kernel: "vmlinuz".into(), initrd: "initrd".into(), cmdline: cmdline.into() };
        IntentPut { action, node: Some("node".into()) }
    }

    #[tokio::test]
    async fn survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let intents = Intents::open(dir.path()).unwrap();
        intents.put(mac(1), kernel("a")).await.unwrap();
        intents.put(mac(2), disk()).await.unwrap();
        intents.put(mac(1), kernel("b")).await.unwrap();
        intents.put(mac(3), disk()).await.unwrap();
        intents.delete(mac(3)).await.unwrap();
        intents.delete(mac(9)).await.unwrap();
        let before = intents.page(None, 10);
        drop(intents);
        let again = Intents::open(dir.path()).unwrap();
        assert_eq!(again.page(None, 10), before);
        assert_eq!(again.get(mac(1)).unwrap().action, kernel("b").action);
        assert_eq!((again.len(), again.get(mac(3))), (2, None));
    }

    #[tokio::test]
    async fn pages_by_mac() {
        let dir = tempfile::tempdir().unwrap();
        let intents = Intents::open(dir.path()).unwrap();
        for n in [3, 1, 2] {
            intents.put(mac(n), disk()).await.unwrap();
        }
        let first = intents.page(None, 2);
        assert_eq!(first.items.iter().map(|i| i.mac).collect::<Vec<_>>(), [mac(1), mac(2)]);
        let second = intents.page(first.next.map(|next| next.parse().unwrap()), 2);
        assert_eq!((second.items[0].mac, second.next), (mac(3), None));
    }

    #[tokio::test]
    async fn changes_that_wait_share_a_transaction() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let bad = BadDisk::default();
        let syncs = bad.syncs.clone();
        let intents = Arc::new(Intents::open_with("db".into(), Box::new(move || bad.open(&path))).unwrap());
        let before = syncs.load(Ordering::SeqCst);
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..200 {
            let intents = intents.clone();
            tasks.spawn(async move { intents.put(mac(n), disk()).await.unwrap() });
        }
        tasks.join_all().await;
        assert_eq!(intents.len(), 200);
        let syncs = syncs.load(Ordering::SeqCst) - before;
        assert!(syncs < 100, "{syncs} syncs for 200 changes");
    }

    #[tokio::test]
    async fn a_full_disk_refuses_changes_and_recovers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let bad = BadDisk::default();
        let errno = bad.errno.clone();
        let intents = Intents::open_with("db".into(), Box::new(move || bad.open(&path))).unwrap();
        intents.put(mac(1), kernel("kept")).await.unwrap();
        errno.store(28, Ordering::SeqCst); // ENOSPC
        let refused = intents.put(mac(1), kernel("lost")).await.unwrap_err();
        assert!(matches!(&refused, WriteError::Disk(reason) if reason.contains("No space")), "{refused:?}");
        assert!(intents.put(mac(2), disk()).await.is_err());
        assert!(intents.refusal().is_some());
        assert_eq!(intents.get(mac(1)).unwrap().action, kernel("kept").action, "what is known is still served");
        errno.store(0, Ordering::SeqCst);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while intents.refusal().is_some() {
            assert!(tokio::time::Instant::now() < deadline, "did not recover");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        intents.put(mac(2), disk()).await.unwrap();
        assert_eq!(intents.get(mac(1)).unwrap().action, kernel("kept").action);
    }

    #[tokio::test]
    async fn an_input_output_error_is_fatal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let bad = BadDisk::default();
        let errno = bad.errno.clone();
        let intents = Intents::open_with("db".into(), Box::new(move || bad.open(&path))).unwrap();
        errno.store(5, Ordering::SeqCst); // EIO
        assert!(intents.put(mac(1), disk()).await.is_err());
        assert!(intents.broken().await.contains("cannot be written"));
        errno.store(0, Ordering::SeqCst);
        assert!(intents.put(mac(1), disk()).await.is_err(), "nothing is tried again after a failed disk");
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
            self.0.sync_data()
        }
        fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
            self.1.check()?;
            self.0.write(offset, data)
        }
    }
}
