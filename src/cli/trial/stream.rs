//! A call whose answer comes in parts.

use reqwest::RequestBuilder;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::cli::client::{Connection, Event, follow, progress_text, read_event};
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::wire::{ChunkEvent, ExecuteAnswer, ProblemBody, ProgressEvent};

/// Bytes of chunks that a report holds. A plugin may yield for as long as it has time.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// What was yielded.
#[derive(Default, Serialize)]
pub(super) struct Chunks {
    #[serde(rename = "chunks")]
    kept: Vec<Box<RawValue>>,
    /// Chunks that were too many to be kept.
    #[serde(rename = "chunks_left_out", skip_serializing_if = "Option::is_none")]
    left_out: Option<u64>,
    #[serde(skip)]
    bytes: usize,
    #[serde(skip)]
    pub(super) count: u64,
}

impl Chunks {
    fn add(&mut self, chunk: Box<RawValue>) {
        self.count += 1;
        // Also empty ones take room.
        let bytes = chunk.get().len() + 64;
        if self.bytes + bytes > MAX_BYTES {
            *self.left_out.get_or_insert(0) += 1;
            return;
        }
        self.bytes += bytes;
        self.kept.push(chunk);
    }
}

/// Makes the call. People see each chunk as it comes, programs find all of them in the report.
pub(super) fn call(
    request: RequestBuilder,
    connection: &Connection,
    output: &Output,
) -> Result<(ExecuteAnswer, Chunks), Failure> {
    let mut chunks = Chunks::default();
    let answer = follow(request, connection, |event: &Event| {
        match event.name.as_str() {
            "chunk" => {
                let chunk = read_event::<ChunkEvent>(event)?.data;
                if !output.is_json() {
                    output.foreign(chunk.get());
                }
                chunks.add(chunk);
            }
            "progress" => output.message(&progress_text(&read_event::<ProgressEvent>(event)?)),
            "result" => return read_event::<ExecuteAnswer>(event).map(Some),
            "error" => return Err(Failure::of_problem(read_event::<ProblemBody>(event)?)),
            _ => {}
        }
        Ok(None)
    })?;
    Ok((answer, chunks))
}
