//! Messages of the name system, as far as programs in a sandbox need them: questions for one name, answers with one
//! address. What comes in is what the plugin sent.

use std::net::Ipv4Addr;

const HEADER: usize = 12;
const ADDRESS: u16 = 1;
const INTERNET: u16 = 1;
/// Seconds that an answer may be kept: as long as a grant may be taken back unnoticed, which costs a reset later.
const KEPT_SECONDS: u32 = 5;

/// How a question is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The name is known and has this address.
    Known(Ipv4Addr),
    /// There is no such name.
    Unknown,
    /// Nobody can tell just now.
    Failed,
    /// Not a question that is answered here.
    NotImplemented,
}

/// A question for one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    id: [u8; 2],
    /// Whether the asker wants recursion, which the answer repeats.
    recursion: u8,
    /// The question as it was sent, which the answer repeats.
    raw: Vec<u8>,
    /// The name with dots, as it was written.
    pub(crate) name: String,
    kind: u16,
}

/// Reads a message. The error is what to answer with, where there is something to answer.
pub(crate) fn read(message: &[u8]) -> Result<Question, Option<Vec<u8>>> {
    let (Some(header), Some(rest)) = (message.get(..HEADER), message.get(HEADER..)) else { return Err(None) };
    // An answer is not answered.
    if header[2] & 0x80 != 0 {
        return Err(None);
    }
    let mut question = Question {
        id: [header[0], header[1]],
        recursion: header[2] & 1,
        raw: Vec::new(),
        name: String::new(),
        kind: 0,
    };
    let refused = |question: &Question| Err(Some(question.answer(Answer::NotImplemented)));
    // Only plain queries with one question.
    if header[2] & 0x78 != 0 || header[4..6] != [0, 1] {
        return refused(&question);
    }
    let mut at = 0;
    loop {
        let Some(length) = rest.get(at).map(|length| usize::from(*length)) else { return refused(&question) };
        at += 1;
        if length == 0 {
            break;
        }
        // Longer ones are pointers, which no question needs.
        let Some(label) = rest.get(at..at + length).filter(|_| length <= 63) else { return refused(&question) };
        if !question.name.is_empty() {
            question.name.push('.');
        }
        // What is no letter of a name becomes one that no name has.
        let letter = |byte: &u8| if byte.is_ascii_graphic() && *byte != b'.' { char::from(*byte) } else { '?' };
        question.name.extend(label.iter().map(letter));
        at += length;
        if question.name.len() > 253 {
            return refused(&question);
        }
    }
    let Some(end) = rest.get(at..at + 4) else { return refused(&question) };
    question.kind = u16::from_be_bytes([end[0], end[1]]);
    let class = u16::from_be_bytes([end[2], end[3]]);
    question.raw = rest[..at + 4].to_vec();
    if class == INTERNET { Ok(question) } else { refused(&question) }
}

impl Question {
    /// Names that the service is not bothered with: nobody is reached by them.
    pub(crate) fn is_idle(&self) -> bool {
        let name = self.name.to_ascii_lowercase();
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        name.is_empty() || name.ends_with(".arpa") || !name.bytes().all(is_letter)
    }

    /// The whole answer.
    pub(crate) fn answer(&self, answer: Answer) -> Vec<u8> {
        let code = match answer {
            Answer::Known(_) => 0,
            Answer::Failed => 2,
            Answer::Unknown => 3,
            Answer::NotImplemented => 4,
        };
        let address = match answer {
            Answer::Known(address) if self.kind == ADDRESS => Some(address),
            // The name is there, with nothing of this kind.
            _ => None,
        };
        let questions = u8::from(!self.raw.is_empty());
        let answers = u8::from(address.is_some());
        let mut message = self.id.to_vec();
        // An answer, by who decides; recursion is there for whoever wants it.
        message.extend([0x84 | self.recursion, 0x80 | code, 0, questions, 0, answers, 0, 0, 0, 0]);
        message.extend(&self.raw);
        if let Some(address) = address {
            // The name of the question, by its place.
            message.extend([0xc0, 12]);
            message.extend(ADDRESS.to_be_bytes());
            message.extend(INTERNET.to_be_bytes());
            message.extend(KEPT_SECONDS.to_be_bytes());
            message.extend([0, 4]);
            message.extend(address.octets());
        }
        message
    }
}
