//! `plugbay scan-worker`: reads one order, gives up all but the folder of the package, judges it, and says so.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Write as _};
use std::path::Path;

use plugbay_analyze::{Advisories, Declared, Limits, Policy, Scan, scan_folder};
use plugbay_confine::{Kept, Place, Use, confine};
use plugbay_domain::Manifest;

use crate::Order;

/// Bytes of an order.
pub(crate) const MAX_ORDER: u64 = 1 << 20;

/// Bytes of memory: those of the reader's budget, the stack of its thread, and the program itself.
const MEMORY: u64 = (256 + 192 + 64) << 20;

/// Open files: a file of the package, a folder for each level of it, the pipes.
const FILES: u64 = 64;

/// Bytes of plugin.yaml that are read. The service has read it by its own limit.
const MAX_MANIFEST: u64 = 1 << 20;

/// Bytes of `vendor.lock` that are read: some thousand packages.
const MAX_LOCK: u64 = 4 << 20;

/// Judges one package and ends.
pub fn run() -> io::Result<()> {
    let mut text = Vec::new();
    io::stdin().lock().take(MAX_ORDER).read_to_end(&mut text)?;
    let order: Order = serde_json::from_slice(&text)?;
    let read = |path| Place { path, used: Use::Read };
    let places: Vec<_> = [&order.folder].into_iter().chain(&order.advisories).map(|path| read(path)).collect();
    confine(&Kept { files: FILES, memory_bytes: MEMORY, file_bytes: 0, places: &places })?;
    let scan = judge(&order)?;
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, &scan)?;
    stdout.flush()
}

fn judge(order: &Order) -> io::Result<Scan> {
    let declared = declared(&order.folder);
    let policy =
        Policy { allowed_imports: order.allowed_imports.clone(), denied_imports: order.denied_imports.clone() };
    let advisories = order.advisories.as_deref().map(|path| read_advisories(path, &order.folder)).transpose()?;
    let advisories = advisories.unwrap_or_default();
    scan_folder(&order.folder, declared.as_ref(), &policy, &advisories, &Limits::default())
}

/// What the service has checked when it came in, as far as it is about what the package brings along.
fn read_advisories(path: &Path, folder: &Path) -> io::Result<Advisories> {
    let lock = read_file(&folder.join("vendor.lock"), MAX_LOCK).unwrap_or_default();
    let read = Advisories::read_lines(BufReader::new(File::open(path)?), &lock)?;
    read.map_err(|(line, problem)| io::Error::other(format!("line {line} of the advisories: {problem}")))
}

/// What plugin.yaml asks for. One that this version no longer reads is none: the code is judged all the same.
fn declared(folder: &Path) -> Option<Declared> {
    let text = read_file(&folder.join("plugin.yaml"), MAX_MANIFEST)?;
    Some(Declared::of(&Manifest::parse(&text).ok()?))
}

fn read_file(path: &Path, most: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
