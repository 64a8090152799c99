//! Judges files that are neither Python nor ELF by their bytes: scripts, secrets, hidden characters, what is unexplained.

use std::sync::OnceLock;

use plugbay_domain::is_invisible;
use regex::Regex;

use super::judged::{Judged, Told};
use super::script;
use crate::model::Place;
use crate::rule::{Found, Language, Rule, rules};
use crate::verdict::Verdict;

/// Spaces in a row behind which code is out of sight.
const MANY_SPACES: usize = 120;

const COMPILED: &str = "compiled Python";

const UNEXPLAINED: Told = Told {
    rule: "unexplained-file",
    verdict: Verdict::Notes,
    vendor: Verdict::Clean,
    reason: "A reader cannot look into it, and nothing says what it is for.",
    how: "Ship the source, or leave it out.",
};

const OUT_OF_SIGHT: Told = Told {
    rule: "out-of-sight",
    verdict: Verdict::Suspicious,
    vendor: Verdict::Suspicious,
    reason: "Code stands so far to the right that an editor does not show it.",
    how: "Put it on a line of its own.",
};

const HIDDEN: Told = Told {
    rule: "hidden-characters",
    verdict: Verdict::Suspicious,
    vendor: Verdict::Notes,
    reason: "",
    how: "Remove the character, or write it as an escape.",
};

/// What a file is, by its name and its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Python,
    Shell,
    JavaScript,
    Text,
    /// A program or archive, with its name.
    Foreign(&'static str),
    Other,
}

/// Judges the bytes of one file.
pub(super) fn judge(judged: &mut Judged, path: &str, bytes: &[u8]) {
    let kind = kind_of(path, bytes);
    let Ok(text) = std::str::from_utf8(bytes) else {
        if let Kind::Foreign(what) = kind {
            foreign(judged, path, what);
        }
        return;
    };
    match kind {
        Kind::Foreign(what) => foreign(judged, path, what),
        Kind::Shell => lines(judged, path, &script::shell(text), Language::Shell),
        Kind::JavaScript => lines(judged, path, &script::javascript(text), Language::JavaScript),
        Kind::Python => out_of_sight(judged, path, text),
        Kind::Text | Kind::Other => {}
    }
    let is_code = matches!(kind, Kind::Python | Kind::Shell | Kind::JavaScript);
    hidden(judged, path, text, is_code);
    secrets(judged, path, text);
}

fn kind_of(path: &str, bytes: &[u8]) -> Kind {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let starts = [
        (&b"MZ"[..], "a program for Windows"),
        (b"\xcf\xfa\xed\xfe", "a program for macOS"),
        (b"\xca\xfe\xba\xbe", "Java code, or a program for macOS"),
        (b"PK\x03\x04", "an archive"),
        (b"\x1f\x8b", "an archive"),
        (b"7z\xbc\xaf", "an archive"),
        (b"Rar!", "an archive"),
    ];
    if let Some((_, what)) = starts.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Kind::Foreign(what);
    }
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let runs = |word: &[u8]| first.starts_with(b"#!") && first.windows(word.len()).any(|part| part == word);
    match ending {
        "pyc" | "pyo" => Kind::Foreign(COMPILED),
        "py" | "pyw" | "pth" => Kind::Python,
        "sh" | "bash" | "zsh" | "ksh" => Kind::Shell,
        "js" | "mjs" | "cjs" | "ts" => Kind::JavaScript,
        _ if runs(b"python") => Kind::Python,
        _ if runs(b"node") => Kind::JavaScript,
        _ if runs(b"sh") => Kind::Shell,
        "txt" | "md" | "rst" | "json" | "yaml" | "yml" | "toml" | "cfg" | "ini" | "env" | "html" | "css" | "xml" => {
            Kind::Text
        }
        _ => Kind::Other,
    }
}

/// A program or archive among the author's own files, which no reader can look into.
fn foreign(judged: &mut Judged, path: &str, what: &str) {
    // What lies beside its source is not what runs.
    let is_code = what == COMPILED && !path.contains("__pycache__/");
    let verdict = if is_code { Verdict::Suspicious } else { Verdict::Notes };
    judged.tell(&Told { verdict, ..UNEXPLAINED }, path, None, format!("is {what}"));
}

/// Texts in a program, which are found by the rules for texts.
pub(super) fn program(judged: &mut Judged, path: &str, bytes: &[u8]) {
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    let runs = bytes.split(|byte| !is_text(byte)).filter(|run| run.len() >= 8);
    let texts: Vec<(u32, String)> = runs.map(|run| (1, String::from_utf8_lossy(run).into_owned())).collect();
    let whole = texts.iter().filter(|(_, text)| !crate::rule::excerpts(text).is_empty()).cloned().collect::<Vec<_>>();
    lines(judged, path, &whole, Language::JavaScript);
}

/// Runs the rules of a language over lines.
fn lines(judged: &mut Judged, path: &str, lines: &[(u32, String)], language: Language) {
    for rule in rules().iter().filter(|rule| rule.is_for_lines(language)) {
        let hits = lines.iter().filter(|(_, line)| rule.has_text(line));
        let found =
            hits.map(|(number, line)| Found { place: Place { line: *number, column: 1 }, what: around(rule, line) });
        judged.add(rule, path, found);
    }
}

/// The part of a line that a rule looks for.
fn around(rule: &Rule, line: &str) -> String {
    const SHOWN: usize = 100;
    let at = rule.find_text(line).unwrap_or_default();
    let before = line[..at].chars().count().saturating_sub(SHOWN / 4);
    line.chars().skip(before).take(SHOWN).collect::<String>().trim().to_owned()
}

/// Code so far to the right that no editor shows it.
fn out_of_sight(judged: &mut Judged, path: &str, text: &str) {
    let spaces = " ".repeat(MANY_SPACES);
    if !text.contains(&spaces) {
        return;
    }
    let is_hidden = |line: &&str| {
        line.contains(&spaces) && {
            let line = line.trim_end();
            let code = line.trim_start();
            let inside = code.find(&spaces).map(|at| code[at..].trim_start());
            inside.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['#', '\'', '"', '|', '\\']))
        }
    };
    for (number, line) in (1_u32..).zip(text.lines()).filter(|(_, line)| is_hidden(line)).take(5) {
        let code = line.trim().rsplit(&spaces).next().unwrap_or_default().trim();
        let place = Place { line: number, column: u32::try_from(line.len() - code.len()).unwrap_or(u32::MAX) };
        let code: String = code.chars().take(80).collect();
        judged.tell(&OUT_OF_SIGHT, path, Some(place), code);
    }
}

/// Characters that are not seen, or look like others.
fn hidden(judged: &mut Judged, path: &str, text: &str, is_code: bool) {
    // Bytes of ASCII hold none.
    if text.is_ascii() {
        return;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let turns = |letter: char| matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_tag = |letter: char| matches!(letter, '\u{e0000}'..='\u{e007f}');
    // Letters that Python takes for the plain ones.
    let is_dressed = |letter: char| matches!(letter, '\u{1d400}'..='\u{1d7ff}' | '\u{ff21}'..='\u{ff5a}');
    let is_own = !path.starts_with("vendor/");
    let mut count = 0;
    for (number, line) in (1_u32..).zip(text.lines()).filter(|(_, line)| !line.is_ascii()) {
        let found =
            line.chars().position(|letter| turns(letter) || is_tag(letter) || (is_code && is_invisible(letter)));
        let dressed = || line.chars().position(is_dressed).filter(|_| is_code && is_own);
        let (at, reason) = match (found, dressed()) {
            (Some(at), _) => (at, "A character is not seen and changes what is: code can read otherwise than it runs."),
            (None, Some(at)) => {
                (at, "Letters of another alphabet read like plain ones, and Python takes them for these.")
            }
            (None, None) => match look_alike(line).filter(|_| is_code && is_own) {
                Some(at) => (at, "A name mixes alphabets, so that two names can look the same."),
                None => continue,
            },
        };
        let letter = line.chars().nth(at).unwrap_or_default();
        let place = Place { line: number, column: u32::try_from(at + 1).unwrap_or(u32::MAX) };
        let verdict = if is_code { Verdict::Suspicious } else { Verdict::Notes };
        let told = Told { verdict, reason, ..HIDDEN };
        judged.tell(&told, path, Some(place), format!("U+{:04X}", u32::from(letter)));
        count += 1;
        if count == 5 {
            break;
        }
    }
}

/// Where a word of code mixes Latin letters with such that look like them.
fn look_alike(line: &str) -> Option<usize> {
    static WORD: OnceLock<Option<Regex>> = OnceLock::new();
    let word = WORD.get_or_init(|| Regex::new(r"\w*(?:[a-z]\w*[а-яёα-ωіј]|[а-яёα-ωіј]\w*[a-z])\w*").ok()).as_ref()?;
    let code = line.split('#').next().unwrap_or(line);
    let found = word.find(code).filter(|_| !code.contains(['"', '\'']))?;
    Some(code[..found.start()].chars().count())
}

/// Secrets of the author, by their forms and by how random they are.
fn secrets(judged: &mut Judged, path: &str, text: &str) {
    for rule in rules().iter().filter(|rule| rule.is_for_lines(Language::Text)) {
        let verdict = if path.starts_with("vendor/") { rule.vendor } else { rule.verdict };
        // One look at the whole tells of most files that there is nothing in any line.
        if verdict == Verdict::Clean || rule.find_text(text).is_none() {
            continue;
        }
        let hits = (1_u32..).zip(text.lines()).filter_map(|(number, line)| {
            let found = rule.match_of(line)?;
            let is_random = !rule.needs_entropy || entropy(value_of(found)) >= 3.6;
            let column = u32::try_from(line.find(found)? + 1).ok()?;
            let shown: String = found.chars().take(12).collect();
            is_random.then(|| Found { place: Place { line: number, column }, what: format!("{shown}…") })
        });
        judged.add(rule, path, hits);
    }
}

/// What is assigned in `name = "value"`.
fn value_of(found: &str) -> &str {
    let end = found.trim_end_matches(['"', '\'']);
    end.rsplit(['"', '\'', '=', ' ']).next().unwrap_or(end)
}

/// Bits for each character.
fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    text.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let length = f64::from(u32::try_from(text.len().max(1)).unwrap_or(u32::MAX));
    let share = |count: u32| f64::from(count) / length;
    counts.iter().filter(|count| **count > 0).map(|count| -share(*count) * share(*count).log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_texts_have_more_bits() {
        assert!(entropy("aaaaaaaaaaaaaaaaaaaaaaaa") < 0.1);
        assert!(entropy("your-api-key-goes-here!!") < 3.6);
        assert!(entropy("9fK2mQ7xZp4Lw8Rt1Vb6Ns3Y") > 4.0);
        assert_eq!(value_of("token = \"abc\""), "abc");
    }
}
