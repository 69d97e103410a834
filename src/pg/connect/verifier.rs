//! What is checked of a server's certificate: nothing, who signed it, or also its name.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

/// Whose signature is trusted.
#[derive(Debug)]
pub struct Trust {
    /// The authorities.
    pub store: RootCertStore,
    /// The same as certificates.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// Checks as `sslmode` and `sslrootcert` say.
#[derive(Debug)]
pub struct Verifier {
    trust: Option<Trust>,
    name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// Without `trust` nothing is checked but that the server has its certificate's key: on that
    /// SCRAM's channel binding rests. With `name` the certificate must be for the host, too.
    pub fn new(trust: Option<Trust>, name: bool, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Verifier { trust, name, algorithms }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(Trust { store, certificates }) = &self.trust {
            let parsed = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.algorithms.all;
            match verify_server_cert_signed_by_trust_anchor(
                &parsed,
                store,
                intermediates,
                now,
                algorithms,
            ) {
                // `openssl req -x509` makes a certificate that is its own authority. The server may
                // use it where sslrootcert holds that very one, as with libpq.
                Err(error) if is_authority(&error) && certificates.contains(end_entity) => {}
                signed => signed?,
            }
            if self.name {
                verify_server_name(&parsed, server)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The certificate is an authority's. That is found after its dates were checked.
fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) = error else {
        return false;
    };
    matches!(cause.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}
