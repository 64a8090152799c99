//! Asking somebody who decides. Where nobody can answer, the flags that answer are told.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::summary::{Summary, flag_text};
use crate::cli::Context;
use crate::cli::failure::{Failure, Local};

/// What was answered: the risks that are taken along with what the plugin requires.
#[derive(Debug, Default)]
pub(super) struct Consent {
    pub(super) risks: Vec<String>,
}

/// Shows the summary and asks once.
pub(super) fn ask(summary: &Summary, command: &str, context: &Context) -> Result<Consent, Failure> {
    if context.output.is_json() || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        context.output.message(&summary.text());
        return Err(cannot_ask(summary, command));
    }
    // What is decided about is shown whatever --quiet says.
    let mut screen = io::stderr();
    let failed = |error: io::Error| Failure::io("ask", &error);
    writeln!(screen, "{}\n", summary.text()).map_err(failed)?;
    let wanted = match summary.risks.as_slice() {
        [] => "yes".to_owned(),
        risks => risks.join(" "),
    };
    let question =
        if summary.risks.is_empty() { "Grant what it needs?" } else { "Grant what it needs, with its risks?" };
    write!(screen, "{question} Type `{wanted}`: ").and_then(|()| screen.flush()).map_err(failed)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    let said = answer.split_whitespace().collect::<Vec<_>>().join(" ");
    let agreed = said == wanted || (summary.risks.is_empty() && said.eq_ignore_ascii_case("y"));
    if agreed {
        return Ok(Consent { risks: summary.risks.clone() });
    }
    let how = format!("plugbay approve {} --grant PERMISSION grants less; --deny PERMISSION refuses", summary.name);
    Err(Failure::local(Local::Failed, "nothing was granted", how))
}

fn cannot_ask(summary: &Summary, command: &str) -> Failure {
    let grants = summary.permissions.pending.iter().map(|item| format!(" --grant {}", flag_text(item)));
    let risks = summary.risks.iter().map(|risk| format!(" --accept-risk {risk}"));
    let flags: String = if command == "install" {
        std::iter::once(" --yes".to_owned()).chain(risks).collect()
    } else {
        grants.chain(risks).collect()
    };
    let how = if command == "install" {
        format!("add{flags} once you have read what it asks for: plugbay validate FILE --json")
    } else if flags.is_empty() {
        format!("plugbay approve {} --yes", summary.name)
    } else {
        format!("plugbay approve {}{flags}", summary.name)
    };
    Failure::local(Local::Usage, "there is no terminal to ask on, so the decision has to be in the flags", how)
}
