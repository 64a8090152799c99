//! Server-sent events and lines, however the network has cut them.

/// Bytes of one event or line. Stops a server that never ends one.
pub(crate) const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// An event, or a line, is longer than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Cuts bytes into lines. A lone carriage return ends one, too.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
    /// The last byte was a carriage return; a line feed after it belongs to it.
    after_return: bool,
    has_begun: bool,
}

impl Lines {
    /// Takes bytes, and hands on every line that they end.
    pub(crate) fn push(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) -> Result<(), TooLong> {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (line, end) = (&rest[..at], rest[at]);
            let is_second_half = end == b'\n' && at == 0 && self.after_return && self.line.is_empty();
            if !is_second_half {
                self.add(line)?;
                self.end(&mut take);
            }
            self.after_return = end == b'\r';
            rest = &rest[at + 1..];
        }
        if !rest.is_empty() {
            self.after_return = false;
        }
        self.add(rest)
    }

    /// Hands on what no line end came after.
    pub(crate) fn finish(&mut self, mut take: impl FnMut(&[u8])) {
        if !self.line.is_empty() {
            self.end(&mut take);
        }
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + bytes.len() > MAX_EVENT_BYTES {
            return Err(TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self, take: &mut impl FnMut(&[u8])) {
        let mut line = self.line.as_slice();
        if !std::mem::replace(&mut self.has_begun, true) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        take(line);
        self.line.clear();
    }
}

/// Puts lines together to events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    lines: Lines,
    fields: Fields,
}

#[derive(Debug, Default)]
struct Fields {
    data: Vec<u8>,
    has_data: bool,
    is_too_long: bool,
}

impl Events {
    /// Takes bytes, and hands on the data of every event that they end.
    pub(crate) fn push(&mut self, bytes: &[u8], mut take: impl FnMut(&str)) -> Result<(), TooLong> {
        let fields = &mut self.fields;
        self.lines.push(bytes, |line| fields.line(line, &mut take))?;
        if fields.is_too_long { Err(TooLong) } else { Ok(()) }
    }

    /// Hands on an event that no empty line came after: some servers end with it.
    pub(crate) fn finish(&mut self, mut take: impl FnMut(&str)) {
        let fields = &mut self.fields;
        self.lines.finish(|line| fields.line(line, &mut take));
        fields.dispatch(&mut take);
    }
}

impl Fields {
    fn line(&mut self, line: &[u8], take: &mut impl FnMut(&str)) {
        if line.is_empty() {
            return self.dispatch(take);
        }
        // Names of events, ids and comments are passed over: what an event is stands in its data, too.
        let Some(value) = line.strip_prefix(b"data") else { return };
        let value = match value {
            [] => value,
            [b':', b' ', value @ ..] | [b':', value @ ..] => value,
            _ => return,
        };
        if std::mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        if self.data.len() + value.len() > MAX_EVENT_BYTES {
            self.is_too_long = true;
            return;
        }
        self.data.extend_from_slice(value);
    }

    fn dispatch(&mut self, take: &mut impl FnMut(&str)) {
        if std::mem::take(&mut self.has_data) {
            // Whole by now: what is no UTF-8 here is none.
            take(&String::from_utf8_lossy(&self.data));
        }
        self.data.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<String> {
        let (mut events, mut found) = (Events::default(), Vec::new());
        for piece in pieces {
            events.push(piece, |data| found.push(data.to_owned())).unwrap();
        }
        events.finish(|data| found.push(data.to_owned()));
        found
    }

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        let text = "\u{feff}: hi\r\ndata: a\r\n\r\nevent: x\rdata:b\rdata\rdata:  c\r\rid: 1\n\ndata: \u{1f600}\n\nretry: 1\n\
                    database: no\ndata: [DONE]";
        let expected = ["a", "b\n\n c", "\u{1f600}", "[DONE]"];
        let bytes = text.as_bytes();
        assert_eq!(events(&[bytes]), expected);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                assert_eq!(events(&[&bytes[..first], &bytes[first..second], &bytes[second..]]), expected);
            }
        }
    }

    #[test]
    fn what_never_ends_is_refused() {
        let mut found = Events::default();
        let long = vec![b'x'; MAX_EVENT_BYTES / 2];
        assert_eq!(found.push(b"data: ", |_| {}), Ok(()));
        assert_eq!(found.push(&long, |_| {}), Ok(()));
        assert_eq!(found.push(&long, |_| {}), Err(TooLong));
        let mut many = Events::default();
        let line = [b"data: ".as_slice(), &long, b"\n"].concat();
        assert_eq!(many.push(&line, |_| {}), Ok(()));
        assert_eq!(many.push(&line, |_| {}), Err(TooLong), "with the line feed between them");
    }
}
