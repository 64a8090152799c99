//! What fuzzing runs: no bytes of a server or a caller may make a reader panic, and cuts may change nothing.

use crate::{Collector, Decoder, Event, Format, Shape, openai};

/// The first byte says what is read: an answer of one of three formats in one of three shapes, or a request.
///
/// # Panics
/// If what is read depends on how it was cut, or goes on after its end.
pub fn fuzz_decode(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let kind = usize::from(kind % 10);
    if kind == 9 {
        if let Ok(request) = openai::parse(bytes) {
            assert!(!request.model.is_empty() && !request.messages.is_empty(), "what is accepted asks for something");
        }
        return;
    }
    let format = [Format::OpenAi, Format::Anthropic, Format::Ollama][kind / 3];
    let shape = [Shape::Events, Shape::Lines, Shape::Whole][kind % 3];
    let whole = decode(format, shape, &[bytes]);
    let cut = bytes.len() / 3;
    let pieces = [&bytes[..cut], &bytes[cut..2 * cut], &bytes[2 * cut..]];
    let (in_pieces, single) =
        (decode(format, shape, &pieces), decode(format, shape, &bytes.chunks(1).collect::<Vec<_>>()));
    let Some(events) = whole else { return };
    assert_eq!(in_pieces.as_ref(), Some(&events), "three pieces say the same");
    assert_eq!(single.as_ref(), Some(&events), "single bytes say the same");
    let is_last = |event: &Event| matches!(event, Event::End | Event::Failed(_));
    assert!(events.iter().rev().skip(1).all(|event| !is_last(event)), "nothing follows the end");
    let mut collector = Collector::new(usize::MAX);
    if events.iter().all(|event| collector.push(event).is_ok()) {
        let mut again = Collector::new(usize::MAX);
        let answer = collector.finish();
        assert!(answer.events().iter().all(|event| again.push(event).is_ok()), "an answer can be replayed");
        let texts =
            |answer: &crate::Answer| answer.choices.iter().map(|choice| choice.text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&again.finish()), texts(&answer), "and says the same");
    }
}

/// What pieces say; nothing where they cannot be read.
fn decode(format: Format, shape: Shape, pieces: &[&[u8]]) -> Option<Vec<Event>> {
    let mut decoder = Decoder::new(format, shape);
    let mut events = Vec::new();
    for piece in pieces {
        events.extend(decoder.push(piece).ok()?);
    }
    events.extend(decoder.finish().ok()?);
    Some(events)
}
