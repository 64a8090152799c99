//! What the code of a package offers and uses, read without running it.
//!
//! One pass over Python and ELF files gives modules with their classes, functions and signatures, imports, calls with
//! constants folded, the capabilities that are used, and findings for files that cannot be read. Nothing is executed and
//! nothing is imported; symbolic links are not followed. Time, memory, nesting and sizes are bounded ([`Limits`]), as the
//! code may be hostile.
//!
//! `plugbay validate` and `plugbay tools` stand on it; [`scan_folder`] judges a package by rules. It says what code seems to
//! do and no more: the sandbox is the border.

mod budget;
mod capability;
mod collect;
mod elf;
mod flow;
mod fold;
mod model;
mod hint;
mod parse;
mod place;
mod python;
mod rule;
mod scan;
mod shape;
mod source;
mod stdlib;
#[cfg(test)]
mod tests;
mod tools;
mod value;
mod verdict;
mod walk;

pub use budget::Limits;
pub use capability::Capability;
pub use elf::Object;
pub use flow::{Flow, Origin, Sink};
pub use model::{
    Analysis, Call, Class, Finding, FindingKind, Function, Import, Mark, Module, Parameter, ParameterKind, Place,
    Setting, Use,
};
pub use scan::{Advisories, Declared, Hit, MAX_HITS, Policy, Scan, fuzz_scan, scan, scan_files, scan_folder};
pub use stdlib::{is_standard, standard_names};
pub use tools::{Tool, handler, offered, tools};
pub use value::Constant;
pub use verdict::Verdict;
pub use walk::{SourceFile, analyze_files, analyze_folder, analyze_source, fuzz_code};

/// The digest of the rules that a scan uses. A stored result with another one is out of date.
pub fn rules_digest() -> String {
    rule::digest()
}

/// Data beside the rules that decides what a scan finds.
fn data() -> [&'static str; 3] {
    [capability::RULES, flow::RULES, scan::POPULAR]
}
