//! The first bytes of TLS: for whom the connection is. Pure; nothing is decrypted.

/// Longest `ClientHello` that is read.
pub(super) const MAX_BYTES: usize = 16 << 10;

const RECORD_HEADER: usize = 5;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
/// Encrypted names, in the form of the standard and of its drafts.
const ENCRYPTED: [u16; 2] = [0xfe0d, 0xffce];

/// What a `ClientHello` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientHello {
    /// The name that is asked for.
    pub(super) server_name: Option<String>,
    /// It asks for a name that cannot be read.
    pub(super) is_encrypted: bool,
}

/// Reads the records from the start of a connection; `None` while they are incomplete.
pub(super) fn read(bytes: &[u8]) -> Result<Option<ClientHello>, &'static str> {
    let mut handshake = Vec::new();
    let mut rest = bytes;
    loop {
        if let Some(body) = message(&handshake)? {
            return parse(body).map(Some).ok_or("begins with a broken ClientHello");
        }
        let Some((header, after)) = rest.split_at_checked(RECORD_HEADER) else { return Ok(None) };
        if header[0] != HANDSHAKE || header[1] != 3 {
            return Err("does not begin with TLS");
        }
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if length == 0 || handshake.len() + length > MAX_BYTES {
            return Err("begins with a ClientHello that is too long or has an empty record");
        }
        let Some((record, after)) = after.split_at_checked(length) else { return Ok(None) };
        handshake.extend_from_slice(record);
        rest = after;
    }
}

/// The body of the `ClientHello` once it is whole.
fn message(handshake: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    let Some((header, body)) = handshake.split_at_checked(4) else { return Ok(None) };
    if header[0] != CLIENT_HELLO {
        return Err("does not begin with a ClientHello");
    }
    let length = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
    if length > MAX_BYTES {
        return Err("begins with a ClientHello that is too long");
    }
    Ok(body.get(..length))
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn short(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// What follows a length of two bytes.
    fn block(&mut self) -> Option<Cursor<'a>> {
        let length = self.short()?;
        self.take(usize::from(length)).map(Cursor)
    }
}

fn parse(body: &[u8]) -> Option<ClientHello> {
    let mut body = Cursor(body);
    body.take(2 + 32)?;
    let session = body.byte()?;
    body.take(usize::from(session))?;
    body.block()?;
    let compressions = body.byte()?;
    body.take(usize::from(compressions))?;
    let mut hello = ClientHello { server_name: None, is_encrypted: false };
    if body.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = body.block()?;
    if !body.0.is_empty() {
        return None;
    }
    let mut seen = Vec::new();
    while !extensions.0.is_empty() {
        let kind = extensions.short()?;
        let content = extensions.block()?;
        // Twice the same: a server might look at the other one.
        if seen.contains(&kind) {
            return None;
        }
        seen.push(kind);
        if kind == SERVER_NAME {
            hello.server_name = Some(server_name(content)?);
        }
        hello.is_encrypted |= ENCRYPTED.contains(&kind);
    }
    Some(hello)
}

/// The one name of the list.
fn server_name(mut content: Cursor<'_>) -> Option<String> {
    let mut names = content.block()?;
    let kind = names.byte()?;
    let name = names.block()?;
    let is_alone = kind == 0 && names.0.is_empty() && content.0.is_empty() && name.0.is_ascii();
    String::from_utf8(name.0.to_vec()).ok().filter(|_| is_alone)
}

/// The alert that tells a client that its name is not known here.
pub(super) const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

#[cfg(test)]
pub(super) mod testing {
    /// A `ClientHello` with these extensions, in records of at most `record` bytes.
    pub(crate) fn hello_of(extensions: &[(u16, Vec<u8>)], record: usize) -> Vec<u8> {
        let short = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
        let mut list = Vec::new();
        for (kind, content) in extensions {
            list.extend(kind.to_be_bytes());
            list.extend(short(content.len()));
            list.extend(content);
        }
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
        body.extend(short(list.len()));
        body.extend(list);
        let mut message = vec![1, 0];
        message.extend(short(body.len()));
        message.extend(body);
        let mut bytes = Vec::new();
        for part in message.chunks(record) {
            bytes.extend([22, 3, 1]);
            bytes.extend(short(part.len()));
            bytes.extend(part);
        }
        bytes
    }

    pub(crate) fn name(name: &str) -> (u16, Vec<u8>) {
        let length = u16::try_from(name.len()).unwrap();
        let mut content = (length + 3).to_be_bytes().to_vec();
        content.push(0);
        content.extend(length.to_be_bytes());
        content.extend(name.as_bytes());
        (0, content)
    }

    pub(crate) fn hello_for(server_name: &str) -> Vec<u8> {
        hello_of(&[name(server_name)], 512)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::testing::{hello_for, hello_of, name};
    use super::*;

    #[test]
    fn the_name_is_read_from_any_cut_into_records() {
        for record in [1, 7, 100, 16_384] {
            let bytes = hello_of(&[(10, vec![0, 2, 0, 29]), name("api.example.com")], record);
            let wanted = ClientHello { server_name: Some("api.example.com".to_owned()), is_encrypted: false };
            assert_eq!(read(&bytes), Ok(Some(wanted)), "{record}");
            for end in 0..bytes.len() {
                assert_eq!(read(&bytes[..end]), Ok(None), "{end}");
            }
        }
    }

    #[test]
    fn no_name_and_hidden_names_are_seen() {
        let wanted = |server_name: Option<&str>, is_encrypted| {
            Ok(Some(ClientHello { server_name: server_name.map(str::to_owned), is_encrypted }))
        };
        assert_eq!(read(&hello_of(&[], 512)), wanted(None, false));
        for ech in ENCRYPTED {
            assert_eq!(read(&hello_of(&[name("a.example"), (ech, vec![0; 8])], 512)), wanted(Some("a.example"), true));
        }
    }

    #[test]
    fn broken_hellos_are_refused() {
        let twice = hello_of(&[name("a.example"), name("b.example")], 512);
        let mut two_names = name("a.example").1;
        two_names.extend([0, 0, 1, b'b']);
        let long = hello_of(&[(21, vec![0; 16_360]), name("a.example")], 16_000);
        let mut endless = vec![22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
        endless.extend(vec![0; 0x4000 - 4]);
        for bytes in [
            twice,
            hello_of(&[(0, two_names)], 512),
            hello_of(&[(0, vec![0, 9])], 512),
            long,
            endless,
            b"GET / HTTP/1.1\r\n".to_vec(),
            vec![22, 3, 1, 0, 0],
            vec![22, 3, 1, 0, 4, 2, 0, 0, 0],
            vec![21, 3, 1, 0, 2, 2, 112],
        ] {
            assert!(read(&bytes).is_err(), "{bytes:02x?}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600), at in 0..200_usize, to in any::<u8>()) {
            drop(read(&bytes));
            let mut changed = hello_for("api.example.com");
            let at = at % changed.len();
            changed[at] = to;
            drop(read(&changed));
        }
    }
}
