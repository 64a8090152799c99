//! Pages as Markdown. Nothing of a text is read as Markdown or HTML.

use super::page::{Block, Inline, Page};

/// A whole page.
pub(super) fn page(page: &Page, made: &str) -> String {
    let heading = format!("{made}\n\n# {}\n", escape(&page.title));
    heading + &blocks(&page.blocks, 2, "")
}

/// Blocks with headings of this level. Pages lie in `folder`.
pub(super) fn blocks(blocks: &[Block], level: usize, folder: &str) -> String {
    let block = |block: &Block| match block {
        Block::Heading(parts) => format!("\n{} {}\n", "#".repeat(level), line(parts, folder, false)),
        Block::Paragraph(parts) => format!("\n{}\n", line(parts, folder, false)),
        Block::Code(language, code) => format!("\n{}", fenced(language, code)),
        Block::Table(head, rows) => format!("\n{}", table(head, rows, folder)),
        Block::List(items) => {
            let items = items.iter().map(|item| format!("- {}\n", line(item, folder, false)));
            format!("\n{}", items.collect::<Vec<_>>().concat())
        }
    };
    blocks.iter().map(block).collect::<Vec<_>>().concat()
}

fn table(head: &[&str], rows: &[Vec<Vec<Inline>>], folder: &str) -> String {
    let mut lines = vec![format!("| {} |", head.join(" | ")), format!("|{}", " --- |".repeat(head.len()))];
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| line(cell, folder, true)).collect();
        lines.push(format!("| {} |", cells.join(" | ")));
    }
    lines.join("\n") + "\n"
}

fn line(parts: &[Inline], folder: &str, in_table: bool) -> String {
    let part = |part: &Inline| match part {
        Inline::Text(text) => escape(text),
        Inline::Code(text) => code(text, in_table),
        Inline::Link(text, page) => format!("[{}]({folder}{page}.md)", escape(text)),
    };
    parts.iter().map(part).collect::<Vec<_>>().concat()
}

/// A fence is longer than any run of backticks inside.
fn fenced(language: &str, text: &str) -> String {
    let fence = "`".repeat((longest_run(text) + 1).max(3));
    format!("{fence}{language}\n{text}\n{fence}\n")
}

fn code(text: &str, in_table: bool) -> String {
    if text.is_empty() {
        return String::new();
    }
    let fence = "`".repeat(longest_run(text) + 1);
    let gap = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    // A cell ends at `|`, also within code.
    let text = if in_table { text.replace('|', "\\|") } else { text.to_owned() };
    format!("{fence}{gap}{text}{gap}{fence}")
}

fn longest_run(text: &str) -> usize {
    text.split(|character| character != '`').map(str::len).max().unwrap_or_default()
}

/// Takes every character literally.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (place, character) in text.chars().enumerate() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' => {
                escaped.push('\\');
                escaped.push(character);
            }
            // These mean something at the start of a line alone.
            '#' | '+' | '-' | '=' if place == 0 => {
                escaped.push('\\');
                escaped.push(character);
            }
            '.' | ')' if text.chars().take(place).all(|before| before.is_ascii_digit()) && place > 0 => {
                escaped.push('\\');
                escaped.push(character);
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::author::docs::page::{self, text};

    #[test]
    fn texts_stay_texts() {
        for (given, wanted) in [
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("[x](javascript:alert(1))", "\\[x\\](javascript:alert(1))"),
            ("![x](https://a.example/p)", "!\\[x\\](https://a.example/p)"),
            ("<!-- /plugbay docs -->", "&lt;!-- /plugbay docs --&gt;"),
            ("# a_b *c* `d` | e", "\\# a\\_b \\*c\\* \\`d\\` \\| e"),
            ("1. no list", "1\\. no list"),
            ("- no list", "\\- no list"),
            ("a-b 1.2", "a-b 1.2"),
        ] {
            assert_eq!(escape(given), wanted);
        }
        assert_eq!(code("a`b", false), "``a`b``");
        assert_eq!(code("`", false), "`` ` ``");
        assert_eq!(code("str | None", true), "`str \\| None`");
        assert_eq!(fenced("json", "```"), "````json\n```\n````\n");
        let hostile = Block::Table(vec!["A"], vec![vec![vec![text("a\n| b | <b>")]]]);
        assert_eq!(blocks(&[hostile], 2, ""), "\n| A |\n| --- |\n| a \\| b \\| &lt;b&gt; |\n");
        assert!(matches!(&page::paragraphs("a\n  b\n\n\u{1b}[31mc")[..], [Block::Paragraph(_), Block::Paragraph(_)]));
    }
}
