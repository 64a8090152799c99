//! From a folder to an analysis: which files are read, in a thread with a stack that is large enough.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::thread;

use crate::budget::{Budget, Limits};
use crate::elf;
use crate::model::{Analysis, Finding, FindingKind};
use crate::python;

/// Stack of the thread that reads. It is address space until it is used: only a hostile file uses more than a few pages.
const STACK_BYTES: usize = 192 * 1024 * 1024;

/// A file to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path in the package, with `/`.
    pub path: String,
    /// Where it lies.
    pub from: PathBuf,
}

/// Reads all files below a folder. Links are not followed, and are findings.
pub fn analyze_folder(folder: &Path, limits: &Limits) -> io::Result<Analysis> {
    let (files, found) = list(folder, limits)?;
    let mut analysis = analyze_files(files, limits);
    analysis.findings.extend(found);
    analysis.findings.sort_by(|left, right| left.path.cmp(&right.path));
    Ok(analysis)
}

/// The files below a folder, and what in it is none.
pub(crate) fn list(folder: &Path, limits: &Limits) -> io::Result<(Vec<SourceFile>, Vec<Finding>)> {
    let mut files = Vec::new();
    let mut found = Vec::new();
    let mut folders = vec![(String::new(), folder.to_owned())];
    while let Some((prefix, at)) = folders.pop() {
        for entry in fs::read_dir(&at)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push((path, entry.path()));
            } else if kind.is_file() {
                files.push(SourceFile { path, from: entry.path() });
            } else if kind.is_symlink() {
                found.push(finding(FindingKind::Link, &path, "is a symbolic link, which is not followed"));
            }
            // Folders without end cost time before anything is read.
            if files.len() + folders.len() + found.len() > limits.files {
                folders.clear();
                break;
            }
        }
    }
    Ok((files, found))
}

/// Reads these files: first the package's own, then what it brought along in `vendor/`.
pub fn analyze_files(mut files: Vec<SourceFile>, limits: &Limits) -> Analysis {
    sort(&mut files);
    in_large_thread(|| read_files(&files, &Budget::new(limits))).unwrap_or_else(|message| failed(&message))
}

/// The package's own files come first, so that limits are not used up by what it brought along.
pub(crate) fn sort(files: &mut [SourceFile]) {
    files.sort_by_cached_key(|file| (file.path.starts_with("vendor/"), file.path.clone()));
}

/// Reads files in their order.
pub(crate) fn read_files(files: &[SourceFile], budget: &Budget) -> Analysis {
    let mut analysis = Analysis::default();
    for (count, file) in files.iter().enumerate() {
        if count >= budget.limits.files {
            let message = format!("only the first {} files were looked at", budget.limits.files);
            analysis.findings.push(finding(FindingKind::Files, "", &message));
            break;
        }
        if !budget.has_time() {
            let message = format!("there was no time for {} of {} files", files.len() - count, files.len());
            analysis.findings.push(finding(FindingKind::Time, "", &message));
            break;
        }
        file_into(&mut analysis, file, budget);
    }
    if budget.is_out_of_results() {
        let message = "there are more results than what is kept";
        analysis.findings.push(finding(FindingKind::Results, "", message));
    }
    analysis
}

/// Reads one Python file from memory.
pub fn analyze_source(path: &str, bytes: &[u8], limits: &Limits) -> Analysis {
    let read = || {
        let budget = Budget::new(limits);
        let mut analysis = Analysis::default();
        python::read(&mut analysis, path, bytes, &budget);
        analysis
    };
    in_large_thread(read).unwrap_or_else(|message| failed(&message))
}

/// What an analysis is that could not be made.
pub(crate) fn failed(message: &str) -> Analysis {
    Analysis { findings: vec![finding(FindingKind::Unreadable, "", message)], ..Analysis::default() }
}

/// Runs the work where a deep tree has room for a frame for each of its levels.
pub(crate) fn in_large_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let started =
            thread::Builder::new().name("analyze".to_owned()).stack_size(STACK_BYTES).spawn_scoped(scope, work);
        match started.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_panic)) => Err("the code could not be read: the reader failed".to_owned()),
            Err(error) => Err(format!("the code could not be read: no thread could be started: {error}")),
        }
    })
}

/// What fuzzing runs: no bytes make the readers panic, and places lie in the text.
#[doc(hidden)]
pub fn fuzz_code(bytes: &[u8]) {
    thread::scope(|scope| {
        let work = || {
            let budget = Budget::new(&Limits::default());
            let mut analysis = Analysis::default();
            python::read(&mut analysis, "main.py", bytes, &budget);
            let lines = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
            for module in &analysis.modules {
                for place in module.calls.iter().map(|call| call.place).chain(module.uses.iter().map(|used| used.place))
                {
                    assert!(
                        place.column > 0 && (1..=lines).contains(&(place.line as usize)),
                        "a place lies in the text"
                    );
                }
            }
            if bytes.starts_with(elf::MAGIC) {
                drop(elf::parse("main", bytes));
            }
        };
        let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        let ended = thread.map(thread::ScopedJoinHandle::join);
        assert!(matches!(ended, Ok(Ok(()))), "the readers do not panic");
    });
}

fn finding(kind: FindingKind, path: &str, message: &str) -> Finding {
    Finding { kind, path: path.to_owned(), place: None, message: message.to_owned() }
}

/// Reads one file by what it is.
fn file_into(analysis: &mut Analysis, file: &SourceFile, budget: &Budget) {
    let path = file.path.as_str();
    let mut tell = |kind, message: &str| analysis.findings.push(finding(kind, path, message));
    match fs::symlink_metadata(&file.from) {
        Ok(found) if found.is_symlink() => return tell(FindingKind::Link, "is a symbolic link, which is not followed"),
        // Reading a pipe would wait for ever.
        Ok(found) if !found.is_file() => return,
        Ok(_) => {}
        Err(error) => return tell(FindingKind::Unreadable, &format!("cannot be read: {error}")),
    }
    let mut head = Vec::new();
    let opened = File::open(&file.from).and_then(|mut opened| {
        Read::by_ref(&mut opened).take(HEAD_BYTES).read_to_end(&mut head)?;
        Ok(opened)
    });
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => return tell(FindingKind::Unreadable, &format!("cannot be read: {error}")),
    };
    let is_object = head.starts_with(elf::MAGIC);
    if !is_object && !is_python(path, &head) {
        return;
    }
    let most = if is_object { budget.limits.object_bytes } else { budget.limits.python_bytes };
    let rest = (most as u64).saturating_sub(head.len() as u64).saturating_add(1);
    if let Err(error) = opened.take(rest).read_to_end(&mut head) {
        return tell(FindingKind::Unreadable, &format!("cannot be read: {error}"));
    }
    if head.len() > most {
        return tell(FindingKind::TooLarge, &format!("has more than {most} bytes and was not looked at"));
    }
    if !is_object {
        return python::read(analysis, path, &head, budget);
    }
    budget.begin_file();
    match elf::read(path, &head) {
        Ok(object) if budget.keep(object.size()) => analysis.objects.push(object),
        Ok(_) => {}
        Err(message) => analysis.findings.push(finding(FindingKind::Elf, path, &message)),
    }
}

/// Bytes that tell what a file is.
const HEAD_BYTES: u64 = 256;

/// Whether Python would read the file: by its name, or by its first line.
fn is_python(path: &str, head: &[u8]) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let has_ending = |ending: &str| name.len() > ending.len() && name.to_ascii_lowercase().ends_with(ending);
    if has_ending(".py") || has_ending(".pyw") {
        return true;
    }
    let first = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    !name.contains('.') && first.starts_with(b"#!") && first.windows(6).any(|part| part == b"python")
}
