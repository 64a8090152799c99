//! What the reader accepts, and what it says about the rest.

use super::*;
use crate::FieldError;

const LIMITS: Limits = Limits::bytes(64 * 1024);

fn refused(text: impl AsRef<[u8]>) -> FieldError {
    read(text.as_ref(), LIMITS).expect_err("must be refused")
}

fn assert_refused(text: impl AsRef<[u8]>, line: u64, column: u64, message: &str) {
    let error = refused(text);
    assert!(error.message.contains(message), "{error}");
    assert_eq!((error.line, error.column), (Some(line), Some(column)), "{error}");
}

/// Runs `walk` over the document and returns what it found wrong.
fn mistakes(text: &str, walk: impl FnOnce(Place<'_>)) -> Vec<String> {
    let node = read(text.as_bytes(), LIMITS).unwrap();
    let mistakes = Mistakes::default();
    walk(Place::root(&node, &mistakes));
    mistakes.into_sorted().iter().map(|mistake| mistake.error.to_string()).collect()
}

#[test]
fn anchors_aliases_tags_and_merge_keys_are_refused() {
    assert_refused("a: &x 1\nb: *x", 1, 7, "anchors");
    assert_refused("a: *x", 1, 4, "aliases");
    assert_refused("a: &x [*x]", 1, 7, "anchors");
    assert_refused("a: !!python/object:os.system x", 1, 30, "tags");
    assert_refused("a: !foo {}", 1, 9, "tags");
    assert_refused("a: 1\n<<: {b: 2}", 2, 1, "merge keys");
}

#[test]
fn a_billion_laughs_stops_at_the_first_anchor() {
    let bomb = "a: &a [x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n";
    assert!(refused(bomb).message.contains("anchors"));
}

#[test]
fn depth_size_and_count_have_limits() {
    let error = refused("[".repeat(10_000));
    assert!(error.message.contains("nest"), "{error}");
    assert!(refused("- ".repeat(10_000)).message.contains("nest"));
    let sixteen = format!("{}{}", "[".repeat(16), "]".repeat(16));
    assert!(read(sixteen.as_bytes(), LIMITS).is_ok());
    assert_refused(format!("[{sixteen}]"), 1, 17, "deeper than 16");
    assert!(refused(" ".repeat(64 * 1024 + 1)).message.contains("65537 bytes are more than the 65536 allowed"));
    assert!(refused("[x,".to_owned() + &"x,".repeat(5_000) + "]").message.contains("more than 5000 values"));
}

#[test]
fn one_document_without_directives_is_read() {
    assert_refused("a: 1\n---\nb: 2", 2, 1, "second document");
    assert!(refused("%YAML 1.1\n---\na: 1").message.contains("not valid YAML"));
    assert!(read(b"---\na: 1\n", LIMITS).is_ok());
    assert!(refused("").message.contains("empty"));
    assert!(refused("# only a comment\n").message.contains("empty"));
}

#[test]
fn duplicate_keys_are_refused_at_the_second() {
    let error = refused("a: 1\nb:\n  c: 1\n  \"c\": 2");
    assert_eq!(error.to_string(), "line 4, column 3: /b/c: the key `c` stands here twice");
}

#[test]
fn keys_are_text() {
    assert!(refused("\"a\\e[31m\": 1").message.contains("a key has at most 128 bytes"));
    assert!(refused(format!("{}: 1", "k".repeat(129))).message.contains("a key has at most 128 bytes"));
    assert!(refused("[a]: 1").message.contains("a key must be text"));
    assert!(refused(": 1").message.contains("a key is missing"));
}

#[test]
fn other_encodings_are_refused() {
    assert_refused(b"\xEF\xBB\xBFa: 1", 1, 1, "byte order mark");
    assert_refused(b"\xFF\xFEa\0:\0", 1, 1, "UTF-16");
    assert_refused(b"a\0:\0 \x001\0", 1, 1, "UTF-16");
    assert_refused(b"a: 1\nb: \xC3\x28", 2, 4, "not UTF-8");
    assert_refused(b"a: x\x07", 1, 5, "control character");
}

#[test]
fn text_fields_take_plain_text_exactly() {
    let found = mistakes("a: 1.0.0\nb: no way", |root| {
        let fields = root.fields(["a", "b"]).unwrap();
        assert_eq!(fields.required("a").unwrap().text(), Some("1.0.0"));
        assert_eq!(fields.get("b").unwrap().text(), Some("no way"));
    });
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn text_fields_refuse_what_another_reader_takes_for_something_else() {
    for trap in ["no", "0o17", "1e3", "12:30:45", "1.10", "true", "2026-10-01"] {
        let found = mistakes(&format!("a: {trap}"), |root| {
            assert_eq!(root.fields(["a"]).unwrap().get("a").unwrap().text(), None);
        });
        let wanted = format!("write \"{trap}\" in quotes");
        assert!(found[0].contains(&wanted), "{found:?}");
        let quoted = mistakes(&format!("a: \"{trap}\""), |root| {
            assert_eq!(root.fields(["a"]).unwrap().get("a").unwrap().text(), Some(trap));
        });
        assert!(quoted.is_empty(), "{quoted:?}");
    }
}

#[test]
fn number_fields_take_numbers_only() {
    for text in ["\"1\"", "01", "0x1", "1_000", "-1", "1.0", "1e3", "", "yes", "[1]", "99999999999999999999999"] {
        let found = mistakes(&format!("a: {text}"), |root| {
            assert_eq!(root.fields(["a"]).unwrap().get("a").unwrap().whole(0..=u64::MAX), None, "{text}");
        });
        assert_eq!(found.len(), 1, "{text}");
    }
    let found = mistakes("a: 5\nb: 0.5\nc: 70000", |root| {
        let fields = root.fields(["a", "b", "c"]).unwrap();
        assert_eq!(fields.get("a").unwrap().whole(1..=9), Some(5));
        assert_eq!(fields.get("b").unwrap().number(0.1..=1.0), Some(0.5));
        assert_eq!(fields.get("c").unwrap().whole(1..=65_535), None);
    });
    assert_eq!(found, ["line 3, column 4: /c: expected 1 to 65535, found `70000`"]);
}

#[test]
fn only_true_and_false_are_booleans() {
    for text in ["yes", "True", "\"true\"", "1", "on"] {
        let found = mistakes(&format!("a: {text}"), |root| {
            assert_eq!(root.fields(["a"]).unwrap().get("a").unwrap().boolean(), None, "{text}");
        });
        assert_eq!(found.len(), 1, "{text}");
    }
}

#[test]
fn every_mistake_is_collected_with_its_place() {
    let found = mistakes("verison: 1\nx-note: ok\ncolour: red\nmain:\n", |root| {
        let fields = root.fields(["name", "version", "main"]).unwrap();
        assert!(fields.required("name").is_none());
        assert_eq!(fields.required("main").unwrap().text(), None);
    });
    assert_eq!(
        found,
        [
            "line 1, column 1: /verison: unknown key `verison`; did you mean `version`?",
            "line 1, column 1: /name: the key `name` is missing",
            "line 3, column 1: /colour: unknown key `colour`; expected one of name, version, main",
            "line 4, column 5: /main: expected text, found nothing; give it a value or remove the key",
        ]
    );
}

#[test]
fn json_keeps_the_meaning_every_reader_agrees_on() {
    let text = "a: [1, 1.5, true, null, text, \"no\"]\nb/c: {d: 1e2}";
    let found = mistakes(text, |root| {
        let json = root.json().unwrap();
        assert_eq!(json.to_string(), r#"{"a":[1,1.5,true,null,"text","no"],"b/c":{"d":100.0}}"#);
    });
    assert!(found.is_empty(), "{found:?}");
    let found = mistakes("a: no\nb~/c: 1e999", |root| assert!(root.json().is_none()));
    assert!(found[0].starts_with("line 1, column 4: /a: `no` means different things"), "{found:?}");
}
