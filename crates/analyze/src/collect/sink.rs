//! Which call takes a value to a sink, and what of its arguments decides.

use ruff_python_ast::{Expr, ExprCall};
use ruff_text_size::Ranged;

use super::flow::{Follower, MAX_WHAT, local_name};
use crate::flow::{Origin, Reached, Sink, Slot, Taint, sink_of};
use crate::fold::{fold, partial};
use crate::value::{Constant, Folded, Known};

/// Methods that put what they are given into what they belong to.
const FILLING: [&str; 10] =
    ["append", "add", "update", "extend", "insert", "write", "put", "setdefault", "writestr", "appendleft"];

/// Programs that run what they are given.
const INTERPRETERS: [&str; 12] = [
    "sh",
    "bash",
    "dash",
    "zsh",
    "python",
    "python3",
    "perl",
    "node",
    "cmd",
    "cmd.exe",
    "powershell",
    "powershell.exe",
];

impl Follower<'_, '_, '_> {
    /// Notes where a call takes what it is given.
    pub(super) fn follow(&mut self, call: &ExprCall, callee: Option<&str>) {
        if let (Expr::Attribute(attribute), true) = (&*call.func, !call.arguments.is_empty())
            && FILLING.contains(&attribute.attr.as_str())
            && let Some(taint) = self.given(call)
        {
            self.fill(&attribute.value, Some(&taint));
        }
        let Some(callee) = callee else { return };
        if let Some(sink) = sink_of(callee) {
            let taint = match sink {
                Sink::Process => self.program(call),
                Sink::Code => {
                    call.arguments.args.first().and_then(|code| self.taint(code).or_else(|| self.built_code(code)))
                }
                // The machine's own name is looked up to know its address; in a longer name it leaves.
                Sink::Dns if call.arguments.args.first().is_some_and(|name| self.is_own_name(name)) => None,
                Sink::Network | Sink::Dns | Sink::Object | Sink::Write => self.given(call),
            };
            if let Some(taint) = taint {
                let target = callee.strip_prefix("builtins.").unwrap_or(callee).chars().take(MAX_WHAT).collect();
                let reached = Reached { sink, target, place: self.place.at(call.start()), layer: self.layer };
                let function = self.function.to_owned();
                self.flows.reach(function, taint, reached);
            }
        } else if let Some(function) = local_name(callee) {
            for (at, argument) in call.arguments.args.iter().enumerate() {
                if let Some(taint) = self.taint(argument) {
                    self.flows.hand(function.to_owned(), Slot::Position(at), taint);
                }
            }
            for keyword in &call.arguments.keywords {
                if let (Some(name), Some(taint)) = (&keyword.arg, self.taint(&keyword.value)) {
                    self.flows.hand(function.to_owned(), Slot::Name(name.as_str().to_owned()), taint);
                }
            }
        }
    }

    /// Whether an expression is the name of the machine and nothing else.
    fn is_own_name(&mut self, expr: &Expr) -> bool {
        let folded = fold(expr, self.scopes);
        matches!(folded, Some(Folded { known: Known::Named(name), .. })
            if matches!(name.as_str(), "socket.gethostname()" | "socket.getfqdn()" | "platform.node()"))
    }

    /// What decides which program is run: the first word, and all words of an interpreter.
    fn program(&mut self, call: &ExprCall) -> Option<Taint> {
        let first =
            call.arguments.args.first().or_else(|| call.arguments.find_keyword("args").map(|found| &found.value))?;
        let words = match first {
            Expr::List(found) => &found.elts,
            Expr::Tuple(found) => &found.elts,
            whole => return self.taint(whole),
        };
        let program = words.first()?;
        let name = partial(program, self.scopes).unwrap_or_default();
        let name = name.rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
        let is_known = INTERPRETERS.contains(&name.as_str());
        let runs_code = is_known
            || matches!(fold(program, self.scopes), Some(Folded { known: Known::Named(name), .. }) if name == "sys.executable");
        if runs_code { self.any(words) } else { self.taint(program) }
    }

    /// Code that is put together where it is run, such as `exec("".join(map(chr, numbers)))`.
    fn built_code(&mut self, code: &Expr) -> Option<Taint> {
        let is_built = match code {
            Expr::Call(call) => !matches!(&*call.func, Expr::Attribute(of) if of.attr.as_str() == "format"),
            other => matches!(other, Expr::Subscript(_)),
        };
        let Known::Constant(Constant::Text(_) | Constant::Bytes(_)) =
            fold(code, self.scopes).filter(|_| is_built)?.known
        else {
            return None;
        };
        Some(self.known(Origin::Decoded, "a text that is put together", code))
    }
}
