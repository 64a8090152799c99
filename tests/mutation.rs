//! Seeded mutation of the committed corpora: the readers must neither panic nor accept what breaks a rule.
//!
//! Runs for `PLUGBAY_FUZZ_SECONDS` (5 if unset) per target, with a seed that is printed when something is found;
//! `PLUGBAY_FUZZ_SEED` repeats it. `scripts/fuzz.sh` runs the same functions under cargo-fuzz.
#![expect(clippy::unwrap_used, reason = "a failed step should stop the test")]

use std::fs;
use std::io::Read;
use std::panic::catch_unwind;
use std::path::Path;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use plugbay::analyze::{fuzz_code, fuzz_scan};
use plugbay::domain::{fuzz_config, fuzz_manifest};
use plugbay::package::fuzzing::{fuzz_signature, fuzz_targz, fuzz_zip};
use plugbay_dialects::fuzz_decode;

/// One reader and how its inputs are opened up before they are changed. Its corpus is `fuzz/corpus/<name>`.
struct Target {
    name: &'static str,
    run: fn(&[u8]),
    /// Mutants of what is inside, so that a checksum outside does not stop them all.
    open: fn(&[u8]) -> Option<Vec<u8>>,
}

const TARGETS: &[Target] = &[
    Target { name: "targz", run: fuzz_targz, open: gunzip },
    Target { name: "zip", run: fuzz_zip, open: |_| None },
    Target { name: "signature", run: fuzz_signature, open: |_| None },
    Target { name: "manifest", run: fuzz_manifest, open: |_| None },
    Target { name: "config", run: fuzz_config, open: |_| None },
    Target { name: "code", run: fuzz_code, open: |_| None },
    Target { name: "scan", run: fuzz_scan, open: |_| None },
    Target { name: "decode", run: fuzz_decode, open: |_| None },
];

/// Longest mutant. What is longer takes time and finds nothing more.
const MAX_BYTES: usize = 64 * 1024;

#[test]
fn no_mutant_panics_or_breaks_a_rule() {
    let number = |name: &str, default: u64| {
        #[expect(clippy::disallowed_methods, reason = "a setting of the test itself")]
        let value = std::env::var(name);
        value.map_or(default, |text| text.parse().unwrap())
    };
    let seconds = number("PLUGBAY_FUZZ_SECONDS", 5);
    let seed = number("PLUGBAY_FUZZ_SEED", 0x5eed);
    std::thread::scope(|scope| {
        for target in TARGETS {
            scope.spawn(move || fuzz(target, Duration::from_secs(seconds), seed));
        }
    });
}

fn fuzz(target: &Target, time: Duration, seed: u64) {
    let corpus = corpus(target);
    for input in &corpus {
        (target.run)(input);
    }
    let mut random = Random(seed);
    let (start, mut count) = (Instant::now(), 0_u64);
    while start.elapsed() < time {
        for _ in 0..64 {
            let mutant = mutate(&corpus, &mut random);
            if catch_unwind(|| (target.run)(&mutant)).is_err() {
                let path = std::env::temp_dir().join(format!("plugbay-{}-{seed}-{count}", target.name));
                fs::write(&path, &mutant).unwrap();
                panic!("mutant {count} of seed {seed} breaks `{}`; it is in {}", target.name, path.display());
            }
            count += 1;
        }
    }
    assert!(count > 100, "`{}` is far too slow: {count} mutants", target.name);
}

/// All committed inputs, and what is inside of them.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let whole: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    let opened = whole.iter().filter_map(|input| (target.open)(input));
    let all: Vec<Vec<u8>> = opened.chain(whole.iter().cloned()).collect();
    assert!(!all.is_empty(), "fuzz/corpus/{} is empty", target.name);
    all
}

fn gunzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut content).ok()?;
    Some(content)
}

/// xorshift64: the same mutants for the same seed on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

fn mutate(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(4) {
        change(&mut bytes, corpus, random);
    }
    bytes.truncate(MAX_BYTES);
    bytes
}

fn change(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    const NUMBERS: [u64; 10] = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
    const TOKENS: [&[u8]; 16] = [
        b"../",
        b"/",
        b"./",
        b"\\",
        b"\0",
        b"C:",
        b"PK\x05\x06",
        b"PK\x06\x06",
        b"PK\x07\x08",
        b"PK\x01\x02",
        b"ustar  \0",
        b"ustar\x0000",
        b"20 path=../../evil\n",
        b"10 size=9\n",
        b"\n",
        b"\xff\xfe",
    ];
    if bytes.is_empty() {
        bytes.push(0);
    }
    let at = random.below(bytes.len());
    match random.below(9) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
        2 => bytes.truncate(at),
        3 => overwrite(bytes, at, &NUMBERS[random.below(10)].to_le_bytes()[..1 << random.below(4)]),
        4 => overwrite(bytes, at, TOKENS[random.below(TOKENS.len())]),
        5 => {
            let token = TOKENS[random.below(TOKENS.len())];
            bytes.splice(at..at, token.iter().copied());
        }
        6 => {
            // A piece of another input, often whole blocks.
            let other = &corpus[random.below(corpus.len())];
            let whole = if random.below(2) == 0 { 512 } else { 1 };
            let from = random.below(other.len()) / whole * whole;
            let end = (from + (1 + random.below(4)) * whole.max(16)).min(other.len());
            let at = at / whole * whole;
            bytes.splice(at..at, other[from..end].iter().copied());
        }
        7 => {
            let end = (at + 1 + random.below(600)).min(bytes.len());
            bytes.drain(at..end);
        }
        _ => {
            // The same change wherever the bytes occur: in the record and in the directory of a zip, for example.
            let end = (at + 1 + random.below(4)).min(bytes.len());
            let old = bytes[at..end].to_vec();
            let new: Vec<u8> = old.iter().map(|byte| byte ^ u8::try_from(1 << random.below(8)).unwrap()).collect();
            let mut position = 0;
            while let Some(found) = bytes[position..].windows(old.len()).position(|window| window == old) {
                overwrite(bytes, position + found, &new);
                position += found + old.len();
            }
        }
    }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    for (to, from) in bytes[at..].iter_mut().zip(with) {
        *to = *from;
    }
}
