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
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        // Addresses that are turned into names.
        let is_reverse = self.name.rsplit_once('.').is_some_and(|(_, last)| last.eq_ignore_ascii_case("arpa"));
        self.name.is_empty() || is_reverse || !self.name.bytes().all(is_letter)
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::{Answer, read};

    /// A question as programs send it: id 7, recursion wanted, class IN.
    fn question(labels: &[&[u8]], kind: u8) -> Vec<u8> {
        let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in labels {
            message.push(u8::try_from(label.len()).expect("labels are short"));
            message.extend(*label);
        }
        message.extend([0, 0, kind, 0, 1]);
        message
    }

    #[test]
    fn a_known_name_is_answered_with_its_address() {
        let message = question(&[b"Api", b"example"], 1);
        let asked = read(&message).expect("it is a question");
        assert_eq!(asked.name, "Api.example");
        let answer = asked.answer(Answer::Known(Ipv4Addr::new(127, 64, 0, 1)));
        let mut wanted = vec![0, 7, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        wanted.extend(&message[12..]);
        wanted.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 127, 64, 0, 1]);
        assert_eq!(answer, wanted);
    }

    #[test]
    fn other_kinds_of_a_known_name_are_answered_without_an_address() {
        let asked = read(&question(&[b"a"], 28)).expect("it is a question");
        let answer = asked.answer(Answer::Known(Ipv4Addr::LOCALHOST));
        assert_eq!((answer[3] & 0x0f, answer[7]), (0, 0));
        let codes = [Answer::Failed, Answer::Unknown, Answer::NotImplemented].map(|kind| asked.answer(kind)[3] & 0x0f);
        assert_eq!(codes, [2, 3, 4]);
    }

    #[test]
    fn what_is_no_question_is_refused_or_not_answered() {
        let whole = question(&[b"a", b"b"], 1);
        for length in 0..12 {
            assert_eq!(read(&whole[..length]), Err(None), "{length}");
        }
        for length in 12..whole.len() {
            assert!(matches!(read(&whole[..length]), Err(Some(_))), "{length}");
        }
        let changed = |at: usize, byte: u8| {
            let mut message = whole.clone();
            message[at] = byte;
            read(&message)
        };
        assert_eq!(changed(2, 0x81), Err(None), "an answer");
        for (at, byte) in [(2, 0x11), (5, 2), (12, 0xc0), (whole.len() - 1, 3)] {
            let refusal = changed(at, byte).expect_err("refused").expect("answered");
            assert_eq!(refusal[3] & 0x0f, 4, "{at}");
        }
    }

    #[test]
    fn names_that_reach_nobody_are_not_asked_for() {
        for (labels, is_idle) in [
            (&[b"api".as_slice(), b"example"][..], false),
            (&[], true),
            (&[b"1", b"in-addr", b"ARPA"], true),
            (&[b"a b"], true),
            (&[b"a.b"], true),
        ] {
            assert_eq!(read(&question(labels, 1)).expect("it is a question").is_idle(), is_idle, "{labels:?}");
        }
        assert!(matches!(read(&question(&[[b'x'; 63].as_slice(); 4], 1)), Err(Some(_))), "longer than a name can be");
    }
}
