//! Parses a text, after a look at its tokens: how many there are and how deep the tree can become.
//!
//! The parser itself grows its stack, but what walks the tree or drops it takes a frame for each level. A chain such as
//! `1+1+1` is as deep as it is long, so that brackets alone tell nothing.

use ruff_python_ast::token::TokenKind;
use ruff_python_ast::{ModModule, PythonVersion};
use ruff_python_parser::lexer::lex;
use ruff_python_parser::{Mode, ParseOptions, Parsed, parse_unchecked};
use ruff_text_size::TextSize;

use crate::budget::Budget;
use crate::model::FindingKind;

/// Python of the image that plugins run in.
const TARGET: PythonVersion = PythonVersion::PY311;

/// The tree of a text that is safe to parse, or why it is not parsed.
pub(crate) fn parse(text: &str, budget: &Budget) -> Result<Parsed<ModModule>, (FindingKind, Option<TextSize>, String)> {
    if let Some(at) = text.bytes().position(|byte| byte == 0) {
        let message = "not valid Python: a null byte".to_owned();
        return Err((FindingKind::Syntax, TextSize::try_from(at).ok(), message));
    }
    check(text, budget).map_err(|(kind, message)| (kind, None, message))?;
    let options = ParseOptions::from(Mode::Module).with_target_version(TARGET);
    let parsed = parse_unchecked(text, options).try_into_module();
    parsed.ok_or_else(|| (FindingKind::Syntax, None, "not valid Python".to_owned()))
}

/// Whether the text may be parsed.
fn check(text: &str, budget: &Budget) -> Result<(), (FindingKind, String)> {
    let limits = &budget.limits;
    let mut lexer = lex(text, Mode::Module);
    let (mut tokens, mut blocks) = (0_usize, 0_usize);
    let mut levels = Levels::default();
    loop {
        let kind = lexer.next_token();
        if kind == TokenKind::EndOfFile {
            return Ok(());
        }
        tokens += 1;
        if tokens > limits.tokens {
            let message = format!("has more than {} tokens", limits.tokens);
            return Err((FindingKind::TooLarge, message));
        }
        match kind {
            TokenKind::Indent => blocks += 1,
            TokenKind::Dedent => blocks = blocks.saturating_sub(1),
            _ => {}
        }
        if blocks > limits.blocks {
            return Err((FindingKind::TooDeep, format!("nests blocks more than {} deep", limits.blocks)));
        }
        if levels.take(kind) > limits.nesting {
            let message = format!("nests an expression more than {} deep", limits.nesting);
            return Err((FindingKind::TooDeep, message));
        }
        if !budget.tick() {
            return Err((FindingKind::Time, "there was no time left".to_owned()));
        }
    }
}

/// How deep the tree of one statement can be: for each open bracket what was deepened since the last comma in it.
#[derive(Default)]
struct Levels {
    outer: Vec<usize>,
    current: usize,
    total: usize,
    after_name: bool,
}

impl Levels {
    /// Takes one token, and tells how deep the tree can be here.
    fn take(&mut self, kind: TokenKind) -> usize {
        let is_name = matches!(kind, TokenKind::Name | TokenKind::True | TokenKind::False | TokenKind::None);
        match kind {
            TokenKind::Lpar
            | TokenKind::Lsqb
            | TokenKind::Lbrace
            | TokenKind::FStringStart
            | TokenKind::TStringStart => {
                self.deepen();
                self.outer.push(self.current);
                self.current = 0;
            }
            TokenKind::Rpar | TokenKind::Rsqb | TokenKind::Rbrace | TokenKind::FStringEnd | TokenKind::TStringEnd => {
                self.forget();
                self.current = self.outer.pop().unwrap_or_default();
            }
            TokenKind::Newline | TokenKind::Semi => {
                self.outer.clear();
                (self.current, self.total) = (0, 0);
            }
            TokenKind::Comma => self.forget(),
            TokenKind::Comment
            | TokenKind::NonLogicalNewline
            | TokenKind::Indent
            | TokenKind::Dedent
            | TokenKind::String
            | TokenKind::Int
            | TokenKind::Float
            | TokenKind::Complex
            | TokenKind::FStringMiddle
            | TokenKind::TStringMiddle => {}
            // Keywords such as `not` and `else` are operators. Two names in a row are a soft keyword and more.
            _ if !is_name || self.after_name => self.deepen(),
            _ => {}
        }
        self.after_name = is_name;
        self.total
    }

    fn deepen(&mut self) {
        self.current += 1;
        self.total += 1;
    }

    fn forget(&mut self) {
        self.total = self.total.saturating_sub(self.current);
        self.current = 0;
    }
}
