//! TLS to the database by rustls, with libpq's `sslmode`, `sslrootcert`, `sslcert` and `sslkey`.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::{ring, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::verifier::{Trust, Verifier};
use crate::config::ConfigError;

/// `sslmode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// No TLS.
    Disable,
    /// TLS where the server has it.
    #[default]
    Prefer,
    /// TLS or nothing. The certificate is checked only where `sslrootcert` is given.
    Require,
    /// And the server's certificate is signed by an authority that is trusted.
    VerifyCa,
    /// And it is for the host that the URL names.
    VerifyFull,
}

/// `sslrootcert`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// `system`: the authorities that the operating system trusts.
    System,
    /// The authorities in a PEM file.
    File(PathBuf),
}

/// What a connection string says of TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// `sslmode`.
    pub mode: Mode,
    /// `sslrootcert`.
    pub roots: Option<Roots>,
    /// `sslcert` and `sslkey`: the client's own certificate.
    pub identity: Option<(PathBuf, PathBuf)>,
    mode_given: bool,
}

impl Mode {
    /// As it is written in a URL.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Disable => "disable",
            Mode::Prefer => "prefer",
            Mode::Require => "require",
            Mode::VerifyCa => "verify-ca",
            Mode::VerifyFull => "verify-full",
        }
    }

    fn parse(text: &str) -> Option<Mode> {
        use Mode::*;
        [Disable, Prefer, Require, VerifyCa, VerifyFull].into_iter().find(|m| m.name() == text)
    }
}

fn error(problem: impl Into<String>) -> ConfigError {
    ConfigError::at("url", problem)
}

impl TlsOptions {
    /// Takes one parameter of a connection string.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let path = PathBuf::from(value);
        let identity = || self.identity.clone().unwrap_or_default();
        match name {
            "sslmode" => {
                const MODES: &str =
                    "sslmode: expected disable, prefer, require, verify-ca or verify-full";
                self.mode = Mode::parse(value).ok_or_else(|| error(MODES))?;
                self.mode_given = true;
            }
            "sslrootcert" if value == "system" => self.roots = Some(Roots::System),
            "sslrootcert" => self.roots = Some(Roots::File(path)),
            "sslcert" => self.identity = Some((path, identity().1)),
            _ => self.identity = Some((identity().0, path)),
        }
        Ok(())
    }

    /// All parameters are read: what is missing is filled in as libpq does, and what makes no sense
    /// is refused.
    pub fn check(&mut self) -> Result<(), ConfigError> {
        match (&self.roots, self.mode) {
            (None, Mode::VerifyFull) => self.roots = Some(Roots::System),
            (None, Mode::VerifyCa) => {
                return Err(error(
                    "sslmode=verify-ca: give sslrootcert=<path>, the authority's certificate",
                ));
            }
            (Some(Roots::System), _) if !self.mode_given => self.mode = Mode::VerifyFull,
            // Anybody can have a certificate of some host.
            (Some(Roots::System), mode) if mode != Mode::VerifyFull => {
                let mode = mode.name();
                return Err(error(format!(
                    "sslrootcert=system: expected sslmode=verify-full, not {mode}"
                )));
            }
            _ => {}
        }
        if let Some((cert, key)) = &self.identity {
            let (given, missing) = match (cert.as_os_str().is_empty(), key.as_os_str().is_empty()) {
                (false, false) => return Ok(()),
                (true, _) => ("sslkey", "sslcert"),
                (_, true) => ("sslcert", "sslkey"),
            };
            return Err(error(format!("{given} is given without {missing}")));
        }
        Ok(())
    }
}

/// Makes the TLS side of connections.
pub struct Tls {
    options: TlsOptions,
    /// From the files as they were.
    current: Mutex<(Vec<Stamp>, MakeRustlsConnect)>,
}

/// Changes when a file is written or replaced: inode, time, its nanoseconds.
type Stamp = Option<(u64, i64, i64)>;

impl Tls {
    /// Reads the certificates. `None` where no TLS is wanted; an error names the file.
    pub fn new(options: TlsOptions) -> Result<Option<Tls>, ConfigError> {
        if options.mode == Mode::Disable {
            return Ok(None);
        }
        let current = (stamps(&options), read(&options).map_err(error)?);
        Ok(Some(Tls { options, current: Mutex::new(current) }))
    }

    /// What the connection string says.
    pub fn options(&self) -> &TlsOptions {
        &self.options
    }

    /// For one connection. Files that have been renewed are read again; an error names the file.
    pub fn connector(&self) -> Result<MakeRustlsConnect, String> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(&self.options);
        if current.0 != stamps {
            *current = (stamps, read(&self.options)?);
        }
        Ok(current.1.clone())
    }
}

fn stamps(options: &TlsOptions) -> Vec<Stamp> {
    let roots = match &options.roots {
        Some(Roots::File(path)) => Some(path),
        _ => None,
    };
    let identity = options.identity.iter().flat_map(|(cert, key)| [cert, key]);
    let stamp = |path: &PathBuf| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.ino(), meta.mtime(), meta.mtime_nsec()))
    };
    roots.into_iter().chain(identity).map(stamp).collect()
}

fn read(options: &TlsOptions) -> Result<MakeRustlsConnect, String> {
    // Not the process' default: redis-server may hold other modules with a rustls of their own.
    let provider = Arc::new(ring::default_provider());
    let trust = options.roots.as_ref().map(trust).transpose()?;
    let name = options.mode == Mode::VerifyFull;
    let verifier = Verifier::new(trust, name, provider.signature_verification_algorithms);
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some((cert_path, key_path)) => {
            let certs = certificates("sslcert", cert_path)?;
            let key = private_key(key_path, &provider)?;
            builder.with_client_auth_cert(certs, key).map_err(|e| match e {
                rustls::Error::InconsistentKeys(_) => {
                    format!(
                        "sslkey={} is not the key of sslcert={}",
                        key_path.display(),
                        cert_path.display()
                    )
                }
                e => format!("sslcert={}: {e}", cert_path.display()),
            })?
        }
    };
    // What sslnegotiation=direct asks for; to others it does no harm.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(MakeRustlsConnect::new(config))
}

fn trust(roots: &Roots) -> Result<Trust, String> {
    let mut store = RootCertStore::empty();
    let certificates = match roots {
        Roots::System => rustls_native_certs::load_native_certs().certs,
        Roots::File(path) => certificates("sslrootcert", path)?,
    };
    // The system's may hold old ones that can't be read: the others do.
    let (added, _) = store.add_parsable_certificates(certificates.iter().cloned());
    match (roots, added) {
        (Roots::System, 0) => {
            Err("sslrootcert=system: the system has none; on Debian, install ca-certificates"
                .into())
        }
        (Roots::File(path), 0) => {
            Err(format!("sslrootcert={}: no certificate in it can be used", path.display()))
        }
        _ => Ok(Trust { store, certificates }),
    }
}

fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let at = |problem: String| format!("{option}={}: {problem}", path.display());
    // First read, then parsed: an error of the file is then the system's own.
    let bytes = std::fs::read(path).map_err(|e| at(e.to_string()))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(list) if list.is_empty() => Err(at("expected a certificate in PEM".into())),
        Ok(list) => Ok(list),
        Err(e) => Err(at(format!("no valid PEM: {e}"))),
    }
}

fn private_key(path: &Path, provider: &CryptoProvider) -> Result<PrivateKeyDer<'static>, String> {
    let at = |problem: &str| format!("sslkey={}: {problem}", path.display());
    let bytes = std::fs::read(path).map_err(|e| at(&e.to_string()))?;
    if bytes.windows(9).any(|part| part == b"ENCRYPTED") {
        return Err(at("the key is encrypted; expected one without a passphrase"));
    }
    let key =
        PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| at("expected a private key in PEM"))?;
    provider.key_provider.load_private_key(key.clone_key()).map_err(|e| at(&e.to_string()))?;
    Ok(key)
}
