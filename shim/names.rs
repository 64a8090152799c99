//! Which name stands behind which address of the loopback network. Names get addresses when they are first asked for.

use std::collections::HashMap;
use std::net::Ipv4Addr;

/// Most names at one time; the oldest gives its address to the next one. A program that still uses the address then is
/// refused by the service, which sees that it means another host.
const MAX_NAMES: usize = 4096;

#[derive(Default)]
pub(crate) struct Names {
    places: HashMap<String, usize>,
    names: Vec<String>,
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
        if place < self.names.len() {
            let old = std::mem::replace(&mut self.names[place], name.clone());
            self.places.remove(&old);
        } else {
            self.names.push(name.clone());
        }
        self.places.insert(name, place);
        address_of(place)
    }

    /// The name that an address was given to.
    pub(crate) fn name(&self, address: Ipv4Addr) -> Option<&str> {
        let [127, second, third, fourth] = address.octets() else { return None };
        let place = (usize::from(second.checked_sub(64)?) << 8 | usize::from(third)) * 254 + usize::from(fourth);
        self.names.get(place.checked_sub(1)?).map(String::as_str)
    }
}

/// 127.64.0.1 and up, without addresses that end in 0 or 255.
fn address_of(place: usize) -> Ipv4Addr {
    let byte = |number: usize| u8::try_from(number & 0xff).unwrap_or(0);
    Ipv4Addr::new(127, 64, byte(place / 254), byte(place % 254 + 1))
}
