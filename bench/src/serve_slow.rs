//! Our dhcpd on a disk that is slow while a file exists: the seam is the journal's own storage trait, so that nothing of the server
//! that is measured differs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use reveille_dhcpd::store::journal::{FileStorage, Storage, StorageError, StorageFile, StoredFile};

/// Arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The configuration file
    #[arg(long)]
    config: PathBuf,
    /// How much longer each durable write takes
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    delay_millis: u64,
    /// The disk is slow while this file exists
    #[arg(long = "while")]
    slow: PathBuf,
}

/// Serves until it is ended.
///
/// # Errors
/// dhcpd does not start, or can no longer serve.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let config = reveille_config::Config::load(&args.config)
        .map_err(|mistakes| anyhow!("{}: {} mistakes", args.config.display(), mistakes.len()))?;
    let dhcpd = config.dhcpd.context("the file has no table [dhcpd]")?;
    let delay = Delay { slow: args.slow.as_path().into(), length: Duration::from_millis(args.delay_millis) };
    let inner = FileStorage::open(&dhcpd.state_dir.join("journal"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let storage = Box::new(SlowStorage { inner, delay });
        let mut running = reveille_dhcpd::start_on(storage, Arc::new(dhcpd), Arc::new(String::new)).await?;
        println!("ready");
        Err(running.failed().await.into())
    })
}

/// When a write takes longer, and how much.
#[derive(Debug, Clone)]
struct Delay {
    slow: Arc<Path>,
    length: Duration,
}

impl Delay {
    fn pass(&self) {
        if self.slow.exists() {
            std::thread::sleep(self.length);
        }
    }
}

/// A storage whose promises may take their time.
struct SlowStorage {
    inner: FileStorage,
    delay: Delay,
}

impl SlowStorage {
    fn slow(&self, file: Box<dyn StorageFile>) -> Box<dyn StorageFile> {
        Box::new(SlowFile { inner: file, delay: self.delay.clone() })
    }
}

impl Storage for SlowStorage {
    fn list(&self) -> Result<Vec<StoredFile>, StorageError> {
        self.inner.list()
    }

    fn allocate(&self, name: &str, bytes: u64, between: &mut dyn FnMut()) -> Result<(), StorageError> {
        self.delay.pass();
        self.inner.allocate(name, bytes, between)
    }

    fn create(&self, name: &str) -> Result<Box<dyn StorageFile>, StorageError> {
        Ok(self.slow(self.inner.create(name)?))
    }

    fn open(&self, name: &str) -> Result<Box<dyn StorageFile>, StorageError> {
        Ok(self.slow(self.inner.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.inner.remove(name)
    }

    fn sync_directory(&self) -> Result<(), StorageError> {
        self.delay.pass();
        self.inner.sync_directory()
    }

    fn salt(&self) -> u64 {
        self.inner.salt()
    }
}

struct SlowFile {
    inner: Box<dyn StorageFile>,
    delay: Delay,
}

impl StorageFile for SlowFile {
    fn bytes(&self) -> Result<u64, StorageError> {
        self.inner.bytes()
    }

    fn read_at(&self, offset: u64, to: &mut [u8]) -> Result<usize, StorageError> {
        self.inner.read_at(offset, to)
    }

    fn write_at(&mut self, offset: u64, octets: &[u8]) -> Result<(), StorageError> {
        self.inner.write_at(offset, octets)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.delay.pass();
        self.inner.sync()
    }

    fn write_durable(&mut self, offset: u64, octets: &[u8]) -> Result<(), StorageError> {
        self.delay.pass();
        self.inner.write_durable(offset, octets)
    }
}
