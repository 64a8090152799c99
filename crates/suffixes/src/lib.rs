//! The Public Suffix List behind one function.
//!
//! The crate that has the list as code is generic over how labels come, so it is compiled anew in each crate that calls
//! it, which takes minutes. Here it is compiled once.

/// The public suffix of a name, where the list has a rule for it.
#[must_use]
#[inline(never)]
pub fn known_suffix(name: &[u8]) -> Option<&[u8]> {
    psl::suffix(name).filter(psl::Suffix::is_known).map(|suffix| suffix.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::known_suffix;

    #[test]
    fn rules_of_the_list_are_known_and_others_are_not() {
        assert_eq!(known_suffix(b"x.co.uk"), Some(&b"co.uk"[..]));
        assert_eq!(known_suffix(b"x.internal"), None);
    }
}
