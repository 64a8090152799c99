//! Lines of scripts as rules look at them: without comments, texts put together and decoded where that is easily told.

use crate::fold::guess;

/// Lines of a file that are looked at.
const MAX_LINES: usize = 100_000;

/// Lines of a shell script without comments, with lines that go on put together.
pub(super) fn shell(text: &str) -> Vec<(u32, String)> {
    let (mut lines, mut open): (Vec<(u32, String)>, bool) = (Vec::new(), false);
    for (number, line) in (1_u32..).zip(text.lines()).take(MAX_LINES) {
        let trimmed = line.trim();
        if trimmed.starts_with('#') && !open {
            continue;
        }
        // Empty quotes and backslashes between letters change nothing and hide a word: `c''url`, `c\url`.
        let plain = trimmed.replace("''", "").replace("\"\"", "");
        let goes_on = plain.ends_with('\\') || plain.ends_with('|') || plain.ends_with("&&");
        let part = plain.strip_suffix('\\').unwrap_or(&plain);
        let part: String = unescaped(part);
        match lines.last_mut() {
            Some((_, last)) if open => {
                last.push(' ');
                last.push_str(&part);
            }
            _ => lines.push((number, part)),
        }
        open = goes_on;
    }
    lines
}

/// Without backslashes before letters.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '\\' || !letters.peek().is_some_and(char::is_ascii_alphabetic) {
            plain.push(letter);
        }
    }
    plain
}

#[derive(Debug, PartialEq)]
enum Token {
    Text(String),
    Code(char),
}

/// Lines of JavaScript without comments. Texts that are added are one text, and what looks encoded follows decoded.
pub(super) fn javascript(text: &str) -> Vec<(u32, String)> {
    let mut tokens: Vec<(u32, Token)> = Vec::new();
    let (mut letters, mut line) = (text.chars().peekable(), 1_u32);
    while let Some(letter) = letters.next() {
        match letter {
            '\n' => line += 1,
            '/' if letters.peek() == Some(&'/') => while letters.next_if(|next| *next != '\n').is_some() {},
            '/' if letters.peek() == Some(&'*') => {
                let mut last = ' ';
                for next in letters.by_ref() {
                    line += u32::from(next == '\n');
                    if last == '*' && next == '/' {
                        break;
                    }
                    last = next;
                }
            }
            '\'' | '"' | '`' => {
                let began = line;
                let found = quoted(&mut letters, letter, &mut line);
                add_text(&mut tokens, began, found);
            }
            space if space.is_whitespace() => {
                if !matches!(tokens.last(), Some((_, Token::Code(' ')))) {
                    tokens.push((line, Token::Code(' ')));
                }
            }
            other => tokens.push((line, Token::Code(other))),
        }
    }
    rendered(tokens)
}

/// The rest of a text up to its quote, with escapes taken off.
fn quoted(letters: &mut std::iter::Peekable<std::str::Chars<'_>>, quote: char, line: &mut u32) -> String {
    let mut found = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                let code = |count: usize, letters: &mut std::iter::Peekable<std::str::Chars<'_>>| {
                    let digits: String = (0..count).filter_map(|_| letters.next_if(char::is_ascii_hexdigit)).collect();
                    u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)
                };
                match letters.next() {
                    Some('x') => found.extend(code(2, letters)),
                    Some('u') => found.extend(code(4, letters)),
                    Some('n') => found.push('\n'),
                    Some(other) => found.push(other),
                    None => break,
                }
            }
            end if end == quote => break,
            // A text that is not closed ends with its line; a regular expression may hold a quote.
            '\n' if quote != '`' => {
                *line += 1;
                break;
            }
            other => {
                *line += u32::from(other == '\n');
                found.push(other);
            }
        }
    }
    found
}

/// Adds a text, to the text before it where a `+` stands between them.
fn add_text(tokens: &mut Vec<(u32, Token)>, line: u32, text: String) {
    let is_space = |token: &(u32, Token)| token.1 == Token::Code(' ');
    let end = tokens.iter().rposition(|token| !is_space(token)).map_or(0, |at| at + 1);
    if end >= 2 && tokens[end - 1].1 == Token::Code('+') {
        let before = tokens[..end - 1].iter().rposition(|token| !is_space(token));
        if let Some(before) = before
            && let Token::Text(found) = &mut tokens[before].1
        {
            found.push_str(&text);
            tokens.truncate(before + 1);
            return;
        }
    }
    tokens.push((line, Token::Text(text)));
}

fn rendered(tokens: Vec<(u32, Token)>) -> Vec<(u32, String)> {
    let mut lines: Vec<(u32, String)> = Vec::new();
    for (number, token) in tokens {
        if lines.last().is_none_or(|(last, _)| *last != number) {
            if lines.len() == MAX_LINES {
                break;
            }
            lines.push((number, String::new()));
        }
        let Some((_, line)) = lines.last_mut() else { break };
        match token {
            Token::Code(letter) => line.push(letter),
            Token::Text(text) => {
                let decoded = guess(&text);
                line.push('\'');
                line.push_str(&text.replace('\n', " "));
                line.push('\'');
                if let Some(decoded) = decoded {
                    line.push_str("/*");
                    line.push_str(&decoded.replace('\n', " "));
                    line.push_str("*/");
                }
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_javascript_are_put_together() {
        let owned = |(number, line): (u32, &str)| (number, line.to_owned());
        let lines = javascript("// no\nconst a = 'ch' + \"il\\x64\" +\n `_process` /* + 'x' */;\nrequire( a )");
        assert_eq!(lines, [(2, "const a = 'child_process'"), (3, " ;"), (4, "require( a )")].map(owned));
        let decoded = javascript("eval(atob('cmVxdWlyZSgnY2hpbGRfcHJvY2VzcycpLmV4ZWMoJ2lkJyk='))");
        assert!(decoded[0].1.contains("require('child_process').exec('id')"), "{decoded:?}");
    }

    #[test]
    fn lines_of_a_shell_are_put_together() {
        let lines = shell("#!/bin/sh\ncu''rl \\\n  x |\n  s\\h\n# y\nz");
        assert_eq!(lines, [(2, "curl  x | sh".to_owned()), (6, "z".to_owned())]);
    }
}
