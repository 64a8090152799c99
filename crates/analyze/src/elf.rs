//! ELF files: what they need, import and export, and what of them is unusual. Read by goblin, never loaded.

use std::panic::{AssertUnwindSafe, catch_unwind};

use goblin::elf::{Elf, dynamic, header, note, program_header};
use serde::Serialize;

/// What an ELF file begins with.
pub(crate) const MAGIC: &[u8; 4] = b"\x7fELF";

/// Symbols of one file that are kept.
const MAX_SYMBOLS: usize = 20_000;

/// Bytes of a symbol's name that are kept. Names of C++ are long.
const MAX_NAME: usize = 512;

/// An ELF file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Object {
    /// The file's path in the package.
    pub path: String,
    /// The processor, such as `x86_64`.
    pub machine: String,
    /// Whether it is a library, and no program.
    pub is_library: bool,
    /// The program that loads it.
    pub interpreter: Option<String>,
    /// Libraries that it needs.
    pub needed: Vec<String>,
    /// Where it looks for libraries.
    pub search_paths: Vec<String>,
    /// Functions and data that it takes from libraries.
    pub imports: Vec<String>,
    /// Functions and data that it offers.
    pub exports: Vec<String>,
    /// The highest version of the C library that it needs, such as `2.31`.
    pub glibc: Option<String>,
    /// Whether its stack can be executed.
    pub executable_stack: bool,
    /// Whether it has memory that is both writable and executable.
    pub writable_code: bool,
    /// The program that packed it, by the names of its parts.
    pub packer: Option<String>,
    /// Its build id, in hexadecimal digits.
    pub build_id: Option<String>,
}

impl Object {
    /// About how many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        let lists = [&self.needed, &self.search_paths, &self.imports, &self.exports];
        let texts: usize = lists.iter().flat_map(|list| list.iter()).map(|text| text.len() + 24).sum();
        256 + self.path.len() + texts
    }
}

/// Reads an ELF file.
pub(crate) fn read(path: &str, bytes: &[u8]) -> Result<Object, String> {
    // goblin checks what it reads; a mistake of its own on a hostile file must not end the whole analysis.
    let read = catch_unwind(AssertUnwindSafe(|| parse(path, bytes)));
    read.unwrap_or_else(|_| Err("cannot be read as an ELF file".to_owned()))
}

/// The same, with a panic where the reader has a mistake.
pub(crate) fn parse(path: &str, bytes: &[u8]) -> Result<Object, String> {
    let elf = Elf::parse(bytes).map_err(|error| format!("cannot be read as an ELF file: {error}"))?;
    let short = |text: &str| text.chars().take(MAX_NAME).collect::<String>();
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    for symbol in &elf.dynsyms {
        let Some(name) = elf.dynstrtab.get_at(symbol.st_name).filter(|name| !name.is_empty()) else { continue };
        let list = if symbol.is_import() { &mut imports } else { &mut exports };
        if list.len() < MAX_SYMBOLS {
            list.push(short(name));
        }
    }
    let has = |flags: u32, wanted: u32| flags & wanted == wanted;
    let writable_code = program_header::PF_W | program_header::PF_X;
    let loaded = elf.program_headers.iter().filter(|segment| segment.p_type == program_header::PT_LOAD);
    let stack = elf.program_headers.iter().find(|segment| segment.p_type == program_header::PT_GNU_STACK);
    let search_paths = elf.rpaths.iter().chain(&elf.runpaths).take(64).map(|path| short(path)).collect();
    Ok(Object {
        path: path.to_owned(),
        machine: machine(elf.header.e_machine),
        is_library: elf.header.e_type == header::ET_DYN && elf.interpreter.is_none() && !is_pie(&elf),
        interpreter: elf.interpreter.map(short),
        needed: elf.libraries.iter().take(256).map(|name| short(name)).collect(),
        search_paths,
        imports,
        exports,
        glibc: highest_glibc(&elf),
        // A file without this header gets a stack that can be executed, as old programs need it.
        executable_stack: stack.is_some_and(|segment| has(segment.p_flags, program_header::PF_X)),
        writable_code: loaded.clone().any(|segment| has(segment.p_flags, writable_code)),
        packer: packer(&elf, bytes),
        build_id: build_id(&elf, bytes),
    })
}

/// Static programs that can be loaded anywhere have no interpreter, like libraries; a flag tells them apart.
fn is_pie(elf: &Elf<'_>) -> bool {
    const DF_1_PIE: u64 = 0x0800_0000;
    let flags = elf.dynamic.as_ref().map_or(&[][..], |dynamic| &dynamic.dyns);
    flags.iter().any(|entry| entry.d_tag == dynamic::DT_FLAGS_1 && entry.d_val & DF_1_PIE != 0)
}

/// What a packer leaves behind: names of sections, or its mark near the beginning.
fn packer(elf: &Elf<'_>, bytes: &[u8]) -> Option<String> {
    let named = ["UPX0", "UPX1", ".upx", ".petite", ".aspack", ".themida", ".vmp0", ".vmp1", ".nsp0", ".MPRESS1"];
    let sections = elf.section_headers.iter().filter_map(|section| elf.shdr_strtab.get_at(section.sh_name));
    let found = sections.take(1024).find(|name| named.contains(name)).map(str::to_owned);
    let head = &bytes[..bytes.len().min(4096)];
    found.or_else(|| head.windows(4).any(|part| part == b"UPX!").then(|| "UPX".to_owned()))
}

fn machine(code: u16) -> String {
    match code {
        header::EM_X86_64 => "x86_64".to_owned(),
        header::EM_AARCH64 => "aarch64".to_owned(),
        header::EM_386 => "i386".to_owned(),
        header::EM_ARM => "arm".to_owned(),
        header::EM_RISCV => "riscv".to_owned(),
        other => format!("machine {other}"),
    }
}

fn highest_glibc(elf: &Elf<'_>) -> Option<String> {
    let needs = elf.verneed.as_ref()?;
    let mut highest: Option<(u32, u32)> = None;
    for need in needs.iter().take(256) {
        for version in need.iter().take(256) {
            let name = elf.dynstrtab.get_at(version.vna_name)?;
            let Some((major, minor)) = name.strip_prefix("GLIBC_").and_then(|rest| rest.split_once('.')) else {
                continue;
            };
            let minor = minor.split('.').next().unwrap_or(minor);
            if let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) {
                highest = highest.max(Some((major, minor)));
            }
        }
    }
    highest.map(|(major, minor)| format!("{major}.{minor}"))
}

fn build_id(elf: &Elf<'_>, bytes: &[u8]) -> Option<String> {
    let notes = elf.iter_note_headers(bytes)?.take(64);
    let id = notes.flatten().find(|note| note.n_type == note::NT_GNU_BUILD_ID && note.name == "GNU")?;
    Some(data_encoding::HEXLOWER.encode(id.desc.get(..id.desc.len().min(64))?))
}
