//! Servers that tenants name: what we call for them must not be what only we can reach.
//!
//! A tenant's admin chooses the address, so it could be that of a database beside us or of a cloud's metadata. Addresses of private
//! networks are refused when an address is saved, and again for each connection: the resolver of these connections gives public
//! addresses only, and it is these that are connected to, so that a name cannot lead elsewhere between the check and the call. What is
//! written as a number in an address asks no resolver; it is checked by itself. Redirects and proxies are not followed.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::remote;

/// How long a name may take to be looked up.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(3);

/// A host that the operator has allowed, wherever it leads; at one port or at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    host: Host,
    port: Option<u16>,
}

impl FromStr for AllowedHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // As in a URL, so that there is one way to write a host.
        let url = Url::parse(&format!("http://{}/", text.trim())).map_err(|error| format!("`{text}`: {error}"))?;
        let host = url.host().map(|host| host.to_owned()).ok_or_else(|| format!("`{text}` is no host"))?;
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            return Err(format!("`{text}` must be a host, or a host and a port"));
        }
        // A port of 80 is that of the scheme, and would be left out.
        let port = text.trim().ends_with(":80").then_some(80).or(url.port());
        Ok(Self { host, port })
    }
}

/// Why an address is not called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// Somebody on the way could read the key.
    #[error("it must begin with https://")]
    Plain,
    /// It leads into a network that the tenant cannot reach by itself. Where it leads is not told.
    #[error("it leads into a private network, where only hosts that the operator has allowed may be called")]
    Private,
    /// There is no such host.
    #[error("its host cannot be found")]
    Unknown,
}

/// Which addresses may be called for tenants.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outbound {
    allowed: Vec<AllowedHost>,
}

impl Outbound {
    /// All public ones, by https, and these.
    pub(crate) fn new(allowed: Vec<AllowedHost>) -> Self {
        Self { allowed }
    }

    /// What an address says by itself, without looking its host up.
    pub(crate) fn permits(&self, url: &Url) -> Result<(), NotAllowed> {
        if self.is_allowed(url) {
            return Ok(());
        }
        if url.scheme() != "https" {
            return Err(NotAllowed::Plain);
        }
        match url.host() {
            Some(Host::Ipv4(address)) if is_public(address.into()) => Ok(()),
            Some(Host::Ipv6(address)) if is_public(address.into()) => Ok(()),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => Err(NotAllowed::Private),
            Some(Host::Domain(_)) => Ok(()),
            None => Err(NotAllowed::Unknown),
        }
    }

    /// The same, and where the host leads at this moment.
    pub(crate) async fn check(&self, url: &Url) -> Result<(), NotAllowed> {
        self.permits(url)?;
        match url.host() {
            Some(Host::Domain(name)) if !self.is_allowed(url) => public_addresses(name).await.map(|_| ()),
            _ => Ok(()),
        }
    }

    /// What such an address is called by; [`Self::permits`] has been asked about it.
    pub(crate) fn http(&self, url: &Url) -> Result<reqwest::Client, reqwest::Error> {
        let builder = remote::builder().no_proxy();
        if self.is_allowed(url) { builder.build() } else { builder.dns_resolver(PublicOnly).build() }
    }

    fn is_allowed(&self, url: &Url) -> bool {
        let host = url.host().map(|host| host.to_owned());
        self.allowed.iter().any(|allowed| {
            Some(&allowed.host) == host.as_ref()
                && allowed.port.is_none_or(|port| Some(port) == url.port_or_known_default())
        })
    }
}

/// Gives public addresses, or none.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let addresses = public_addresses(name.as_str()).await.map_err(io::Error::other)?;
            Ok::<Addrs, _>(Box::new(addresses.into_iter()))
        })
    }
}

/// Where a name leads; one private address among others is reason enough to call none of them.
async fn public_addresses(name: &str) -> Result<Vec<SocketAddr>, NotAllowed> {
    let looked_up = tokio::time::timeout(LOOK_UP_WITHIN, tokio::net::lookup_host((name, 0))).await;
    let found: Vec<SocketAddr> = looked_up.ok().and_then(Result::ok).ok_or(NotAllowed::Unknown)?.collect();
    if found.is_empty() {
        return Err(NotAllowed::Unknown);
    }
    if found.iter().all(|address| is_public(address.ip())) { Ok(found) } else { Err(NotAllowed::Private) }
}

/// Whether everybody can reach it: IANA's registries of special addresses (RFC 6890 and its successors), and IPv4 addresses inside
/// those of IPv6.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224.., _, _) // this network, private, loopback, multicast and reserved
            | (100, 64..128, _) // behind a carrier's gateway
            | (169, 254, _) // link-local: metadata of clouds
            | (172, 16..32, _)
            | (192, 168, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 18..20, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // As IPv6 writes them, behind a translator (NAT64), and 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            embedded(high, low)
        }
        // Protocol assignments (Teredo among them), documentation.
        [0x2001, 0..0x200 | 0xdb8, ..] | [0x3fff, 0..0x1000, ..] => false,
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn private_addresses_are_refused_however_they_are_written() {
        let outbound = Outbound::default();
        for host in [
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "2130706433",
            "0177.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[::127.0.0.1]",
            "[64:ff9b::10.0.0.1]",
            "[64:ff9b:1::1]",
            "[2002:7f00:1::]",
            "[2001::1]",
            "[2001:db8::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "[fec0::1]",
            "[ff02::1]",
        ] {
            assert_eq!(outbound.permits(&url(&format!("https://{host}/v1"))), Err(NotAllowed::Private), "{host}");
        }
        for host in
            ["1.1.1.1", "172.32.0.1", "100.128.0.1", "[2606:4700::1111]", "[::ffff:1.1.1.1]", "[64:ff9b::1.1.1.1]"]
        {
            assert_eq!(outbound.permits(&url(&format!("https://{host}/v1"))), Ok(()), "{host}");
        }
        assert_eq!(outbound.permits(&url("http://1.1.1.1/v1")), Err(NotAllowed::Plain));
    }

    #[tokio::test]
    async fn names_that_lead_into_a_private_network_are_refused_when_they_are_looked_up() {
        let outbound = Outbound::default();
        assert_eq!(outbound.permits(&url("https://localhost/v1")), Ok(()), "that is not known yet");
        assert_eq!(outbound.check(&url("https://localhost/v1")).await, Err(NotAllowed::Private));
        // Not every resolver knows it, but none may lead there.
        assert!(outbound.check(&url("https://localhost./v1")).await.is_err());
        assert_eq!(outbound.check(&url("https://no-such-host.invalid/v1")).await, Err(NotAllowed::Unknown));
    }

    #[tokio::test]
    async fn connections_go_to_public_addresses_only_wherever_a_name_leads_by_then() {
        crate::telemetry::install_tls();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = url(&format!("http://localhost:{}/", listener.local_addr().unwrap().port()));
        // The check is left out: this is about the connection.
        let refused = Outbound::default().http(&address).unwrap().get(address.clone()).send().await.unwrap_err();
        assert!(format!("{refused:?}").contains("Private"), "{refused:?}");
        let nobody = tokio::time::timeout(Duration::from_millis(200), listener.accept()).await;
        assert!(nobody.is_err(), "somebody connected");
        let allowing = Outbound::new(vec!["localhost".parse().unwrap()]);
        let client = allowing.http(&address).unwrap();
        let sending = tokio::spawn(async move { client.get(address).send().await });
        tokio::time::timeout(Duration::from_secs(5), listener.accept()).await.unwrap().unwrap();
        sending.abort();
    }

    #[test]
    fn hosts_are_allowed_at_one_port_or_at_all() {
        let allowed = ["10.0.0.5:8000", "Models.Internal", "[::1]:80"].map(|text| text.parse().unwrap());
        let outbound = Outbound::new(allowed.to_vec());
        for (address, is_allowed) in [
            ("http://10.0.0.5:8000/v1", true),
            ("http://10.0.0.5:8001/v1", false),
            ("https://10.0.0.5/v1", false),
            ("http://models.internal/v1", true),
            ("https://models.internal:9/v1", true),
            ("http://other.internal/v1", false),
            ("http://[::1]/v1", true),
            ("http://[::1]:81/v1", false),
        ] {
            assert_eq!(outbound.permits(&url(address)).is_ok(), is_allowed, "{address}");
        }
        for wrong in ["", "a b", "host/path", "http://host", "user@host", "host:port"] {
            assert!(wrong.parse::<AllowedHost>().is_err(), "{wrong:?}");
        }
    }
}
