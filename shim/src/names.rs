//! Which name stands behind which address of the loopback network. Names get addresses when they are first asked for.

use std::collections::HashMap;
use std::net::Ipv4Addr;

/// Most names at one time; the oldest gives its address to the next one. A program that still uses the address then is
/// refused by the service, which sees that it means another host.
const MAX_NAMES: usize = 4096;

#[derive(Default)]
pub(crate) struct Names {
    places: HashMap<String, usize>,
    /// By their places.
    known: Vec<String>,
    next: usize,
}

impl Names {
    /// The address of a name.
    pub(crate) fn address(&mut self, name: &str) -> Ipv4Addr {
        let name = name.to_ascii_lowercase();
        if let Some(place) = self.places.get(&name) {
            return address_of(*place);
        }
        let place = self.next;
        self.next = (self.next + 1) % MAX_NAMES;
        if place < self.known.len() {
            let old = std::mem::replace(&mut self.known[place], name.clone());
            self.places.remove(&old);
        } else {
            self.known.push(name.clone());
        }
        self.places.insert(name, place);
        address_of(place)
    }

    /// The name that an address was given to.
    pub(crate) fn name(&self, address: Ipv4Addr) -> Option<&str> {
        let [127, second, third, fourth] = address.octets() else { return None };
        let place = (usize::from(second.checked_sub(64)?) << 8 | usize::from(third)) * 254 + usize::from(fourth);
        self.known.get(place.checked_sub(1)?).map(String::as_str)
    }
}

/// 127.64.0.1 and up, without addresses that end in 0 or 255.
fn address_of(place: usize) -> Ipv4Addr {
    let byte = |number: usize| u8::try_from(number & 0xff).unwrap_or(0);
    Ipv4Addr::new(127, 64, byte(place / 254), byte(place % 254 + 1))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::{MAX_NAMES, Names};

    #[test]
    fn an_address_leads_back_to_its_name() {
        let mut names = Names::default();
        for number in 0..MAX_NAMES {
            let name = format!("host-{number}");
            let address = names.address(&name);
            assert!(address.is_loopback() && !matches!(address.octets()[3], 0 | 255), "{address}");
            assert_eq!(names.name(address), Some(name.as_str()));
        }
        assert_eq!(names.address("HOST-0"), names.address("host-0"));
        for address in [[127, 0, 0, 1], [127, 64, 0, 0], [127, 63, 0, 1], [10, 64, 0, 1], [127, 255, 255, 255]] {
            assert_eq!(names.name(Ipv4Addr::from(address)), None, "{address:?}");
        }
    }

    #[test]
    fn the_oldest_name_gives_its_address_to_the_next_one() {
        let mut names = Names::default();
        let first = names.address("first");
        for number in 1..MAX_NAMES {
            names.address(&number.to_string());
        }
        assert_eq!(names.address("late"), first);
        assert_eq!(names.name(first), Some("late"));
        assert_eq!(names.address("first"), names.address("first"));
        assert_ne!(names.address("first"), first);
    }
}
