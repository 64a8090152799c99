//! What a plugin says: JSON lines in two files of bounded size, kept over restarts, and passed on to whoever follows.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::sync::broadcast;

use plugbay_domain::{Clock, PluginConfig, Redactor, Timestamp};

/// Bytes of one file; there are two.
const FILE_BYTES: u64 = 1024 * 1024;

/// Bytes of one text; what is longer is cut.
const TEXT_BYTES: usize = 16 * 1024;

/// Bytes of a text that goes to callers. The Python SDK cuts its own at 64 KiB, and a secret may stand there.
const MASKED_BYTES: usize = 60 * 1024;

/// Lines per second that are kept, and how many may come at once. More are counted and dropped: a flood would cost disk
/// and push out what explains it.
const LINES_PER_SECOND: f64 = 1_000.0;

/// Lines a slow follower may be behind before it misses some.
const FOLLOWERS_BEHIND: usize = 512;

/// One line of a plugin's log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogLine {
    /// When it arrived.
    pub ts: Timestamp,
    /// `stdout`, `stderr`, `log`, or `plugbay` for what the service has to say.
    pub stream: String,
    /// How important, for `log`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// The text.
    pub text: String,
    /// More values, for `log`: the text of an object, which waits for slow followers in less room than its values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fields: Option<Box<RawValue>>,
}

/// The log of one plugin.
#[derive(Debug)]
pub struct PluginLog {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    /// What must not be read here.
    hidden: ArcSwap<Redactor>,
}

#[derive(Debug)]
struct Inner {
    file: Option<File>,
    /// There while somebody follows, which is at every start and seldom after it.
    followers: Option<broadcast::Sender<Arc<LogLine>>>,
    bytes: u64,
    allowance: f64,
    refilled: Instant,
    dropped: u64,
    /// What comes late must not bring the files back.
    is_removed: bool,
}

impl PluginLog {
    /// The log in this file. Nothing is made before the first line.
    pub fn new(path: PathBuf, clock: Arc<dyn Clock>) -> Self {
        let inner = Inner {
            file: None,
            followers: None,
            bytes: 0,
            allowance: LINES_PER_SECOND,
            refilled: Instant::now(),
            dropped: 0,
            is_removed: false,
        };
        Self { path, clock, inner: Mutex::new(inner), hidden: ArcSwap::default() }
    }

    /// Masks the secrets of this configuration in every further line. That finds values as they are, and nothing that a
    /// plugin has encoded or taken apart.
    pub fn hide(&self, config: &PluginConfig) {
        self.hidden.rcu(|hidden| hidden.with(config));
    }

    /// A text of the plugin's without its secrets, for callers and figures. Only so much of it that no cut shows which the
    /// plugin's own side made.
    pub fn mask(&self, text: &str) -> String {
        self.hidden.load().mask_beginning(text, MASKED_BYTES)
    }

    /// The same for what the service says, with quotations of the plugin's words.
    pub fn mask_quoted(&self, text: &str) -> String {
        self.hidden.load().mask_quoted(text)
    }

    /// The same for an object of the plugin's.
    pub fn mask_fields(&self, fields: Map<String, Value>) -> Map<String, Value> {
        self.hidden.load().mask_fields(fields)
    }

    /// Adds a line of the plugin's.
    pub fn add(&self, stream: &str, level: Option<String>, text: &str, fields: Option<&RawValue>) {
        self.take(|log| log.line(stream, level, text, fields));
    }

    /// Adds the beginning of a line of the plugin's that was longer.
    pub fn add_cut(&self, stream: &str, text: &str) {
        self.take(|log| {
            let mut text = log.hidden.load().mask_cut(text);
            text.push('…');
            log.line(stream, None, &text, None)
        });
    }

    fn take(&self, line: impl FnOnce(&Self) -> LogLine) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let earned = now.duration_since(inner.refilled).as_secs_f64() * LINES_PER_SECOND;
        inner.allowance = (inner.allowance + earned).min(LINES_PER_SECOND);
        inner.refilled = now;
        // Once lines are dropped, a row of them is: single ones between notes of what was dropped tell nothing.
        let needed = if inner.dropped == 0 { 1.0 } else { LINES_PER_SECOND / 4.0 };
        if inner.allowance < needed {
            inner.dropped += 1;
            return;
        }
        inner.allowance -= 1.0;
        self.tell_of_dropped(&mut inner);
        let line = line(self);
        self.write(&mut inner, line);
    }

    /// Adds a line of the service's own.
    pub fn note(&self, level: &str, text: &str) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        self.tell_of_dropped(&mut inner);
        let line = self.line("plugbay", Some(level.to_owned()), text, None);
        self.write(&mut inner, line);
    }

    fn tell_of_dropped(&self, inner: &mut Inner) {
        let dropped = std::mem::take(&mut inner.dropped);
        if dropped > 0 {
            let text = format!("{dropped} lines were dropped: more than {LINES_PER_SECOND} in a second");
            self.write(inner, self.line("plugbay", Some("WARNING".to_owned()), &text, None));
        }
    }

    fn line(&self, stream: &str, level: Option<String>, text: &str, fields: Option<&RawValue>) -> LogLine {
        let hidden = self.hidden.load();
        let fields = fields.and_then(|fields| fields_of(fields, &hidden));
        let text = &*hidden.mask_beginning(text, 2 * TEXT_BYTES);
        let end = text.floor_char_boundary(TEXT_BYTES);
        let text = if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() };
        let level = level.map(|level| level[..level.floor_char_boundary(32)].to_owned());
        LogLine { ts: self.clock.now(), stream: stream.to_owned(), level, text, fields }
    }

    fn write(&self, inner: &mut Inner, line: LogLine) {
        if let Err(error) = self.try_write(inner, &line) {
            inner.file = None;
            tracing::debug!(path = %self.path.display(), %error, "A plugin's log could not be written");
        }
        if inner.followers.as_ref().is_some_and(|followers| followers.send(Arc::new(line)).is_err()) {
            // The last one has gone.
            inner.followers = None;
        }
    }

    fn try_write(&self, inner: &mut Inner, line: &LogLine) -> io::Result<()> {
        if inner.is_removed {
            return Ok(());
        }
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        if inner.file.is_some() && inner.bytes + bytes.len() as u64 > FILE_BYTES {
            fs::rename(&self.path, older(&self.path))?;
            inner.file = None;
        }
        if inner.file.is_none() {
            let file = OpenOptions::new().append(true).create(true).open(&self.path)?;
            inner.bytes = file.metadata()?.len();
            inner.file = Some(file);
        }
        if let Some(file) = &mut inner.file {
            file.write_all(&bytes)?;
            inner.bytes += bytes.len() as u64;
        }
        Ok(())
    }

    /// The last lines, oldest first. Blocks on the disk.
    pub fn tail(&self, count: usize) -> Vec<LogLine> {
        let mut lines = self.read();
        lines.drain(..lines.len().saturating_sub(count));
        lines
    }

    /// Every line that is kept, oldest first. Blocks on the disk.
    pub fn read(&self) -> Vec<LogLine> {
        let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let both = text(&older(&self.path)) + &text(&self.path);
        // A line that a killed process left half-written is passed over.
        both.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Lines from now on.
    pub fn follow(&self) -> broadcast::Receiver<Arc<LogLine>> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.followers.get_or_insert_with(|| broadcast::channel(FOLLOWERS_BEHIND).0).subscribe()
    }

    /// Removes what was kept, when the plugin is uninstalled. Nothing is kept any more.
    pub fn remove(&self) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        (inner.file, inner.is_removed) = (None, true);
        for path in [self.path.clone(), older(&self.path)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The values as an object without room between them; none when they are too many, or something else.
fn fields_of(raw: &RawValue, hidden: &Redactor) -> Option<Box<RawValue>> {
    if raw.get().len() > TEXT_BYTES {
        return None;
    }
    let fields: Map<String, Value> = serde_json::from_str(raw.get()).ok()?;
    serde_json::value::to_raw_value(&hidden.mask_fields(fields)).ok()
}

/// Where the file before the present one is.
fn older(path: &Path) -> PathBuf {
    path.with_extension("jsonl.1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use plugbay_domain::SystemClock;

    fn log(folder: &Path) -> PluginLog {
        PluginLog::new(folder.join("plugin.jsonl"), Arc::new(SystemClock))
    }

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn lines_come_back_in_order_and_survive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let first = log(folder.path());
        first.add("stderr", None, "one\n[AUDIT] forged", None);
        first.note("ERROR", "two");
        let again = log(folder.path());
        again.add("log", Some("INFO".to_owned()), "three", Some(&raw("{\n\"a\":\r1}")));
        let texts: Vec<_> = again.tail(10).into_iter().map(|line| line.text).collect();
        assert_eq!(texts, ["one\n[AUDIT] forged", "two", "three"]);
        assert_eq!(again.tail(1)[0].text, "three");
        assert_eq!(again.tail(1)[0].fields.as_ref().unwrap().get(), "{\"a\":1}");
        again.remove().unwrap();
        again.note("ERROR", "late");
        assert!(again.tail(10).is_empty() && fs::read_dir(folder.path()).unwrap().next().is_none());
    }

    #[test]
    fn values_that_are_too_many_or_no_object_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path());
        for fields in ["[]", "1", &format!("{{\"a\":[{}0]}}", "0,".repeat(TEXT_BYTES / 2))] {
            log.add("log", None, "text", Some(&raw(fields)));
        }
        assert!(log.read().iter().all(|line| line.text == "text" && line.fields.is_none()));
    }

    #[test]
    fn two_files_bound_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path());
        for _ in 0..400 {
            log.note("INFO", &"x".repeat(TEXT_BYTES));
        }
        let sizes: Vec<u64> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).collect();
        assert_eq!(sizes.len(), 2);
        assert!(sizes.iter().all(|size| *size <= FILE_BYTES), "{sizes:?}");
    }

    #[test]
    fn a_flood_is_dropped_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path());
        for _ in 0..5_000 {
            log.add("stdout", None, "flood", None);
        }
        assert!(log.read().len() < 3_000);
        log.note("INFO", "after");
        let texts: Vec<_> = log.tail(2).into_iter().map(|line| line.text).collect();
        // Where writing took long, the last row may have fitted.
        let told = log.read().iter().any(|line| line.text.contains("lines were dropped"));
        assert!(told && texts[1] == "after", "{texts:?}");
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path());
        log.note("INFO", &"é".repeat(TEXT_BYTES));
        let text = &log.tail(1)[0].text;
        assert!(text.ends_with('…') && text.len() <= TEXT_BYTES + 3);
    }
}
