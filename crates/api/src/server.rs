//! The HTTP server: bound before anything else is started, so that a taken port is an error of the start.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{App as Router, HttpServer};
use plugbay_chat::Chat;
use plugbay_config::Config;
use plugbay_domain::{Code, Refusal};
use plugbay_operations::Service;
use plugbay_runtime::shutdown::Shutdown;
use tokio::net::TcpSocket;

use super::answers::Answers;
use super::connections::Connections;
use super::fronts::intake::Intake;
use super::host::AllowedHosts;
use super::rate::Rates;
use super::{App, request, routes};

/// How long a client may take for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long requests under way may go on once the service is asked to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// Connections that wait to be accepted. Beyond them the kernel drops what comes, and whoever comes tries again a second
/// later; the standard library's 128 are fewer than come at once with a crowd of callers.
const BACKLOG: u32 = 4096;

/// Why the server did not start or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("failed to listen on {listen}")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server ended with an error.
    #[error("failed to serve")]
    Serve(#[source] io::Error),
}

impl Refusal for ServerError {
    fn code(&self) -> Code {
        match self {
            Self::Bind { .. } => Code::ConfigInvalid,
            Self::Serve(_) => Code::Internal,
        }
    }

    fn how(&self) -> Option<String> {
        match self {
            Self::Bind { listen, .. } => {
                Some(format!("end the program that uses port {}, or choose another with --listen", listen.port()))
            }
            Self::Serve(_) => None,
        }
    }
}

/// A server that listens and does not answer yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// Takes the address. Port 0 takes any free port.
pub fn bind(listen: SocketAddr) -> Result<Bound, ServerError> {
    let bound = bind_socket(listen).and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = bound.map_err(|source| ServerError::Bind { listen, source })?;
    Ok(Bound { listener, address })
}

/// As the standard library does it, but for how many connections wait.
fn bind_socket(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    socket.listen(BACKLOG)?.into_std()
}

impl Bound {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until asked to stop; requests under way may end.
    pub async fn serve(self, service: Arc<Service>, shutdown: Shutdown) -> Result<(), ServerError> {
        let config: &Config = service.config();
        let app = Data::new(App {
            hosts: Arc::new(AllowedHosts::new(self.address, &config.server.allowed_hosts)),
            rates: Arc::new(Rates::new(config.server.requests_per_second)),
            service: Arc::clone(&service),
            chat: Chat::new(Arc::clone(&service)),
            meters: Arc::default(),
            answers: Arc::new(Answers::new(config.calls.answer_bytes)),
            intake: Arc::new(Intake::new(&config.chat)),
            is_local: self.address.ip().to_canonical().is_loopback(),
        });
        let workers = workers(config);
        let connections = Arc::new(Connections::new(config.server.max_connections, config.server.keep_alive));
        let watched = Arc::clone(&connections);
        shutdown.spawn("http.connections", |stop| watched.watch(stop));
        let server = HttpServer::new(move || {
            let meters = Arc::clone(&app.meters);
            let routes = |config: &mut ServiceConfig| routes::configure(config, &meters);
            Router::new().app_data(app.clone()).wrap(from_fn(request::surround)).configure(routes)
        })
        .client_request_timeout(HEAD_TIMEOUT)
        .keep_alive(config.server.keep_alive)
        .on_connect(move |io, data| connections.accept(io, data))
        .workers(workers)
        // The library counts for each of its workers. It accepts a few more than there may be, so that those that are too
        // many can be told apart; the others wait.
        .max_connections(Connections::accepted(config.server.max_connections).div_ceil(workers).max(1))
        .shutdown_timeout(DRAIN.as_secs())
        .disable_signals()
        .listen(self.listener)
        .map_err(ServerError::Serve)?
        .run();
        let handle = server.handle();
        shutdown.spawn("http.stop", |token| async move {
            token.cancelled().await;
            handle.stop(true).await;
        });
        server.await.map_err(ServerError::Serve)
    }
}

/// Threads that answer; not more than connections, so that the cap holds for small numbers too.
fn workers(config: &Config) -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(config.server.max_connections).max(1)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_crowd_that_comes_at_once_is_let_in_before_anybody_is_accepted() {
        let bound = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let connect = |_| TcpStream::connect_timeout(&bound.address(), Duration::from_secs(2));
        let crowd: Vec<_> = (0..400).map(connect).collect::<Result<_, _>>().unwrap();
        assert_eq!(crowd.len(), 400);
        // The address is free again although some of them were never served.
        let address = bound.address();
        drop((bound, crowd));
        bind(address).unwrap();
    }
}
