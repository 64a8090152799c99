//! Requests by address, method and status, and what was refused. The addresses are those of the table of routes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Counter, Counters, Page};
use plugbay_domain::Code;

/// Statuses that are answered; any other is counted as the first.
const STATUSES: [(u16, &str); 29] = [
    (0, "other"),
    (200, "200"),
    (201, "201"),
    (202, "202"),
    (204, "204"),
    (304, "304"),
    (307, "307"),
    (308, "308"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (409, "409"),
    (412, "412"),
    (413, "413"),
    (414, "414"),
    (415, "415"),
    (421, "421"),
    (422, "422"),
    (428, "428"),
    (429, "429"),
    (431, "431"),
    (500, "500"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
    (507, "507"),
];

const METHODS: [&str; 6] = ["other", "GET", "POST", "PUT", "DELETE", "HEAD"];

/// What is not in the table of routes.
const ELSEWHERE: &str = "other";

/// Requests to one address.
#[derive(Debug)]
pub struct RouteMeter {
    route: &'static str,
    counts: [[Counter; STATUSES.len()]; METHODS.len()],
}

impl RouteMeter {
    fn new(route: &'static str) -> Self {
        Self { route, counts: std::array::from_fn(|_| std::array::from_fn(|_| Counter::default())) }
    }

    /// Counts a request.
    pub fn count(&self, method: &str, status: u16) {
        let method = METHODS.iter().position(|known| *known == method).unwrap_or_default();
        let status = STATUSES.binary_search_by_key(&status, |(known, _)| *known).unwrap_or_default();
        self.counts[method][status].add_one();
    }
}

/// All requests.
#[derive(Debug)]
pub struct HttpMeters {
    /// Looked up while the table of routes is made, and for the page.
    routes: Mutex<BTreeMap<&'static str, Arc<RouteMeter>>>,
    /// Requests to anything else.
    pub elsewhere: Arc<RouteMeter>,
    /// Refusals and errors, by their code.
    pub refusals: Counters<Code>,
}

impl Default for HttpMeters {
    fn default() -> Self {
        let elsewhere = Arc::new(RouteMeter::new(ELSEWHERE));
        let routes = Mutex::new(BTreeMap::from([(ELSEWHERE, Arc::clone(&elsewhere))]));
        Self { routes, elsewhere, refusals: Counters::default() }
    }
}

impl HttpMeters {
    /// The handle of an address of the table of routes.
    pub fn route(&self, route: &'static str) -> Arc<RouteMeter> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(routes.entry(route).or_insert_with(|| Arc::new(RouteMeter::new(route))))
    }

    /// Writes everything that was counted.
    pub fn write(&self, page: &mut Page) {
        page.counter("http_requests_total", "Requests by address, method and status.");
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        for meter in routes.values() {
            for (method, counts) in METHODS.iter().zip(&meter.counts) {
                for ((_, status), count) in STATUSES.iter().zip(counts).filter(|(_, count)| count.get() > 0) {
                    let labels = [("route", meter.route), ("method", *method), ("status", *status)];
                    page.sample(&labels, count.get());
                }
            }
        }
        page.counter("http_refusals_total", "Answers that are problems, by their code.");
        for (code, count) in self.refusals.each().filter(|(_, count)| *count > 0) {
            page.sample(&[("code", code.as_str())], count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_and_anything_odd_as_other() {
        assert!(STATUSES.is_sorted());
        let meters = HttpMeters::default();
        meters.route("/a").count("GET", 200);
        meters.route("/a").count("GET", 200);
        meters.elsewhere.count("BREW", 418);
        meters.refusals.of(Code::PluginBusy).add_one();
        let mut page = Page::default();
        meters.write(&mut page);
        let text = page.into_text();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let wanted = [
            "http_requests_total{route=\"/a\",method=\"GET\",status=\"200\"} 2",
            "http_requests_total{route=\"other\",method=\"other\",status=\"other\"} 1",
            "http_refusals_total{code=\"plugin-busy\"} 1",
        ];
        assert_eq!(lines, wanted);
    }
}
