//! Reads the text format of Prometheus strictly.

use std::collections::BTreeMap;

type Labels = BTreeMap<String, String>;

/// A page that was read.
#[derive(Debug)]
pub struct Found(BTreeMap<(String, Labels), String>);

impl Found {
    /// The value of a series that counts; it must be there.
    #[track_caller]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.text(name, labels).parse().unwrap()
    }

    /// The value of a series that measures.
    #[track_caller]
    pub fn number(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.text(name, labels).parse().unwrap()
    }

    #[track_caller]
    fn text(&self, name: &str, labels: &[(&str, &str)]) -> &str {
        let wanted: Labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.0.get(&(name.to_owned(), wanted.clone())).unwrap_or_else(|| panic!("{name} {wanted:?} in {self:#?}"))
    }

    /// The values that a label has in a family.
    pub fn labels(&self, name: &str, label: &str) -> Vec<&str> {
        let of_family = self.0.keys().filter(|(found, _)| found == name);
        let mut values: Vec<_> = of_family.filter_map(|(_, labels)| labels.get(label)).map(String::as_str).collect();
        values.dedup();
        values
    }
}

/// Takes a page apart. Every sample belongs to the family before it, and no series is there twice.
pub fn read(text: &str) -> Found {
    assert!(text.ends_with('\n'));
    let (mut family, mut kind, mut seen) = (String::new(), String::new(), Vec::new());
    let mut found = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            help.split_once(' ').unwrap().0.clone_into(&mut family);
            assert!(!seen.contains(&family), "{family} is there twice");
            seen.push(family.clone());
            let next = lines.next().unwrap();
            let found = next.strip_prefix(&format!("# TYPE {family} "));
            found.unwrap_or_else(|| panic!("{next}")).clone_into(&mut kind);
            assert!(["counter", "gauge", "histogram"].contains(&kind.as_str()), "{next}");
            assert_eq!(family.ends_with("_total"), kind == "counter", "{family} {kind}");
            assert_eq!(family.ends_with("_seconds"), kind == "histogram", "{family} {kind}");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels_of(labels.strip_suffix('}').unwrap())),
            None => (series, Labels::new()),
        };
        let suffix = name.strip_prefix(&family).unwrap_or_else(|| panic!("{line} after {family}"));
        let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(suffixes.contains(&suffix), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(found.insert((name.to_owned(), labels), value.to_owned()).is_none(), "{line} is there twice");
    }
    Found(found)
}

/// Values with quotes in them are in no test.
fn labels_of(text: &str) -> Labels {
    let mut labels = Labels::new();
    for part in text.split("\",") {
        let (name, value) = part.trim_end_matches('"').split_once("=\"").unwrap_or_else(|| panic!("{text}"));
        assert!(labels.insert(name.to_owned(), value.to_owned()).is_none(), "{text}");
    }
    labels
}
