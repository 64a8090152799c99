//! The page that Prometheus reads, in its text format.

use std::fmt::Write as _;

use super::Histogram;

/// The page as it is written: a family after the other, each with its samples.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    /// The media type of what is written.
    pub const MEDIA_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Begins a family of counters.
    pub fn counter(&mut self, name: &'static str, help: &str) {
        self.begin(name, "counter", help);
    }

    /// Begins a family of numbers that go up and down.
    pub fn gauge(&mut self, name: &'static str, help: &str) {
        self.begin(name, "gauge", help);
    }

    /// Begins a family of histograms.
    pub fn histogram(&mut self, name: &'static str, help: &str) {
        self.begin(name, "histogram", help);
    }

    fn begin(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n").expect("texts grow");
    }

    /// Adds a number to the family.
    pub fn sample(&mut self, labels: &[(&'static str, &str)], value: u64) {
        self.line("", labels, None, &value.to_string());
    }

    /// Adds a histogram to the family.
    pub fn observed(&mut self, labels: &[(&'static str, &str)], histogram: &Histogram) {
        let mut all = 0;
        for (bound, count) in histogram.cumulated() {
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
            self.line("_bucket", labels, Some(&bound), &count.to_string());
            all = count;
        }
        self.line("_sum", labels, None, &histogram.sum().to_string());
        self.line("_count", labels, None, &all.to_string());
    }

    fn line(&mut self, suffix: &str, labels: &[(&'static str, &str)], bound: Option<&str>, value: &str) {
        self.text.push_str(self.family);
        self.text.push_str(suffix);
        let bound = bound.map(|bound| ("le", bound));
        for (place, (name, value)) in labels.iter().copied().chain(bound).enumerate() {
            self.text.push(if place == 0 { '{' } else { ',' });
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            write!(self.text, "{name}=\"{value}\"").expect("texts grow");
        }
        if !labels.is_empty() || bound.is_some() {
            self.text.push('}');
        }
        writeln!(self.text, " {value}").expect("texts grow");
    }

    /// What was written.
    pub fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_page_is_in_the_text_format() {
        let mut page = Page::default();
        page.counter("a_total", "Some.");
        page.sample(&[("plugin", "x"), ("outcome", "o\"k\\\n")], 3);
        page.gauge("b", "One.");
        page.sample(&[], 1);
        let histogram = Histogram::new(&[0.5, 1.0]);
        histogram.observe(Duration::from_millis(750));
        page.histogram("c_seconds", "Times.");
        page.observed(&[("plugin", "x")], &histogram);
        let wanted = "# HELP a_total Some.\n# TYPE a_total counter\na_total{plugin=\"x\",outcome=\"o\\\"k\\\\\\n\"} 3\n\
                      # HELP b One.\n# TYPE b gauge\nb 1\n\
                      # HELP c_seconds Times.\n# TYPE c_seconds histogram\n\
                      c_seconds_bucket{plugin=\"x\",le=\"0.5\"} 0\nc_seconds_bucket{plugin=\"x\",le=\"1\"} 1\n\
                      c_seconds_bucket{plugin=\"x\",le=\"+Inf\"} 1\nc_seconds_sum{plugin=\"x\"} 0.75\n\
                      c_seconds_count{plugin=\"x\"} 1\n";
        assert_eq!(page.into_text(), wanted);
    }
}
