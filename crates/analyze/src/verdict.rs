//! How bad a package looks.

pub use plugbay_domain::Verdict;
