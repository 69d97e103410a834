//! The servers of the URL: the addresses of each host, and why none of them could be used.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;

use postgres::config::{Host, LoadBalanceHosts};
use postgres::Config;

use super::connect_error::ConnectError;

/// A host of the URL.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its name, which a certificate is compared with, or the folder of its socket.
    host: Host,
    /// What `hostaddr` says: the name isn't looked up then.
    ip: Option<IpAddr>,
    port: u16,
}

/// One address of a host. Each is tried by itself, so that each can be named with its error.
#[derive(Debug, Clone)]
pub struct Address {
    host: Host,
    ip: Option<IpAddr>,
    port: u16,
}

impl Server {
    /// All hosts of a URL, in its order.
    pub fn all(config: &Config) -> Result<Vec<Server>, String> {
        let (hosts, ips) = (config.get_hosts(), config.get_hostaddrs());
        let ports = config.get_ports();
        if hosts.is_empty() {
            return Err("it names no host".into());
        }
        if !ips.is_empty() && ips.len() != hosts.len() {
            let (ips, hosts) = (ips.len(), hosts.len());
            return Err(format!("it has {hosts} hosts and {ips} hostaddrs: give one for each"));
        }
        if ports.len() > 1 && ports.len() != hosts.len() {
            let (ports, hosts) = (ports.len(), hosts.len());
            return Err(format!(
                "it has {hosts} hosts and {ports} ports: give one, or one for each"
            ));
        }
        let server = |(at, host): (usize, &Host)| Server {
            host: host.clone(),
            ip: ips.get(at).copied(),
            port: ports.get(at).or(ports.first()).copied().unwrap_or(5432),
        };
        Ok(hosts.iter().enumerate().map(server).collect())
    }

    /// Looks the name up.
    pub fn addresses(&self) -> Result<Vec<Address>, String> {
        let address = |ip| Address { host: self.host.clone(), ip, port: self.port };
        let name = match (&self.host, self.ip) {
            (Host::Tcp(name), None) => name,
            (_, ip) => return Ok(vec![address(ip)]),
        };
        let unknown = |why: String| format!("the host {name} can't be looked up: {why}");
        let found = (&**name, self.port).to_socket_addrs().map_err(|e| unknown(e.to_string()))?;
        let found: Vec<Address> = found.map(|found| address(Some(found.ip()))).collect();
        if found.is_empty() {
            return Err(unknown("it has no address".into()));
        }
        Ok(found)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match (&self.host, self.ip) {
            (Host::Tcp(name), Some(ip)) if *name == ip.to_string() => match ip {
                IpAddr::V4(ip) => write!(f, "{ip}:{}", self.port),
                IpAddr::V6(ip) => write!(f, "[{ip}]:{}", self.port),
            },
            (Host::Tcp(name), Some(ip)) => write!(f, "{name}:{} ({ip})", self.port),
            (Host::Tcp(name), None) => write!(f, "{name}:{}", self.port),
            (Host::Unix(path), _) => write!(f, "{}:{}", path.display(), self.port),
        }
    }
}

impl Address {
    /// Whom to connect to.
    pub fn add_to(&self, config: &mut Config) {
        match &self.host {
            Host::Tcp(name) => config.host(name),
            Host::Unix(path) => config.host_path::<PathBuf>(path.clone()),
        };
        if let Some(ip) = self.ip {
            config.hostaddr(ip);
        }
        config.port(self.port);
    }
}

/// In another order each time, where the URL says so.
pub fn in_order<T: Clone>(config: &Config, all: &[T]) -> Vec<T> {
    let mut order: Vec<usize> = (0..all.len()).collect();
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
        let random = RandomState::new();
        order.sort_by_key(|at| random.hash_one(at));
    }
    order.into_iter().map(|at| all[at].clone()).collect()
}

/// What a URL says besides its hosts: they are given one by one.
pub fn without_hosts(given: &Config) -> Config {
    let mut config = Config::new();
    given.get_user().map(|user| config.user(user));
    given.get_password().map(|password| config.password(password));
    given.get_dbname().map(|name| config.dbname(name));
    config
        .keepalives(given.get_keepalives())
        .ssl_mode(given.get_ssl_mode())
        .ssl_negotiation(given.get_ssl_negotiation())
        .channel_binding(given.get_channel_binding());
    config
}

/// Why the addresses that were tried can't be used.
#[derive(Default)]
pub struct Failures {
    tried: Vec<(usize, String, ConnectError)>,
}

impl Failures {
    /// One of the addresses of the host of this number.
    pub fn add(&mut self, host: usize, address: String, error: ConnectError) {
        self.tried.push((host, address, error));
    }

    /// All of them as one error. What a server has answered says more than that a socket could not be
    /// made, so it stands first, and decides what is done about it.
    pub fn into_error(mut self) -> ConnectError {
        // While one host takes no writes, another that is away may come back and take them.
        let (mut all, mut read_only): (Vec<usize>, Vec<usize>) = Default::default();
        for (host, _, error) in &self.tried {
            all.push(*host);
            read_only.extend(matches!(error, ConnectError::ReadOnly(_)).then_some(*host));
        }
        let is_read_only = all.iter().all(|host| read_only.contains(host));
        let rank = |error: &ConnectError| match error {
            ConnectError::Document(_) => 0,
            ConnectError::Pooled(_) => 1,
            ConnectError::ReadOnly(_) if is_read_only => 2,
            ConnectError::Answered(_) => 3,
            ConnectError::Away(_) | ConnectError::ReadOnly(_) => 4,
        };
        self.tried.sort_by_key(|(_, _, error)| rank(error));
        if self.tried.len() == 1 {
            return self.tried.remove(0).2;
        }
        let mut texts: Vec<String> = Vec::new();
        for (_, address, error) in &self.tried {
            let text = error.to_string();
            // Some name their address themselves.
            let is_named = text.contains(address.as_str());
            texts.push(if is_named { text } else { format!("{text} at {address}") });
        }
        let text = texts.join("; ");
        match self.tried.into_iter().next().map(|(_, _, error)| error) {
            Some(ConnectError::Document(error)) => ConnectError::Document(error),
            Some(ConnectError::Pooled(_)) => ConnectError::Pooled(text),
            Some(ConnectError::ReadOnly(_)) if is_read_only => ConnectError::ReadOnly(text),
            Some(ConnectError::Answered(_)) => ConnectError::Answered(text),
            _ => ConnectError::Away(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(tried: &[(usize, &str, ConnectError)]) -> ConnectError {
        let mut failures = Failures::default();
        for (host, address, error) in tried {
            let error = match error {
                ConnectError::ReadOnly(text) => ConnectError::ReadOnly(text.clone()),
                ConnectError::Answered(text) => ConnectError::Answered(text.clone()),
                other => ConnectError::Away(other.to_string()),
            };
            failures.add(*host, address.to_string(), error);
        }
        failures.into_error()
    }

    #[test]
    fn the_servers_answer_comes_first_and_each_address_is_named() {
        let (answer, socket) =
            (ConnectError::Answered("28P01 no".into()), ConnectError::Away("refused".into()));
        let error = failed(&[(0, "a", answer), (0, "b", socket)]);
        assert_eq!(error.to_string(), "28P01 no at a; refused at b");
        assert!(matches!(error, ConnectError::Answered(_)));
    }

    #[test]
    fn read_only_are_the_servers_when_each_host_is() {
        let read_only = || ConnectError::ReadOnly("25006 b takes no writes".into());
        let away = || ConnectError::Away("refused".into());
        let error = failed(&[(0, "a", away()), (0, "b", read_only())]);
        assert_eq!(error.to_string(), "25006 b takes no writes; refused at a");
        assert!(matches!(error, ConnectError::ReadOnly(_)));
        let error = failed(&[(0, "a", away()), (1, "b", read_only())]);
        assert_eq!(error.to_string(), "refused at a; 25006 b takes no writes");
        assert!(matches!(error, ConnectError::Away(_)));
    }

    #[test]
    fn hosts_and_their_ports() {
        let all = |url: &str| Server::all(&url.parse().unwrap());
        let shown = |url: &str| -> Vec<String> {
            let addresses = all(url).unwrap().into_iter().flat_map(|server| server.addresses());
            addresses.flatten().map(|address| address.to_string()).collect()
        };
        assert_eq!(shown("host=127.0.0.1,::1 port=1"), ["127.0.0.1:1", "[::1]:1"]);
        assert_eq!(shown("host=db hostaddr=10.0.0.1"), ["db:5432 (10.0.0.1)"]);
        assert_eq!(shown("host=/tmp port=7"), ["/tmp:7"]);
        assert!(all("host=a,b,c port=1,2").is_err());
    }
}
