//! What an analysis may cost. The code may be hostile: each limit stops one way to make the reader pay.

use std::cell::Cell;
use std::time::{Duration, Instant};

const MIB: usize = 1024 * 1024;

/// How long an analysis of a whole package takes at most.
const TIME: Duration = Duration::from_secs(10);

/// Bytes of one Python file. The tree of a file takes up to 40 times its size.
const PYTHON_BYTES: usize = 4 * MIB;

/// Tokens of one Python file. A tree takes about 100 bytes for each, so that 4 MiB of `x,x,x` would take 300 MiB.
const TOKENS: usize = 1_000_000;

/// Levels of one expression. Python 3.11 gives up at the same depth, and dropping a tree takes a frame for each level.
const NESTING: usize = 3_000;

/// Levels of blocks, as in Python.
const BLOCKS: usize = 100;

/// Bytes of one ELF file. It is read as a whole.
const OBJECT_BYTES: usize = 96 * MIB;

/// Bytes of all results together.
const RESULT_BYTES: usize = 48 * MIB;

/// Of the room for results, one file takes at most so many twelfths: 20 MiB. One that takes all would hide what the files
/// after it do.
const FILE_TWELFTHS: usize = 5;

/// Files of a package that are looked at.
const FILES: usize = 20_000;

/// Steps of folding in one file. One step is one node, or 64 bytes of a value.
const FOLD_STEPS: u64 = 4_000_000;

/// What an analysis may cost. The defaults keep it below 10 seconds and 256 MiB.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Time for all files together.
    pub time: Duration,
    /// Bytes of one Python file.
    pub python_bytes: usize,
    /// Tokens of one Python file.
    pub tokens: usize,
    /// Levels of one expression.
    pub nesting: usize,
    /// Levels of blocks.
    pub blocks: usize,
    /// Bytes of one ELF file.
    pub object_bytes: usize,
    /// Bytes of all results together.
    pub result_bytes: usize,
    /// Files that are looked at.
    pub files: usize,
    /// Steps of folding constants in one file.
    pub fold_steps: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: TIME,
            python_bytes: PYTHON_BYTES,
            tokens: TOKENS,
            nesting: NESTING,
            blocks: BLOCKS,
            object_bytes: OBJECT_BYTES,
            result_bytes: RESULT_BYTES,
            files: FILES,
            fold_steps: FOLD_STEPS,
        }
    }
}

/// What is left of the limits while an analysis runs.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) limits: Limits,
    began: Instant,
    results: Cell<usize>,
    file_results: Cell<Option<usize>>,
    ticks: Cell<u32>,
    fold_steps: Cell<u64>,
    out_of_time: Cell<bool>,
    out_of_results: Cell<bool>,
}

/// Ticks between two looks at the clock.
const TICKS: u32 = 1024;

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.clone(),
            began: Instant::now(),
            results: Cell::new(limits.result_bytes),
            file_results: Cell::new(Some(limits.result_bytes / 12 * FILE_TWELFTHS)),
            ticks: Cell::new(0),
            fold_steps: Cell::new(limits.fold_steps),
            out_of_time: Cell::new(false),
            out_of_results: Cell::new(false),
        }
    }

    /// Whether there is time left. Looks at the clock.
    pub(crate) fn has_time(&self) -> bool {
        if self.began.elapsed() >= self.limits.time {
            self.out_of_time.set(true);
        }
        !self.out_of_time.get()
    }

    /// The same for tight loops: looks at the clock now and then.
    pub(crate) fn tick(&self) -> bool {
        let ticks = self.ticks.get().wrapping_add(1);
        self.ticks.set(ticks);
        if ticks.is_multiple_of(TICKS) { self.has_time() } else { !self.out_of_time.get() }
    }

    /// Takes bytes for a result. `false`: the result is not kept.
    pub(crate) fn keep(&self, bytes: usize) -> bool {
        let left = self.file_results.get().and_then(|left| left.checked_sub(bytes));
        self.file_results.set(left);
        if left.is_none() {
            return false;
        }
        match self.results.get().checked_sub(bytes) {
            Some(left) => self.results.set(left),
            None => self.out_of_results.set(true),
        }
        !self.out_of_results.get()
    }

    /// Begins a file: folding has all its steps again, and there is room for results.
    pub(crate) fn begin_file(&self) {
        self.fold_steps.set(self.limits.fold_steps);
        self.file_results.set(Some(self.limits.result_bytes / 12 * FILE_TWELFTHS));
    }

    /// Takes a step of folding that touches so many bytes. `false`: nothing is folded any more.
    pub(crate) fn fold(&self, bytes: usize) -> bool {
        let steps = 1 + (bytes / 64) as u64;
        let Some(left) = self.fold_steps.get().checked_sub(steps) else {
            self.fold_steps.set(0);
            return false;
        };
        self.fold_steps.set(left);
        self.tick()
    }

    /// Whether the steps of folding in this file are used up.
    pub(crate) fn is_out_of_folds(&self) -> bool {
        self.fold_steps.get() == 0
    }

    /// Whether the file has more results than what is kept of one.
    pub(crate) fn is_out_of_file_results(&self) -> bool {
        self.file_results.get().is_none()
    }

    pub(crate) fn is_out_of_results(&self) -> bool {
        self.out_of_results.get()
    }
}
