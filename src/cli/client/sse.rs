//! Server-sent events, as `exec --stream` and `logs --follow` read them.

/// Bytes of one event. No message of a plugin is that long.
const MAX_EVENT_BYTES: usize = 64 * 1024 * 1024;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Event {
    /// Its name, `message` when it has none.
    pub(in crate::cli) name: String,
    /// What it says.
    pub(in crate::cli) data: String,
}

/// An event is longer than is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Finds events in bytes that come in any pieces.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// The line that has no end yet.
    line: Vec<u8>,
    name: String,
    data: Option<String>,
    /// A line feed that follows belongs to the carriage return before it.
    after_return: bool,
}

impl Parser {
    /// Takes a piece and gives the events that it completes.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for &byte in piece {
            let is_second = byte == b'\n' && self.after_return;
            self.after_return = byte == b'\r';
            if is_second {
                continue;
            }
            if matches!(byte, b'\n' | b'\r') {
                let line = std::mem::take(&mut self.line);
                events.extend(self.end_of_line(&String::from_utf8_lossy(&line)));
            } else {
                self.line.push(byte);
            }
            if self.line.len() + self.data.as_ref().map_or(0, String::len) > MAX_EVENT_BYTES {
                return Err(TooLong);
            }
        }
        Ok(events)
    }

    fn end_of_line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            let data = self.data.take()?;
            return Some(Event { name: if name.is_empty() { "message".to_owned() } else { name }, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // `id` and `retry` are for clients that connect again; a field without a name is a comment.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\nevent: chunk\ndata: {\"seq\":0}\n\nid: 7\r\ndata:a\r\ndata:  b\r\n\r\n\
                          event:empty\rdata\r\revent: lost\n\nevent: cut\ndata: never ended";

    fn events(pieces: impl Iterator<Item = impl AsRef<[u8]>>) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let found = pieces.flat_map(|piece| parser.push(piece.as_ref()).unwrap());
        found.map(|event| (event.name, event.data)).collect()
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let pair = |name: &str, data: &str| (name.to_owned(), data.to_owned());
        let expected = vec![pair("chunk", "{\"seq\":0}"), pair("message", "a\n b"), pair("empty", "")];
        for size in 1..=STREAM.len() {
            assert_eq!(events(STREAM.as_bytes().chunks(size)), expected, "{size}");
        }
    }

    #[test]
    fn an_endless_event_is_given_up() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; MAX_EVENT_BYTES / 4 + 1];
        let pushed: Vec<_> = (0..4).map(|_| parser.push(&piece)).collect();
        assert_eq!(pushed[3], Err(TooLong));
    }
}
