//! The way to a service: where it is, with which token, and what its problems mean here.

use std::cell::Cell;
use std::future::Future;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use crate::cli::Context;
use crate::cli::failure::{Failure, Local};
use crate::cli::output::Output;
use crate::domain::Code;
use crate::wire::{INSECURE_DEV_HEADER, ProblemBody};

/// Where a service listens unless told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:8000";

/// How long a service may be silent before it counts as gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Requests under way at once, where there are several.
const AT_ONCE: usize = 8;

/// A service, with a runtime to wait for its answers.
pub(in crate::cli) struct Connection {
    runtime: Runtime,
    client: Client,
    url: String,
    token: Option<SecretString>,
    output: Output,
    warned: Cell<bool>,
}

impl Connection {
    /// Takes address and token from the environment.
    pub(super) fn open(context: &Context) -> Result<Self, Failure> {
        let url = context.environment.get("PLUGBAY_URL").filter(|url| !url.is_empty()).unwrap_or(DEFAULT_URL);
        Self::to(url, find_token(context)?, context)
    }

    /// To a service of which address and token are known.
    pub(in crate::cli) fn to(url: &str, token: Option<SecretString>, context: &Context) -> Result<Self, Failure> {
        rustls::crypto::ring::default_provider().install_default().ok();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::io("start the runtime", &error))?;
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("plugbay/", env!("CARGO_PKG_VERSION")))
            // The token must not go to a proxy that somebody set for the web.
            .no_proxy()
            .build()
            .map_err(|error| Failure::local(Local::Failed, error.to_string(), "report this"))?;
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { runtime, client, url, token, output: context.output.clone(), warned: Cell::new(false) })
    }

    /// The same for a service of the program's own, about which nobody needs to be warned.
    pub(in crate::cli) fn without_warning(self) -> Self {
        self.warned.set(true);
        self
    }

    /// Begins a request.
    pub(in crate::cli) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    /// Sends a request and reads the JSON of its answer.
    pub(in crate::cli) fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        self.wait(async {
            let response = self.answer(request).await?;
            response.json().await.map_err(|error| self.unreadable(&error))
        })
    }

    /// The same, with the headers of the answer.
    pub(super) fn send_with_headers<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<(T, HeaderMap), Failure> {
        self.wait(async {
            let response = self.answer(request).await?;
            let headers = response.headers().clone();
            Ok((response.json().await.map_err(|error| self.unreadable(&error))?, headers))
        })
    }

    /// Sends a request whose answer has no body.
    pub(in crate::cli) fn send_empty(&self, request: RequestBuilder) -> Result<(), Failure> {
        self.wait(async { self.answer(request).await.map(drop) })
    }

    /// Sends a request and gives its answer piece by piece to `take`, until that has enough or nothing more comes.
    pub(super) fn stream(
        &self,
        request: RequestBuilder,
        mut take: impl FnMut(&[u8]) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<(), Failure> {
        self.wait(async {
            let mut response = self.answer(request).await?;
            while let Some(piece) = response.chunk().await.map_err(|error| self.broken(&error))? {
                if take(&piece)?.is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Waits for something, or for Ctrl-C. Dropping a request closes its connection, which cancels a call.
    pub(in crate::cli) fn wait<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        self.runtime.block_on(async {
            tokio::select! {
                result = work => result,
                // Where signals cannot be caught they end the process as ever.
                Ok(()) = tokio::signal::ctrl_c() => Err(Failure::interrupted()),
            }
        })
    }

    /// Waits a while.
    pub(in crate::cli) fn pause(&self, time: Duration) -> Result<(), Failure> {
        self.wait(async {
            tokio::time::sleep(time).await;
            Ok(())
        })
    }

    /// Asks for something.
    pub(in crate::cli) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.send(self.request(Method::GET, path))
    }

    /// Asks for several things, a few at a time; what comes back is in the order of the paths.
    pub(super) fn get_all<T: DeserializeOwned>(&self, paths: &[String]) -> Result<Vec<Result<T, Failure>>, Failure> {
        self.wait(async {
            let ask = |path: &String| {
                let request = self.request(Method::GET, path);
                async move {
                    let response = self.answer(request).await?;
                    response.json().await.map_err(|error| self.unreadable(&error))
                }
            };
            Ok(futures_util::stream::iter(paths).map(ask).buffered(AT_ONCE).collect().await)
        })
    }

    /// Asks for JSON Lines.
    pub(in crate::cli) fn lines<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, Failure> {
        self.wait(async {
            let response = self.answer(self.request(Method::GET, path)).await?;
            let text = response.text().await.map_err(|error| self.unreadable(&error))?;
            let read = |line: &str| serde_json::from_str(line);
            text.lines().filter(|line| !line.is_empty()).map(read).collect::<Result<_, _>>().map_err(|error| {
                let detail = format!("{} sent a line that cannot be read: {error}", self.url);
                Failure::local(Local::Failed, detail, "use client and service of the same version")
            })
        })
    }

    /// Asks for something to be done.
    pub(in crate::cli) fn act<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.send(self.request(Method::POST, path))
    }

    /// Sends JSON.
    pub(in crate::cli) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        self.send(self.request(Method::POST, path).json(body))
    }

    /// Where the service is.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.headers().contains_key(INSECURE_DEV_HEADER) && !self.warned.replace(true) {
            self.output.message("warning: this service runs with --insecure-dev, for development only");
        }
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let text = response.text().await.unwrap_or_default();
        Err(match serde_json::from_str::<ProblemBody>(&text) {
            Ok(problem) => in_words_of_commands(Failure::of_problem(problem), retry_after),
            // Every refusal of a service is a problem; this one was never asked.
            Err(_not_a_problem) if status == StatusCode::PAYLOAD_TOO_LARGE => {
                let detail = format!("a proxy in front of {} refuses bodies of this size", self.url);
                let how =
                    "raise its limit to one MiB more than `limits.upload_mb`: `client_max_body_size 65m;` in nginx";
                Failure::local(Local::Failed, detail, how)
            }
            Err(_not_a_problem) => {
                let detail = format!("{} answered {status} without a problem that can be read", self.url);
                Failure::local(Local::Failed, detail, "check that PLUGBAY_URL names a plugbay service")
            }
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() && !error.is_connect() {
            let detail = format!("{} did not answer in time", self.url);
            return Failure::local(Local::Timeout, detail, "try again, and look into the service's log");
        }
        let detail = format!("{}: {}", self.url, innermost(error));
        let how = "start it: plugbay serve; or set PLUGBAY_URL to where it listens";
        Failure::local(Local::Unreachable, detail, how)
    }

    fn broken(&self, error: &reqwest::Error) -> Failure {
        let detail = format!("{} ended in the middle of its answer: {}", self.url, innermost(error));
        Failure::local(Local::Unreachable, detail, "look into the service's log, then try again")
    }

    fn unreadable(&self, error: &reqwest::Error) -> Failure {
        let detail = format!("{} sent an answer that cannot be read: {}", self.url, innermost(error));
        Failure::local(Local::Failed, detail, "use client and service of the same version")
    }
}

/// The service speaks of headers and fields; whoever types commands has flags and variables.
fn in_words_of_commands(failure: Failure, retry_after: Option<u64>) -> Failure {
    let how = failure.how.as_deref().unwrap_or_default();
    if &*failure.code == Code::TokenMissing.as_str() {
        let how = "set PLUGBAY_TOKEN, or PLUGBAY_DATA_DIR to the service's data directory on this machine";
        return failure.with_how(how);
    }
    let wait = match retry_after {
        Some(1) => "1 second".to_owned(),
        Some(seconds) => format!("{seconds} seconds"),
        None => "a moment".to_owned(),
    };
    let how = how
        .replace("as long as Retry-After says", &wait)
        .replace("as Retry-After says", &format!("in {wait}"))
        .replace("longer timeout_ms", "longer --timeout")
        .replace("what log_tail shows", "what its log shows");
    failure.with_how(how)
}

/// The cause at the end of the chain says most and repeats least.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// `PLUGBAY_TOKEN`, else the first token in the data directory.
fn find_token(context: &Context) -> Result<Option<SecretString>, Failure> {
    if let Some(token) = context.environment.get("PLUGBAY_TOKEN") {
        return Ok(Some(SecretString::from(token.trim())));
    }
    let named = context.environment.get("PLUGBAY_DATA_DIR");
    let path = PathBuf::from(named.unwrap_or("./data")).join("admin.token");
    match std::fs::read_to_string(&path) {
        Ok(token) => Ok(Some(SecretString::from(token.trim()))),
        // Somebody who names a directory expects it to be used.
        Err(error) if named.is_some() => Err(Failure::read(&path, &error)),
        Err(_no_token_there) => Ok(None),
    }
}

/// The address of a plugin, and what follows it.
pub(in crate::cli) fn plugin_path(name: &str, rest: &str) -> String {
    format!("/api/plugins/{}{rest}", segment(name))
}

/// A piece of a path, with everything escaped that has a meaning there.
pub(super) fn segment(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// A query string of the values that are there.
pub(super) fn query(values: &[(&str, Option<&str>)]) -> String {
    let present = values.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
    let text = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(present).finish();
    if text.is_empty() { text } else { format!("?{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_out_is_told_in_words_of_commands() {
        let how = |code: Code, wait| {
            in_words_of_commands(Failure::refused(code, String::new()), wait).how.unwrap_or_default()
        };
        assert!(how(Code::PluginRestarting, Some(3)).starts_with("wait 3 seconds"));
        assert!(how(Code::PluginTimeout, None).contains("--timeout"));
        assert!(how(Code::TokenMissing, None).contains("PLUGBAY_TOKEN"));
        for code in Code::ALL {
            let how = how(*code, Some(1));
            assert!(!["Retry-After", "timeout_ms", "log_tail"].iter().any(|word| how.contains(word)), "{how}");
        }
    }
}
