//! The formats in which people's programs and models speak: what is asked, and what is answered, as types that belong to
//! none of them, and a codec for each format. Pure: bytes come in and go out, nothing is waited for.
//!
//! Everything here reads what strangers have written. It is bounded, never panics, and gives the same however the network
//! has cut it.

mod answer;
pub mod anthropic;
mod collect;
mod event;
mod fuzz;
pub mod openai;
mod refused;
mod request;
mod sse;
mod upstream;

pub use answer::{Answer, Choice};
pub use collect::{Collector, TooLong};
pub use event::{Event, FailureClass, Finish, Kind, UpstreamFailure, Usage};
#[doc(hidden)]
pub use fuzz::fuzz_decode;
pub use refused::FrontError;
pub use request::{ChatMessage, ChatRequest, Content, Role, ToolCall};
pub use upstream::{DecodeError, Decoder, Format, Shape, failure_of, prepare};
