//! Who a connection comes from, and how much one address may hold.
//!
//! A client cannot choose its address: `X-Forwarded-For` is read from its end, where our own proxies wrote,
//! and only as far as they are known. What it can choose is one of the 2⁶⁴ addresses of its IPv6 network, so
//! that whole network counts as one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use ipnet::IpNet;
use parking_lot::Mutex;

const FORWARDED_FOR: &str = "x-forwarded-for";
/// What one customer of a provider holds (RFC 6177).
const V6_NETWORK_BITS: u8 = 64;

/// The proxies that are believed when they say for whom they speak.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl FromIterator<IpNet> for TrustedProxies {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl TrustedProxies {
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client's address: the last one in `X-Forwarded-For` that no trusted proxy stands for. Nothing
    /// before an entry that is no address is believed: only a proxy's own words are known to be well-formed.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let values: Vec<&str> =
            headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
        for entry in values.iter().rev().flat_map(|value| value.rsplit(',')) {
            let Ok(forwarded) = entry.trim().parse::<IpAddr>() else { break };
            if !self.trusts(client) {
                break;
            }
            client = forwarded.to_canonical();
        }
        client
    }
}

/// What counts as one address: an IPv4 address, or a /64 of IPv6.
#[must_use]
pub fn network(address: IpAddr) -> IpNet {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address).into(),
        IpAddr::V6(address) => {
            IpNet::new(address.into(), V6_NETWORK_BITS).expect("64 is a length of an IPv6 prefix").trunc()
        }
    }
}

/// How many of something each address holds. Forgets who holds nothing.
#[derive(Default)]
pub struct AddressCounts(Mutex<HashMap<IpNet, usize>>);

impl AddressCounts {
    /// One more for this address, until the place is dropped; `None` if it holds `max` already.
    #[must_use]
    pub fn enter(self: &Arc<Self>, address: IpAddr, max: usize) -> Option<AddressPlace> {
        let network = network(address);
        let mut counts = self.0.lock();
        let held = counts.entry(network).or_default();
        if *held >= max {
            return None;
        }
        *held += 1;
        Some(AddressPlace { counts: Arc::clone(self), network })
    }

    fn leave(&self, network: IpNet) {
        let mut counts = self.0.lock();
        if let Some(held) = counts.get_mut(&network) {
            *held -= 1;
            if *held == 0 {
                counts.remove(&network);
            }
        }
    }
}

/// One of what an address may hold.
pub struct AddressPlace {
    counts: Arc<AddressCounts>,
    network: IpNet,
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        self.counts.leave(self.network);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn client(peer: &str, forwarded: &[&'static str]) -> IpAddr {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        let headers = forwarded
            .iter()
            .map(|value| (http::HeaderName::from_static(FORWARDED_FOR), value.parse().unwrap()))
            .collect();
        TrustedProxies::from_iter(trusted).client(address(peer), &headers)
    }

    #[test]
    fn only_what_trusted_proxies_wrote_is_believed() {
        let cases: &[(&str, &[&str], &str)] = &[
            // Who is no proxy of ours may write what he likes.
            ("9.9.9.9", &["1.2.3.4"], "9.9.9.9"),
            ("9.9.9.9", &["10.0.0.1"], "9.9.9.9"),
            ("10.1.1.1", &["1.2.3.4"], "1.2.3.4"),
            ("10.1.1.1", &[], "10.1.1.1"),
            // A client that writes the header itself gains nothing: our proxy appends what it saw.
            ("10.1.1.1", &["6.6.6.6, 1.2.3.4, 10.0.0.9"], "1.2.3.4"),
            ("10.1.1.1", &["6.6.6.6", "1.2.3.4", "10.0.0.9"], "1.2.3.4"),
            ("10.1.1.1", &["6.6.6.6, nonsense, 1.2.3.4"], "1.2.3.4"),
            // Nor is it believed beyond a word that no proxy of ours would write.
            ("10.1.1.1", &["6.6.6.6, nonsense"], "10.1.1.1"),
            ("10.1.1.1", &["6.6.6.6, nonsense, 10.0.0.9"], "10.0.0.9"),
            ("10.1.1.1", &["6.6.6.6, 1.2.3.4:80"], "10.1.1.1"),
            ("10.1.1.1", &[""], "10.1.1.1"),
            // A listener on [::] sees IPv4 peers as mapped addresses.
            ("::ffff:10.1.1.1", &["::ffff:1.2.3.4"], "1.2.3.4"),
            ("::ffff:9.9.9.9", &["1.2.3.4"], "9.9.9.9"),
            ("fd00::1", &["2001:db8::7"], "2001:db8::7"),
            // A request that a proxy makes for itself.
            ("10.1.1.1", &["10.0.0.9"], "10.0.0.9"),
        ];
        for (peer, forwarded, expected) in cases {
            assert_eq!(client(peer, forwarded), address(expected), "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn neighbours_in_one_v6_network_count_as_one_and_mapped_v4_as_v4() {
        let of = |text: &str| network(address(text));
        assert_eq!(of("2001:db8:1:2:aaaa::1"), of("2001:db8:1:2:bbbb::2"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.7"));
        assert_ne!(of("192.0.2.7"), of("192.0.2.8"));
        assert_eq!(of("192.0.2.7").to_string(), "192.0.2.7/32");
        assert_eq!(of("2001:db8:1:2::1").to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let counts = Arc::new(AddressCounts::default());
        let (one, other) = (address("2001:db8::1"), address("2001:db8:0:1::1"));
        let held = [counts.enter(one, 2).unwrap(), counts.enter(address("2001:db8::2"), 2).unwrap()];
        assert!(counts.enter(one, 2).is_none());
        assert!(counts.enter(other, 2).is_some());
        drop(held);
        assert!(counts.0.lock().is_empty());
    }
}
