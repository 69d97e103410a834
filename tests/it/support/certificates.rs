//! Certificates: an authority, and what it signs.

use rcgen::{
    date_time_ymd, BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Pair {
    pub cert: String,
    pub key: String,
}

/// Signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub cert: String,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let (params, key) = (authority_params(name), new_key());
        let cert = params.self_signed(&key).expect("a certificate").pem();
        Authority { issuer: Issuer::new(params, key), cert }
    }

    /// For a server with these names and addresses.
    pub fn server(&self, names: &[&str]) -> Pair {
        self.sign(server_params(names))
    }

    /// The same, long ago.
    pub fn expired_server(&self, names: &[&str]) -> Pair {
        let mut params = server_params(names);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(params)
    }

    /// For a client that logs in as this role.
    pub fn client(&self, role: &str) -> Pair {
        let mut params = CertificateParams::new([]).expect("no names");
        params.distinguished_name.push(DnType::CommonName, role);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Pair {
        let key = new_key();
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair { cert: cert.pem(), key: key.serialize_pem() }
    }
}

/// Its own authority, as `openssl req -x509` makes it.
pub fn self_signed(names: &[&str]) -> Pair {
    let (mut params, key) = (server_params(names), new_key());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let cert = params.self_signed(&key).expect("a certificate");
    Pair { cert: cert.pem(), key: key.serialize_pem() }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([]).expect("no names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn server_params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, "a PostgreSQL server");
    params
}
