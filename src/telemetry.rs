//! Where log lines go: to stderr, as text for people or as JSON for collectors.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, LoggingConfig};

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
    // Left to itself the layer looks at NO_COLOR only, and paints files and pipes as well.
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = if terminal { layer } else { layer.with_ansi(false) };
    let installed = if json {
        registry.with(layer.json().flatten_event(true).with_span_list(false)).try_init()
    } else {
        registry.with(layer.with_target(false)).try_init()
    };
    // Tests start several services in one process; the first one's subscriber serves them all.
    installed.ok();
}
