//! Zip archives, field by field.

use std::io::Write;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

/// The sizes and checksum of one record.
#[derive(Clone, Debug)]
pub struct ZipFields {
    /// Name.
    pub name: Vec<u8>,
    /// General purpose flags.
    pub flags: u16,
    /// Compression method.
    pub method: u16,
    /// CRC32.
    pub crc: u32,
    /// Packed size.
    pub packed: u32,
    /// Unpacked size.
    pub size: u32,
    /// Extra field.
    pub extra: Vec<u8>,
}

/// One entry: what its local record says, its data, what follows the data, and what the directory says.
#[derive(Clone, Debug)]
pub struct ZipEntry {
    /// The local record; nothing leaves it out together with the data.
    pub local: Option<ZipFields>,
    /// The packed data.
    pub data: Vec<u8>,
    /// Written behind the data: a descriptor, or a gap.
    pub after: Vec<u8>,
    /// The directory's record; nothing leaves it out.
    pub central: Option<ZipFields>,
    /// Version and system that made it.
    pub made_by: u16,
    /// Version needed.
    pub needed: u16,
    /// Number of the disk.
    pub disk: u16,
    /// External attributes.
    pub attributes: u32,
    /// Comment in the directory.
    pub comment: Vec<u8>,
    /// Offset in the directory, if it is not the right one.
    pub offset: Option<u32>,
}

impl ZipEntry {
    /// A stored file.
    pub fn stored(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        Self::packed(name, content.as_ref(), content.as_ref().to_vec(), 0)
    }

    /// A deflated file.
    pub fn deflated(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content.as_ref()).unwrap();
        Self::packed(name, content.as_ref(), encoder.finish().unwrap(), 8)
    }

    /// A folder.
    pub fn folder(name: &str) -> Self {
        Self { attributes: 0o040_755 << 16 | 0x10, ..Self::stored(name, b"") }
    }

    fn packed(name: impl AsRef<[u8]>, content: &[u8], data: Vec<u8>, method: u16) -> Self {
        let mut crc = Crc::new();
        crc.update(content);
        let fields = ZipFields {
            name: name.as_ref().to_vec(),
            flags: if name.as_ref().is_ascii() { 0 } else { 1 << 11 },
            method,
            crc: crc.sum(),
            packed: u32::try_from(data.len()).unwrap(),
            size: u32::try_from(content.len()).unwrap(),
            extra: Vec::new(),
        };
        Self {
            local: Some(fields.clone()),
            data,
            after: Vec::new(),
            central: Some(fields),
            made_by: 0x0314,
            needed: 20,
            disk: 0,
            attributes: 0o100_644 << 16,
            comment: Vec::new(),
            offset: None,
        }
    }

    /// Moves sizes and checksum behind the data, as streaming packers do.
    #[must_use]
    pub fn streamed(self) -> Self {
        self.streamed_as(true, false)
    }

    /// The same with or without the descriptor's signature, and with sizes of 32 or 64 bits.
    #[must_use]
    pub fn streamed_as(mut self, signature: bool, wide: bool) -> Self {
        let Some(fields) = self.central.clone() else { return self };
        if signature {
            self.after.extend_from_slice(b"PK\x07\x08");
        }
        self.after.extend_from_slice(&fields.crc.to_le_bytes());
        for size in [fields.packed, fields.size] {
            if wide {
                self.after.extend_from_slice(&u64::from(size).to_le_bytes());
            } else {
                self.after.extend_from_slice(&size.to_le_bytes());
            }
        }
        self.both(|fields| fields.flags |= 8).local(|fields| (fields.crc, fields.packed, fields.size) = (0, 0, 0))
    }

    /// Changes the local record.
    #[must_use]
    pub fn local(mut self, change: impl FnOnce(&mut ZipFields)) -> Self {
        self.local.as_mut().map(change);
        self
    }

    /// Changes the directory's record.
    #[must_use]
    pub fn central(mut self, change: impl FnOnce(&mut ZipFields)) -> Self {
        self.central.as_mut().map(change);
        self
    }

    /// Changes both records.
    #[must_use]
    pub fn both(self, change: impl Fn(&mut ZipFields)) -> Self {
        self.local(&change).central(change)
    }

    /// Changes anything.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

/// A zip that is being built. Fields that stay `None` are right.
#[derive(Clone, Debug, Default)]
pub struct ZipForge {
    /// The entries, in the order of their records and of the directory.
    pub entries: Vec<ZipEntry>,
    /// Bytes before the first record; offsets count them.
    pub prefix: Vec<u8>,
    /// Bytes between the last record and the directory.
    pub gap: Vec<u8>,
    /// Bytes between the directory and the end record, such as ZIP64's.
    pub before_end: Vec<u8>,
    /// Number of entries on this disk.
    pub entries_here: Option<u16>,
    /// Number of entries.
    pub count: Option<u16>,
    /// Number of this disk.
    pub disk: u16,
    /// The directory's size.
    pub directory_bytes: Option<u32>,
    /// The directory's offset.
    pub directory_offset: Option<u32>,
    /// The archive's comment.
    pub comment: Vec<u8>,
    /// Its length, if it is not the right one.
    pub comment_length: Option<u16>,
    /// Bytes behind the end record.
    pub suffix: Vec<u8>,
    /// Adds ZIP64's end record and locator, with the values as they are.
    pub zip64: bool,
}

impl ZipForge {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that begins with a manifest and an entry point at its root.
    pub fn plugin() -> Self {
        Self::new()
            .add(ZipEntry::stored("plugin.yaml", super::MANIFEST))
            .add(ZipEntry::deflated("main.py", "print(1)\n"))
    }

    /// Appends an entry.
    #[must_use]
    pub fn add(mut self, entry: ZipEntry) -> Self {
        self.entries.push(entry);
        self
    }

    /// Appends an honest file.
    #[must_use]
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.add(ZipEntry::deflated(name, content))
    }

    /// Changes anything.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The archive.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.prefix.clone();
        let mut directory = Vec::new();
        for entry in &self.entries {
            let offset = u32::try_from(bytes.len()).unwrap();
            if let Some(local) = &entry.local {
                bytes.extend_from_slice(b"PK\x03\x04");
                bytes.extend_from_slice(&entry.needed.to_le_bytes());
                put_fields(&mut bytes, local);
                bytes.extend_from_slice(&local.name);
                bytes.extend_from_slice(&local.extra);
                bytes.extend_from_slice(&entry.data);
                bytes.extend_from_slice(&entry.after);
            }
            if let Some(central) = &entry.central {
                put_central(&mut directory, entry, central, entry.offset.unwrap_or(offset));
            }
        }
        bytes.extend_from_slice(&self.gap);
        let start = bytes.len() as u64;
        let length = directory.len() as u64;
        let count = self.entries.iter().filter(|entry| entry.central.is_some()).count() as u64;
        bytes.extend_from_slice(&directory);
        if self.zip64 {
            bytes.extend(zip64_end(count, length, start));
        }
        bytes.extend_from_slice(&self.before_end);
        bytes.extend_from_slice(b"PK\x05\x06");
        let count = u16::try_from(count).unwrap();
        for number in [self.disk, self.disk, self.entries_here.unwrap_or(count), self.count.unwrap_or(count)] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        let (length, start) = (u32::try_from(length).unwrap(), u32::try_from(start).unwrap());
        bytes.extend_from_slice(&self.directory_bytes.unwrap_or(length).to_le_bytes());
        bytes.extend_from_slice(&self.directory_offset.unwrap_or(start).to_le_bytes());
        let comment = self.comment_length.unwrap_or_else(|| u16::try_from(self.comment.len()).unwrap());
        bytes.extend_from_slice(&comment.to_le_bytes());
        bytes.extend_from_slice(&self.comment);
        bytes.extend_from_slice(&self.suffix);
        bytes
    }
}

/// One extra field.
pub fn extra(id: u16, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    [&id.to_le_bytes(), &length.to_le_bytes(), content].concat()
}

/// The extra field that gives an entry named `name` another name.
pub fn unicode_path(name: &str, other: &str) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(name.as_bytes());
    extra(0x7075, &[&[1], crc.sum().to_le_bytes().as_slice(), other.as_bytes()].concat())
}

/// ZIP64's end record and locator for a directory that ends where the record begins.
pub fn zip64_end(count: u64, length: u64, start: u64) -> Vec<u8> {
    let mut bytes = b"PK\x06\x06".to_vec();
    bytes.extend_from_slice(&44_u64.to_le_bytes());
    bytes.extend_from_slice(&[45, 3, 45, 0]);
    bytes.extend_from_slice(&[0; 8]);
    for value in [count, count, length, start] {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes.extend_from_slice(b"PK\x06\x07\0\0\0\0");
    bytes.extend_from_slice(&(start + length).to_le_bytes());
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    bytes
}

fn put_fields(bytes: &mut Vec<u8>, fields: &ZipFields) {
    bytes.extend_from_slice(&fields.flags.to_le_bytes());
    bytes.extend_from_slice(&fields.method.to_le_bytes());
    bytes.extend_from_slice(&[0, 0, 0x21, 0]); // 1 January 1980
    for number in [fields.crc, fields.packed, fields.size] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&u16::try_from(fields.name.len()).unwrap().to_le_bytes());
    bytes.extend_from_slice(&u16::try_from(fields.extra.len()).unwrap().to_le_bytes());
}

fn put_central(bytes: &mut Vec<u8>, entry: &ZipEntry, fields: &ZipFields, offset: u32) {
    bytes.extend_from_slice(b"PK\x01\x02");
    bytes.extend_from_slice(&entry.made_by.to_le_bytes());
    bytes.extend_from_slice(&entry.needed.to_le_bytes());
    put_fields(bytes, fields);
    bytes.extend_from_slice(&u16::try_from(entry.comment.len()).unwrap().to_le_bytes());
    bytes.extend_from_slice(&entry.disk.to_le_bytes());
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(&entry.attributes.to_le_bytes());
    bytes.extend_from_slice(&offset.to_le_bytes());
    bytes.extend_from_slice(&fields.name);
    bytes.extend_from_slice(&fields.extra);
    bytes.extend_from_slice(&entry.comment);
}
