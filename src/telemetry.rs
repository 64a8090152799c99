//! Where log lines go: to stderr, as text for people or as JSON for collectors.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, LoggingConfig};

/// Installs the subscriber of this process. A second call changes nothing.
pub fn init(logging: LoggingConfig) {
    let json = match logging.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    install(logging, json, std::io::stderr);
}

fn install<W>(logging: LoggingConfig, json: bool, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // The HTTP server's own lines say what ours say better.
    let filter = EnvFilter::new(format!("{},actix_server=warn", logging.level));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    let installed = if json {
        registry.with(layer.json().flatten_event(true)).try_init()
    } else {
        registry.with(layer.with_target(false)).try_init()
    };
    // Tests start several services in one process; the first one's subscriber serves them all.
    installed.ok();
}
