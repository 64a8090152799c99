//! A range of addresses that an operator names in the configuration.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::escape;

/// All addresses with the same first bits, such as `203.0.113.0/24`; an address alone is the range of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressRange {
    first: IpAddr,
    bits: u8,
}

/// The text is not a range of addresses.
#[derive(Debug, thiserror::Error)]
pub enum AddressRangeError {
    /// It has another form.
    #[error("`{found}` is not a range of addresses; expected such as `203.0.113.0/24` or `2001:db8::/32`")]
    Form {
        /// The text, escaped.
        found: String,
    },
    /// It does not begin where a range of its size begins.
    #[error("`{found}` is not where a range begins; write `{begins}`")]
    Inside {
        /// The text, escaped.
        found: String,
        /// The range that the address is in.
        begins: AddressRange,
    },
}

impl AddressRange {
    /// Tells whether the address is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && first_bits(address, self.bits) == self.first
    }
}

/// The address with all but its first bits zero.
fn first_bits(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits.into())).unwrap_or_default();
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits.into())).unwrap_or_default();
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

impl FromStr for AddressRange {
    type Err = AddressRangeError;

    fn from_str(text: &str) -> Result<Self, AddressRangeError> {
        let malformed = || AddressRangeError::Form { found: escape(text) };
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_not_one| malformed())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(malformed)?,
            None => most,
        };
        let range = Self { first: first_bits(address, bits), bits };
        if range.first == address {
            Ok(range)
        } else {
            Err(AddressRangeError::Inside { found: escape(text), begins: range })
        }
    }
}

impl TryFrom<String> for AddressRange {
    type Error = AddressRangeError;

    fn try_from(text: String) -> Result<Self, AddressRangeError> {
        text.parse()
    }
}

impl From<AddressRange> for String {
    fn from(range: AddressRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_contains_what_begins_like_it() {
        let cases = [
            ("203.0.113.0/24", "203.0.113.255", true),
            ("203.0.113.0/24", "203.0.114.0", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "2606:4700::1", false),
            ("45.33.32.156", "45.33.32.156", true),
            ("45.33.32.156/32", "45.33.32.157", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "ff02::1", true),
        ];
        for (range, address, expected) in cases {
            let range: AddressRange = range.parse().unwrap();
            assert_eq!(range.contains(address.parse().unwrap()), expected, "{range} {address}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_what_would_be_right() {
        for text in ["", "a/8", "1.2.3.4/33", "::/129", "1.2.3.0/-1", "1.2.3.0/24/1", "1.2.3"] {
            assert!(text.parse::<AddressRange>().is_err(), "{text}");
        }
        let error = "203.0.113.7/24".parse::<AddressRange>().unwrap_err().to_string();
        assert!(error.ends_with("write `203.0.113.0/24`"), "{error}");
    }
}
