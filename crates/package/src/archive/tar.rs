//! A gzipped tar, block by block. One view of every entry: its name comes from exactly one place (a PAX `path`, one GNU
//! long name, or its own header), and its size is the header's.
//!
//! An archive ends with two blocks of zeros, and then only zeros follow. Archives without them are refused as cut off:
//! every program in use writes them, and their absence is the only trace of a download that ended between two entries.

use std::io::{BufReader, Read};

use super::super::{EntryPath, PackageError};
use super::budget::Budget;
use super::gzip::Gzip;
use super::pax::{self, Extended};
use super::tar_header::{BLOCK_BYTES, Header, HeaderKind, is_zero};
use super::{Entry, EntryKind, Sink};
use plugbay_domain::escape;

/// Longest GNU name: a path of the most bytes, `./` before it, `/` and NUL behind it.
const MAX_LONG_NAME_BYTES: u64 = 1024 + 4;

/// Zeros that may follow the end: GNU tar fills up to a record, whose size can be set.
const MAX_TAIL_BYTES: u64 = 1024 * 1024;

/// A `.tar.gz` that is being read.
pub(in super::super) struct TarGz<R> {
    gzip: Gzip<R>,
    budget: Budget,
    /// Bytes of the tar before the next one to be read.
    position: u64,
    /// What is left of the present entry's content.
    remaining: u64,
    /// Zeros that fill the content's last block.
    padding: u64,
    place: String,
    root_seen: bool,
}

/// What stands before an entry's header.
#[derive(Default)]
struct Before {
    long_name: Option<Vec<u8>>,
    extended: Option<Extended>,
}

impl<R: Read> TarGz<R> {
    pub(super) fn open(input: BufReader<R>, budget: Budget) -> Result<Self, PackageError> {
        let gzip = Gzip::open(input)?;
        Ok(Self { gzip, budget, position: 0, remaining: 0, padding: 0, place: String::new(), root_seen: false })
    }

    pub(super) fn next(&mut self) -> Result<Option<Entry>, PackageError> {
        let mut before = Before::default();
        loop {
            self.skip_content()?;
            let Some(header) = self.header()? else {
                if before.long_name.is_some() || before.extended.is_some() {
                    return Err(PackageError::malformed(&self.place, "no entry follows it"));
                }
                self.check_tail()?;
                return Ok(None);
            };
            let single = before.long_name.is_none() && before.extended.is_none();
            match header.kind {
                // A header about the next entry that is not followed by it: whose name wins depends on the reader.
                HeaderKind::Extended | HeaderKind::Global | HeaderKind::LongName if !single => {
                    return Err(PackageError::malformed(&self.place, "two headers describe one entry"));
                }
                HeaderKind::Extended => {
                    let data = self.extension(header.size, pax::MAX_BYTES, "PAX header")?;
                    before.extended = Some(pax::parse_extended(&self.place, &data)?);
                }
                HeaderKind::Global => {
                    self.budget.entry()?;
                    let data = self.extension(header.size, pax::MAX_BYTES, "PAX header")?;
                    pax::check_global(&self.place, &data)?;
                }
                HeaderKind::LongName => {
                    let data = self.extension(header.size, MAX_LONG_NAME_BYTES, "long name")?;
                    before.long_name = Some(data.strip_suffix(&[0]).map(<[u8]>::to_vec).unwrap_or(data));
                }
                _ => {
                    self.budget.entry()?;
                    if let Some(entry) = self.entry(header, std::mem::take(&mut before))? {
                        return Ok(Some(entry));
                    }
                }
            }
        }
    }

    pub(super) fn content(&mut self, sink: Sink<'_>) -> Result<(), PackageError> {
        while self.remaining > 0 {
            let available = self.gzip.fill()?;
            let wanted = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(available.len());
            let Some(piece @ [_, ..]) = available.get(..wanted) else {
                return Err(PackageError::malformed(&self.place, "the archive ends within its content"));
            };
            self.budget.unpacked(wanted)?;
            sink(piece)?;
            self.advance(wanted);
            self.remaining = self.remaining.saturating_sub(wanted as u64);
        }
        Ok(())
    }

    /// Makes an entry of its header and what stood before it; nothing for the archive's root.
    fn entry(&mut self, header: Header, before: Before) -> Result<Option<Entry>, PackageError> {
        let overridden = before.long_name.is_some() || before.extended.as_ref().is_some_and(|e| e.path.is_some());
        let ends_with_slash = header.name.ends_with(b"/");
        let shown = escape(&String::from_utf8_lossy(&header.name));
        let extended = before.extended.unwrap_or_default();
        let name = extended.path.or(before.long_name).unwrap_or(header.name);
        let entry = escape(&String::from_utf8_lossy(&name));
        self.place = format!("entry `{entry}`");
        let kind = match header.kind {
            HeaderKind::Other(found) => return Err(PackageError::EntryKind { entry, found: found.to_owned() }),
            HeaderKind::Folder => EntryKind::Folder,
            // In v7 the slash makes the folder; with a second name beside it, readers look at different slashes.
            HeaderKind::OldFile if ends_with_slash && !overridden => EntryKind::Folder,
            HeaderKind::OldFile if ends_with_slash => {
                return Err(PackageError::malformed(&self.place, format!("its header is that of a folder, `{shown}`")));
            }
            _ => EntryKind::File,
        };
        if let Some(size) = extended.size.filter(|size| *size != header.size) {
            // The header desynchronisation of several readers: where the next header starts depends on which size counts.
            let rule = format!("its PAX size is {size}, its header's is {}", header.size);
            return Err(PackageError::malformed(&self.place, rule));
        }
        if kind == EntryKind::Folder && header.size != 0 {
            return Err(PackageError::malformed(&self.place, format!("it is a folder of {} bytes", header.size)));
        }
        if header.mode & 0o7000 != 0 {
            return Err(PackageError::EntryMode { entry, mode: header.mode });
        }
        let name = match kind {
            EntryKind::Folder => name.strip_suffix(b"/").filter(|name| !name.is_empty()).unwrap_or(&name),
            EntryKind::File => &name,
        };
        if kind == EntryKind::Folder && name == b"." {
            // `tar -C DIR -czf FILE .` begins with the folder itself, which is there already.
            if std::mem::replace(&mut self.root_seen, true) {
                let rule = "the archive's root appears twice";
                return Err(PackageError::PathCollision { entry, other: "./".to_owned(), rule });
            }
            return Ok(None);
        }
        let path = EntryPath::parse(name)?;
        self.budget.announce_file(&self.place, header.size)?;
        self.expect_content(header.size);
        Ok(Some(Entry { path, kind, size: header.size, executable: header.mode & 0o100 != 0 }))
    }

    /// The next header, or nothing at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, PackageError> {
        let place = format!("the tar header at byte {}", self.position);
        let Some(block) = self.block()? else {
            let rule = "the archive ends there, without the two blocks of zeros that end a tar";
            return Err(PackageError::malformed(place, rule));
        };
        if !is_zero(&block) {
            let header = Header::parse(&block, &place)?;
            self.place = place;
            return Ok(Some(header));
        }
        match self.block()? {
            Some(second) if is_zero(&second) => Ok(None),
            Some(_) => Err(PackageError::malformed(place, "a single block of zeros stands between two entries")),
            None => Err(PackageError::malformed(place, "the archive ends after a single block of zeros")),
        }
    }

    /// Reads what an extended header says about the next entry. What fills its last block must be zeros, because some
    /// programs go on reading records there.
    fn extension(&mut self, size: u64, most: u64, what: &str) -> Result<Vec<u8>, PackageError> {
        if size > most {
            let rule = format!("its {what} has {size} bytes; at most {most} are read");
            return Err(match what {
                "long name" => {
                    PackageError::PathInvalid { entry: self.place.clone(), rule: rule.replace("its", "has a") }
                }
                _ => PackageError::malformed(&self.place, rule),
            });
        }
        let mut data = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        self.expect_content(size);
        self.content(&mut |piece| {
            data.extend_from_slice(piece);
            Ok(())
        })?;
        let fill = usize::try_from(std::mem::take(&mut self.padding)).unwrap_or_default();
        let mut padding = [0; BLOCK_BYTES];
        let padding = padding.get_mut(..fill).unwrap_or_default();
        if self.read(padding)? != fill || !is_zero(padding) {
            return Err(PackageError::malformed(&self.place, format!("bytes follow its {what}")));
        }
        Ok(data)
    }

    fn expect_content(&mut self, size: u64) {
        let block = BLOCK_BYTES as u64;
        self.remaining = size;
        self.padding = size.checked_next_multiple_of(block).map_or(0, |whole| whole.saturating_sub(size));
    }

    /// Goes to the end of the present entry.
    fn skip_content(&mut self) -> Result<(), PackageError> {
        self.content(&mut |_piece| Ok(()))?;
        let fill = usize::try_from(std::mem::take(&mut self.padding)).unwrap_or_default();
        let mut padding = [0; BLOCK_BYTES];
        if self.read(padding.get_mut(..fill).unwrap_or_default())? == fill {
            Ok(())
        } else {
            Err(PackageError::malformed(&self.place, "the archive ends within its last block"))
        }
    }

    /// After the end: zeros alone, not endlessly many, and then the end of the only gzip member.
    fn check_tail(&mut self) -> Result<(), PackageError> {
        let mut tail: u64 = 0;
        loop {
            let available = self.gzip.fill()?;
            let count = available.len();
            if count == 0 {
                return self.gzip.finish();
            }
            tail = tail.saturating_add(count as u64);
            if !is_zero(available) {
                return Err(PackageError::malformed("the archive", "bytes other than zeros follow its end"));
            }
            if tail > MAX_TAIL_BYTES {
                return Err(PackageError::malformed("the archive", "more than a MiB of zeros follows its end"));
            }
            self.advance(count);
        }
    }

    /// The next block; nothing at the end.
    fn block(&mut self) -> Result<Option<[u8; BLOCK_BYTES]>, PackageError> {
        let mut block = [0; BLOCK_BYTES];
        let start = self.position;
        match self.read(&mut block)? {
            0 => Ok(None),
            BLOCK_BYTES => Ok(Some(block)),
            _ => Err(PackageError::malformed(format!("the tar block at byte {start}"), "the archive ends within it")),
        }
    }

    /// Reads until the buffer is full or the stream ends.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, PackageError> {
        let mut done: usize = 0;
        while let Some(space @ [_, ..]) = buffer.get_mut(done..) {
            let available = self.gzip.fill()?;
            let count = available.len().min(space.len());
            if count == 0 {
                break;
            }
            for (to, from) in space.iter_mut().zip(available) {
                *to = *from;
            }
            self.advance(count);
            done = done.saturating_add(count);
        }
        Ok(done)
    }

    fn advance(&mut self, count: usize) {
        self.gzip.consume(count);
        self.position = self.position.saturating_add(count as u64);
    }
}
