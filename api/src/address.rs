//! From where a request comes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use actix_web::HttpRequest;
use ipnet::IpNet;

/// The address of whoever asks: of the connection, or, where that is a proxy that is trusted, the last one in `X-Forwarded-For` that
/// is not. What stands before it was written by nobody who is trusted.
pub(crate) fn of(request: &HttpRequest, trusted: &[IpNet]) -> IpAddr {
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical());
    let forwarded = request.headers().get_all("x-forwarded-for").filter_map(|value| value.to_str().ok());
    let forwarded: Vec<&str> = forwarded.flat_map(|value| value.split(',')).map(str::trim).collect();
    through(peer, &forwarded, trusted)
}

fn through(peer: IpAddr, forwarded: &[&str], trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut address = peer;
    for named in forwarded.iter().rev() {
        if !is_trusted(&address) {
            break;
        }
        // What is no address was not written by the proxy: it stands for all who come through it.
        let Ok(named) = named.parse::<IpAddr>() else { break };
        address = named.to_canonical();
    }
    address
}

/// Who shares a limit: an IPv4 address, or the IPv6 network that one customer gets.
pub(crate) fn neighbourhood(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            format!("{}/64", Ipv6Addr::from(network))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let from = |peer: &str, forwarded: &[&str]| through(peer.parse().unwrap(), forwarded, &trusted).to_string();
        assert_eq!(from("203.0.113.7", &["198.51.100.1"]), "203.0.113.7", "a stranger says anything");
        assert_eq!(from("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(from("10.0.0.1", &["192.0.2.9", "198.51.100.1", "10.9.9.9"]), "198.51.100.1");
        assert_eq!(from("fd00::1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(from("10.0.0.1", &["::ffff:198.51.100.1"]), "198.51.100.1");
        assert_eq!(from("10.0.0.1", &["unknown"]), "10.0.0.1");
        assert_eq!(from("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn neighbours_share_a_limit() {
        assert_eq!(neighbourhood("198.51.100.1".parse().unwrap()), "198.51.100.1");
        assert_eq!(neighbourhood("2001:db8:1:2:3:4:5:6".parse().unwrap()), "2001:db8:1:2::/64");
    }
}
