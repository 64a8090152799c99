//! Compiles the shim and lists the files that plugbay brings into every sandbox, for `src/runtime.rs`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("../..");
    // Messages of the shim name its files, and should name them in one way.
    let root = root.canonicalize().expect("this crate lies in the tree");
    let out = PathBuf::from(variable("OUT_DIR"));
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", root.join("shim").display());
    let shim = out.join("shim");
    compile_shim(&root.join("shim"), &shim);

    let mut sdk = Vec::new();
    collect(&root.join("sdk/python/plugbay"), "sdk/plugbay", &mut sdk);
    sdk.sort();
    let mut table = format!("&[\n    (\"shim\", include_bytes!({:?})),\n", shim.display().to_string());
    for (name, path) in sdk {
        // Each file by itself: the caches that Python writes beside them would compile plugbay anew.
        println!("cargo::rerun-if-changed={}", path.display());
        writeln!(table, "    ({name:?}, include_bytes!({:?})),", path.display().to_string())
            .expect("a string takes every text");
    }
    table.push_str("]\n");
    fs::write(out.join("runtime_files.rs"), table).expect("OUT_DIR can be written");
}

fn variable(name: &str) -> OsString {
    std::env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"))
}

/// By rustc alone: a cargo in here would need a folder of its own to build in, and the dependencies a second time.
/// `src/runtime.rs` tests that the package in `shim/` is built from the same source.
#[expect(clippy::disallowed_methods, reason = "the shim is a program of its own, for the machine plugbay is built for")]
fn compile_shim(package: &Path, shim: &Path) {
    let (host, target) = (variable("HOST"), variable("TARGET"));
    let mut rustc = std::process::Command::new(variable("RUSTC"));
    let mut flags = OsString::from("@");
    flags.push(package.join("rustc.args"));
    rustc.arg(flags).arg("-o").arg(shim).arg(package.join("src/main.rs"));
    if host != target {
        rustc.arg("--target").arg(target);
    }
    let status = rustc.status().expect("RUSTC can be started");
    assert!(status.success(), "failed to compile the shim: {status}");
}

/// Every file of the package, with its name in the sandbox.
fn collect(folder: &Path, name: &str, found: &mut Vec<(String, PathBuf)>) {
    for entry in fs::read_dir(folder).expect("the SDK can be read") {
        let path = entry.expect("the SDK can be read").path();
        let file = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        if file == "__pycache__" || file.starts_with('.') {
            continue;
        }
        let name = format!("{name}/{file}");
        if path.is_dir() {
            collect(&path, &name, found);
        } else {
            found.push((name, path));
        }
    }
}
