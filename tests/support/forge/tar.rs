//! Tar archives, header by header.

use super::gzip;

/// One raw header with what follows it. The defaults are those of an honest ustar file.
#[derive(Clone, Debug)]
pub struct TarEntry {
    /// The name field, up to 100 bytes, written as it is.
    pub name: Vec<u8>,
    /// The prefix field, up to 155 bytes.
    pub prefix: Vec<u8>,
    /// Type flag.
    pub kind: u8,
    /// Mode; `raw_mode` overrides it.
    pub mode: u32,
    /// Mode field as it is.
    pub raw_mode: Option<Vec<u8>>,
    /// Uid field as it is.
    pub raw_uid: Option<Vec<u8>>,
    /// Modification time field as it is.
    pub raw_mtime: Option<Vec<u8>>,
    /// Size, if it is not that of the content.
    pub size: Option<u64>,
    /// Size field as it is.
    pub raw_size: Option<Vec<u8>>,
    /// Link name.
    pub link: Vec<u8>,
    /// Magic and version.
    pub magic: [u8; 8],
    /// Checksum, if it is not the right one.
    pub checksum: Option<u32>,
    /// Bytes written over the finished header, by offset; the checksum is made after them.
    pub patches: Vec<(usize, Vec<u8>)>,
    /// What follows the header, before padding.
    pub content: Vec<u8>,
    /// Byte that fills the last block.
    pub padding: u8,
}

impl TarEntry {
    /// A regular file of mode 0644.
    pub fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            prefix: Vec::new(),
            kind: b'0',
            mode: 0o644,
            raw_mode: None,
            raw_uid: None,
            raw_mtime: None,
            size: None,
            raw_size: None,
            link: Vec::new(),
            magic: *b"ustar\x0000",
            checksum: None,
            patches: Vec::new(),
            content: content.as_ref().to_vec(),
            padding: 0,
        }
    }

    /// A folder of mode 0755.
    pub fn folder(name: impl AsRef<[u8]>) -> Self {
        Self { kind: b'5', mode: 0o755, ..Self::file(name, b"") }
    }

    /// An entry of any type without content.
    pub fn special(name: &str, kind: u8, link: &str) -> Self {
        Self { kind, link: link.as_bytes().to_vec(), ..Self::file(name, b"") }
    }

    /// A PAX header for the next entry.
    pub fn pax(records: &[(&str, &[u8])]) -> Self {
        Self { kind: b'x', ..Self::file("PaxHeaders/x", pax_records(records)) }
    }

    /// A global PAX header.
    pub fn global(records: &[(&str, &[u8])]) -> Self {
        Self { kind: b'g', ..Self::file("pax_global_header", pax_records(records)) }
    }

    /// GNU's long name for the next entry.
    pub fn long_name(name: impl AsRef<[u8]>) -> Self {
        let content = [name.as_ref(), b"\0"].concat();
        Self { kind: b'L', magic: *b"ustar  \0", ..Self::file("././@LongLink", content) }
    }

    /// Changes some fields.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The header block.
    pub fn header(&self) -> [u8; 512] {
        let mut block = [0; 512];
        let size = self.size.unwrap_or(self.content.len() as u64);
        let octal = |raw: &Option<Vec<u8>>, text: String| raw.clone().unwrap_or_else(|| text.into_bytes());
        let fields: [(usize, Vec<u8>); 9] = [
            (0, self.name.clone()),
            (100, octal(&self.raw_mode, format!("{:07o}\0", self.mode))),
            (108, octal(&self.raw_uid, "0000000\0".to_owned())),
            (116, b"0000000\0".to_vec()),
            (124, octal(&self.raw_size, format!("{size:011o}\0"))),
            (136, octal(&self.raw_mtime, "00000000000\0".to_owned())),
            (157, self.link.clone()),
            (257, self.magic.to_vec()),
            (345, self.prefix.clone()),
        ];
        block[156] = self.kind;
        for (at, bytes) in fields.iter().chain(&self.patches) {
            block[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        let digits = format!("{:06o}\0 ", self.checksum.unwrap_or(sum));
        block[148..156].copy_from_slice(digits.as_bytes());
        block
    }
}

fn pax_records(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = (1..8).map(|digits| rest + digits).find(|length| length.to_string().len() + rest == *length);
        bytes.extend_from_slice(format!("{} {key}=", length.unwrap()).as_bytes());
        bytes.extend_from_slice(value);
        bytes.push(b'\n');
    }
    bytes
}

/// A tar that is being built.
#[derive(Clone, Debug, Default)]
pub struct TarForge {
    bytes: Vec<u8>,
}

impl TarForge {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that begins with a manifest and an entry point at its root.
    pub fn plugin() -> Self {
        Self::new().add(TarEntry::file("plugin.yaml", super::MANIFEST)).add(TarEntry::file("main.py", "print(1)\n"))
    }

    /// Appends an entry.
    #[must_use]
    pub fn add(mut self, entry: TarEntry) -> Self {
        self.bytes.extend_from_slice(&entry.header());
        let TarEntry { content, padding, .. } = entry;
        let whole = content.len().next_multiple_of(512) - content.len();
        self.bytes.extend(content);
        self.bytes.extend(std::iter::repeat_n(padding, whole));
        self
    }

    /// Appends an honest file.
    #[must_use]
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.add(TarEntry::file(name, content))
    }

    /// Appends bytes as they are.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// The tar with the two blocks that end it.
    pub fn tar(self) -> Vec<u8> {
        self.raw(&[0; 1024]).bytes
    }

    /// The tar without them.
    pub fn unended(self) -> Vec<u8> {
        self.bytes
    }

    /// The tar, ended and gzipped.
    pub fn gz(self) -> Vec<u8> {
        gzip(&self.tar())
    }
}
