//! [`Log`]: what a program or a machine's serial port has written to a file, read while it is being written.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::LabError;
use crate::wait::Deadline;

/// How much of a log an error quotes, bytes.
const TAIL_BYTES: u64 = 2000;

/// A file that a program writes, read from a place on.
#[derive(Debug, Clone)]
pub struct Log {
    path: PathBuf,
    from: u64,
}

impl Log {
    /// The file, from its start.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), from: 0 }
    }

    /// The same file from its present end on.
    #[must_use]
    pub fn from_here(&self) -> Self {
        let from = fs::metadata(&self.path).map_or(0, |meta| meta.len());
        Self { path: self.path.clone(), from }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds; empty while the file does not exist.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn text(&self) -> Result<String, LabError> {
        self.read_from(self.from)
    }

    /// The first line that contains `text` and is complete: the writer may be in the midst of the last one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn find(&self, text: &str) -> Result<Option<String>, LabError> {
        let whole = self.text()?;
        let mut lines = whole.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        Ok(lines.find(|line| line.contains(text)).map(|line| line.trim_end_matches('\r').to_owned()))
    }

    /// Waits until a line contains `text`.
    ///
    /// # Errors
    /// [`LabError::Late`], with the end of the log.
    pub fn wait_for(&self, text: &str, deadline: Deadline) -> Result<String, LabError> {
        deadline.until(text, || self.find(text)).map_err(|error| match error {
            LabError::Late { .. } => deadline.late_seeing(format!("{text:?} in {}", self.path.display()), self.tail()),
            other => other,
        })
    }

    /// Its last 2,000 bytes, for messages.
    pub fn tail(&self) -> String {
        let end = fs::metadata(&self.path).map_or(0, |meta| meta.len());
        self.read_from(self.from.max(end.saturating_sub(TAIL_BYTES))).unwrap_or_default()
    }

    fn read_from(&self, from: u64) -> Result<String, LabError> {
        let tried = || format!("read {}", self.path.display());
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
            Err(error) => return Err(LabError::io(tried())(error)),
        };
        let len = file.metadata().map_err(LabError::io(tried()))?.len().saturating_sub(from);
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, from).map_err(LabError::io(tried()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_log_is_found_line_by_line_and_from_a_mark_on() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = Log::at(file.path());
        fs::write(file.path(), "one\ntwo\n").unwrap();
        let later = log.from_here();
        fs::write(file.path(), "one\ntwo\nthree").unwrap();
        assert_eq!(later.find("three").unwrap(), None, "the line may go on");
        fs::write(file.path(), "one\ntwo\nthree\r\n").unwrap();
        assert_eq!(log.find("tw").unwrap().as_deref(), Some("two"));
        assert_eq!(later.find("tw").unwrap(), None);
        assert_eq!(later.wait_for("three", Deadline::secs(1)).unwrap(), "three");
        let error = later.wait_for("four", Deadline::after(Duration::ZERO)).unwrap_err().to_string();
        assert!(error.contains("\"four\"") && error.trim_end().ends_with("three"), "{error}");
    }
}
