//! What the reader refuses, and random damage.

use super::Value;

const SAMPLES: [&str; 4] = [
    r#"{"jsonrpc":"2.0","id":7,"method":"invoke","params":{"call":"c","deadline_ms":30000,"params":{"a":[1,-2.5e+3,null]}}}"#,
    r#"["\u0041\ud83d\ude00\n\t\"\\\/",true,false,null,0,-0,1E9,{"":{}}]"#,
    "[[[[[[[[{\"a\":{\"b\":[]}}]]]]]]]]",
    "\"é😀\"",
];

#[test]
fn refused_texts() {
    for text in [
        "",
        " ",
        "nul",
        "truefalse",
        "01",
        "+1",
        ".5",
        "1.",
        "1e",
        "-",
        "[1,]",
        "[,1]",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\" 1}",
        "1 2",
        "\"a",
        "\"\n\"",
        r#""\x""#,
        r#""\ud800""#,
        r#""\ud800\u0041""#,
        r#""\udc00""#,
        r#""\u12""#,
        r#"{"a":1,"\u0061":2}"#,
        "NaN",
        "'a'",
        "[1",
        "{\"a\":",
    ] {
        assert_eq!(Value::parse(text.as_bytes()), None, "{text}");
    }
    assert_eq!(Value::parse(b"\"\xff\""), None);
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(Value::parse(nested(64).as_bytes()).is_some());
    assert!(Value::parse(nested(65).as_bytes()).is_none());
    assert!(Value::parse(nested(1_000_000).as_bytes()).is_none());
}

#[test]
fn numbers_keep_their_digits() {
    let text = "[123456789012345678901234567890,1.10,-0]\n";
    assert_eq!(Value::parse(text.as_bytes()).unwrap().to_line(), text);
}

/// Damaged texts are refused or read as another reader reads them, and what was read survives a round.
#[test]
fn mutations_never_panic_and_agree_with_serde() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    };
    let mut read = 0;
    for round in 0..40_000 {
        let mut text = SAMPLES[round % SAMPLES.len()].as_bytes().to_vec();
        for _ in 0..=random(3) {
            let at = random(text.len());
            match random(4) {
                0 => text[at] = b"{}[]\",:\\u0e-.1 \x01\xff"[random(17)],
                1 => drop(text.remove(at)),
                2 => text.insert(at, b"{}[]\",:\\u0e-.1 \n\xc3"[random(17)]),
                _ => text.truncate(at + 1),
            }
            if text.is_empty() {
                break;
            }
        }
        let Some(value) = Value::parse(&text) else { continue };
        read += 1;
        let line = value.to_line();
        assert_eq!(Value::parse(line.as_bytes()).as_ref(), Some(&value));
        if let Ok(known) = serde_json::from_slice::<serde_json::Value>(&text) {
            assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), known);
        } else {
            // The other reader refuses only numbers out of range.
            assert!(line.contains(['e', 'E']), "{line}");
        }
    }
    assert!(read > 1000, "{read}");
}
