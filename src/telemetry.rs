//! Where log lines go: to stderr, as text for people or as JSON for collectors.

use std::fmt::{self, Debug};
use std::io::IsTerminal;

use tracing::field::{Field, Visit};
use tracing_subscriber::field::{MakeVisitor, VisitFmt, VisitOutput};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{LogFormat, LoggingConfig};
use crate::domain::entry;

/// Columns by which the further lines of a text are indented.
const INDENT: usize = 4;

/// Installs the subscriber of this process. A second call changes nothing.
pub fn init(logging: LoggingConfig) {
    let terminal = std::io::stderr().is_terminal();
    let json = match logging.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    // The HTTP server's own lines say what ours say better, and call every malformed request an error of the service.
    let filter = EnvFilter::new(format!("{},actix_server=warn,actix_http::h1=off", logging.level));
    let registry = tracing_subscriber::registry().with(filter);
    let installed = if json {
        let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false);
        registry.with(layer.with_ansi(false).with_writer(std::io::stderr)).try_init()
    } else {
        registry.with(text_layer(terminal, std::io::stderr)).try_init()
    };
    // Tests start several services in one process; the first one's subscriber serves them all.
    installed.ok();
}

/// Whether log lines are for a person at a terminal.
pub fn has_reader(logging: LoggingConfig) -> bool {
    std::io::stderr().is_terminal() && logging.format != LogFormat::Json
}

/// Lines for people. What they say may come from a plugin, a caller or a host, so every value is escaped on its way in.
fn text_layer<S, W>(terminal: bool, writer: W) -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    // Left to itself the layer looks at NO_COLOR only, and paints files and pipes as well.
    let layer = tracing_subscriber::fmt::layer().with_target(false).fmt_fields(Escaped).with_writer(writer);
    if terminal { layer } else { layer.with_ansi(false) }
}

/// Writes the fields of events and spans with everything escaped that could move the cursor, recolour the screen or
/// begin a line.
struct Escaped;

impl<'w> MakeVisitor<Writer<'w>> for Escaped {
    type Visitor = EscapedFields<'w>;

    fn make_visitor(&self, writer: Writer<'w>) -> EscapedFields<'w> {
        EscapedFields { writer, is_empty: true, result: Ok(()) }
    }
}

struct EscapedFields<'w> {
    writer: Writer<'w>,
    is_empty: bool,
    result: fmt::Result,
}

impl Visit for EscapedFields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.result.is_err() {
            return;
        }
        let space = if std::mem::take(&mut self.is_empty) { "" } else { " " };
        let value = entry(&format!("{value:?}"), INDENT);
        self.result = match field.name() {
            "message" => write!(self.writer, "{space}{value}"),
            name => write!(self.writer, "{space}{name}={value}"),
        };
    }
}

impl VisitOutput<fmt::Result> for EscapedFields<'_> {
    fn finish(self) -> fmt::Result {
        self.result
    }
}

impl VisitFmt for EscapedFields<'_> {
    fn writer(&mut self) -> &mut dyn fmt::Write {
        &mut self.writer
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What a plugin would like to see in the log of the service.
    const FORGED: &str =
        "x\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}\r\n2026-11-30T00:00:00Z  INFO audit: all is well";

    #[test]
    fn no_value_leaves_its_line() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::registry().with(text_layer(false, move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let failed = io::Error::other(FORGED);
            let span = tracing::info_span!("call", plugin.name = %FORGED);
            span.record("plugin.name", FORGED);
            let _entered = span.enter();
            tracing::error!(error = %failed, debug = ?FORGED, text = FORGED, "Plugin failed: {FORGED}");
            tracing::warn!("{FORGED}");
        });
        let bytes = lines.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        let is_harmless =
            |character: char| character == '\n' || !(character.is_control() || crate::domain::is_invisible(character));
        assert!(text.chars().all(is_harmless), "{text:?}");
        let begun = text.lines().filter(|line| !line.starts_with("    ")).count();
        assert_eq!(begun, 2, "{text}");
        assert!(text.contains(r"Plugin failed: x\u{1b}[2J"), "{text}");
    }
}
