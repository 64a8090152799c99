//! `plugbay serve`: the service itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::json;

use super::Context;
use super::failure::Failure;
use crate::config::{Config, EngineChoice, Overrides};
use crate::domain::Word as _;
use crate::{startup, telemetry};

/// Threads for work that blocks, beside one for each upload, which has its own for as long as the client takes to send it.
const BLOCKING_THREADS: usize = 512;

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  plugbay serve\n  plugbay serve --config /etc/plugbay/plugbay.yaml\n  \
                        plugbay serve --insecure-dev --data-dir /tmp/try")]
pub(super) struct ServeArguments {
    /// Configuration file [default: the first of ./plugbay.yaml and /etc/plugbay/plugbay.yaml that exists]
    #[arg(long, value_name = "FILE", env = "PLUGBAY_CONFIG")]
    config: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS", value_parser = parse_listen)]
    listen: Option<SocketAddr>,
    /// Where everything is kept
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// What plugins run in: auto, docker or process
    #[arg(long, value_name = "ENGINE", value_parser = parse_engine)]
    engine: Option<EngineChoice>,
    /// Check the configuration, show every mistake, and end
    #[arg(long)]
    check_config: bool,
    /// Allow unsafe settings, on loopback addresses only
    #[arg(long)]
    insecure_dev: bool,
    /// Listen on a public address without TLS, because something in front adds it
    #[arg(long)]
    allow_plain_http: bool,
}

fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_not_an_address| "expected address and port, such as 127.0.0.1:8000".to_owned())
}

fn parse_engine(text: &str) -> Result<EngineChoice, String> {
    EngineChoice::ALL
        .iter()
        .copied()
        .find(|engine| engine.as_str() == text)
        .ok_or_else(|| "expected auto, docker or process".to_owned())
}

pub(super) fn serve(arguments: ServeArguments, context: &Context) -> Result<(), Failure> {
    let ServeArguments { config, listen, data_dir, engine, check_config, insecure_dev, allow_plain_http } = arguments;
    if let Some(path) = config.as_deref().filter(|path| !path.exists()) {
        return Err(Failure::missing(path));
    }
    let config = Config::load(Overrides { config, listen, data_dir, engine, insecure_dev, allow_plain_http })?;
    if check_config {
        let file = config.file.as_ref().map(|file| file.display().to_string());
        let read = file.as_deref().unwrap_or("no file, defaults only");
        context.output.result(&format!("the configuration is valid ({read})"), &json!({"valid": true, "file": file}));
        return Ok(());
    }
    telemetry::init(config.logging);
    let threads = BLOCKING_THREADS.saturating_add(config.server.max_uploads);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(threads)
        .build()
        .map_err(|error| Failure::io("start the runtime", &error))?;
    let is_greeted = telemetry::has_reader(config.logging) && !context.output.is_json();
    runtime.block_on(startup::serve(config, |first| {
        if is_greeted {
            context.output.message(&greeting(first));
        }
    }))?;
    // Blocking work of a second, impatient signal is not waited for.
    runtime.shutdown_background();
    Ok(())
}

/// Where the token is, where to read on, and what to type next.
fn greeting(first: &startup::FirstStart) -> String {
    let token = std::path::absolute(&first.token).unwrap_or_else(|_no_current_folder| first.token.clone());
    let data = token.parent().unwrap_or(&token).display();
    let (token, address) = (token.display(), first.address);
    format!(
        "The first token is in {token}; the command line finds it there.\n\
         Every route of the API is at http://{address}/docs.\n\
         Next, in another terminal: export PLUGBAY_URL=http://{address} PLUGBAY_DATA_DIR={data}; plugbay doctor"
    )
}
