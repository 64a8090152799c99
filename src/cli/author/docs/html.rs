//! Everything as one page of HTML that loads nothing and runs nothing.

use super::page::{Block, Inline, Page};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222}\
    table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #ccc;padding:.25rem .6rem;text-align:left;\
    vertical-align:top}code,pre{background:#f4f4f4}pre{padding:.6rem;overflow:auto}";

/// One document with all pages.
pub(super) fn document(title: &str, intro: &[Block], pages: &[Page], made: &str) -> String {
    let title = escape(title);
    let head = format!(
        "<!DOCTYPE html>\n{made}\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    let part =
        |page: &Page| format!("<h2 id=\"{}\">{}</h2>\n{}", page.name, escape(&page.title), blocks(&page.blocks, 3));
    let parts: Vec<String> = pages.iter().map(part).collect();
    head + &blocks(intro, 2) + &parts.concat() + "</body>\n</html>\n"
}

fn blocks(blocks: &[Block], level: usize) -> String {
    let block = |block: &Block| match block {
        Block::Heading(parts) => format!("<h{level}>{}</h{level}>\n", line(parts)),
        Block::Paragraph(parts) => format!("<p>{}</p>\n", line(parts)),
        Block::Code(_, code) => format!("<pre><code>{}</code></pre>\n", escape(code)),
        Block::Table(head, rows) => {
            let head: Vec<String> = head.iter().map(|cell| format!("<th>{}</th>", escape(cell))).collect();
            let row = |row: &Vec<Vec<Inline>>| {
                let cells: Vec<String> = row.iter().map(|cell| format!("<td>{}</td>", line(cell))).collect();
                format!("<tr>{}</tr>\n", cells.concat())
            };
            let rows: Vec<String> = rows.iter().map(row).collect();
            format!("<table>\n<tr>{}</tr>\n{}</table>\n", head.concat(), rows.concat())
        }
        Block::List(items) => {
            let items: Vec<String> = items.iter().map(|item| format!("<li>{}</li>\n", line(item))).collect();
            format!("<ul>\n{}</ul>\n", items.concat())
        }
    };
    blocks.iter().map(block).collect::<Vec<_>>().concat()
}

fn line(parts: &[Inline]) -> String {
    let part = |part: &Inline| match part {
        Inline::Text(text) => escape(text),
        Inline::Code(text) => format!("<code>{}</code>", escape(text)),
        Inline::Link(text, page) => format!("<a href=\"#{page}\">{}</a>", escape(text)),
    };
    parts.iter().map(part).collect::<Vec<_>>().concat()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::author::docs::page::{code, text};

    #[test]
    fn texts_stay_texts() {
        let hostile = "</code><script>alert(1)</script>\" onload='x' &lt;";
        let page = Page {
            name: "methods",
            title: hostile.to_owned(),
            blocks: vec![
                Block::Heading(vec![code(hostile)]),
                Block::Paragraph(vec![text(hostile)]),
                Block::Code("json", hostile.to_owned()),
                Block::Table(vec!["A"], vec![vec![vec![text(hostile)]]]),
                Block::List(vec![vec![Inline::Link(hostile.to_owned(), "methods")]]),
            ],
        };
        let written = document(hostile, &[], &[page], "<!-- made -->");
        assert!(!written.contains("<script") && !written.contains("onload='x'"), "{written}");
        assert_eq!(written.matches("&lt;script&gt;").count(), 8, "{written}");
    }
}
