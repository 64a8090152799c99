//! The proxy that programs find in their environment: `CONNECT` for anything, absolute addresses for plain HTTP. Every
//! refusal is an answer with the rule and what helps.

use std::time::Duration;

use super::exit::Place;
use super::head::{self, Form, Head};
use super::incoming::Deadline;
use super::relay::Upstream;
use super::{Egress, EgressError, Exit, Incoming, Target};

/// How long the head of a request may take.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// What a request to the proxy asks for.
enum Wanted {
    Tunnel,
    Request,
}

impl Egress {
    /// Serves one connection to the proxy.
    pub(super) async fn serve_proxy(
        &self,
        exit: &Exit,
        place: &Place,
        mut incoming: Incoming,
    ) -> Result<(), EgressError> {
        let (head, wanted, upstream) = match self.begin(exit, place, &mut incoming).await {
            Ok(begun) => begun,
            Err(error @ EgressError::Plugin(_)) => return Err(error),
            Err(error) => {
                incoming.finish(&answer_of(&error, exit)).await;
                return Err(error);
            }
        };
        match wanted {
            Wanted::Tunnel => {
                incoming.write(format!("{} 200 Connection established\r\n\r\n", head.version).as_bytes()).await?;
                self.converse(exit, incoming, upstream).await
            }
            Wanted::Request => self.forward(exit, incoming, upstream, head).await,
        }
    }

    async fn begin(
        &self,
        exit: &Exit,
        place: &Place,
        incoming: &mut Incoming,
    ) -> Result<(Head, Wanted, Upstream), EgressError> {
        let (head, length) = incoming.read_until(Deadline::after(HEAD_TIME), head::read).await?;
        incoming.buffer.drain(..length);
        match &head.form {
            Form::Connect(authority) => {
                let upstream = self.open(exit, place, Target::parse(authority, None)?).await?;
                Ok((head, Wanted::Tunnel, upstream))
            }
            Form::Absolute { authority, .. } => {
                let target = Target::parse(authority, Some(80))?;
                let spoken = exit.decide(&target)?;
                if !spoken.http && !spoken.raw {
                    let but = format!(" for plain HTTP; `http://{target}` would be needed");
                    return Err(EgressError::NotGranted { wanted: target.to_string(), but });
                }
                head.check_host(&target)?;
                let upstream = self.open(exit, place, target).await?;
                Ok((head, Wanted::Request, upstream))
            }
            Form::Origin(_) => {
                Err(EgressError::Http { problem: "is for the proxy itself, which has nothing to show".to_owned() })
            }
        }
    }
}

/// The answer to a refused request: the rule and what helps.
pub(super) fn answer_of(error: &EgressError, exit: &Exit) -> Vec<u8> {
    let body = format!("plugbay: {}\nhow: {}\n", error.for_plugin(), error.how(exit.name.as_str()));
    format!(
        "HTTP/1.1 {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nX-Plugbay-Rule: {}\r\n\
         Connection: close\r\n\r\n{body}",
        error.status(),
        body.len(),
        error.rule(),
    )
    .into_bytes()
}
