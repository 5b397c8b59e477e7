//! TLS: rustls with the platform's roots, a private authority, or no verification at all.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Whom to trust.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// The platform's certificate authorities.
    #[default]
    Platform,
    /// Only the authorities in this PEM text.
    Authorities(Vec<u8>),
    /// Anyone. The run records it.
    Anyone,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The platform has no certificate authorities.
    #[error(
        "no certificate authorities on this machine; give one with --ca-file, or --insecure to trust anyone"
    )]
    NoRoots,
    /// The PEM text has none.
    #[error("no certificate found in it: expected PEM, -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// A certificate cannot be used.
    #[error("a certificate cannot be used as an authority")]
    BadCertificate {
        /// The cause.
        #[source]
        source: rustls::Error,
    },
    /// The cryptography does not fit the protocol versions.
    #[error("TLS cannot be configured")]
    Config {
        /// The cause.
        #[source]
        source: rustls::Error,
    },
}

/// Builds the configuration that all connections share.
///
/// # Errors
/// [`TlsError`].
pub fn tls_config(trust: &Trust) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|source| TlsError::Config { source })?;
    let mut config = match trust {
        Trust::Anyone => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAnyone { provider }))
            .with_no_client_auth(),
        Trust::Platform => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(TlsError::NoRoots);
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Trust::Authorities(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|_| TlsError::NoCertificate)?;
                roots.add(certificate).map_err(|source| TlsError::BadCertificate { source })?;
            }
            if roots.is_empty() {
                return Err(TlsError::NoCertificate);
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Verifies signatures, but not who signed.
#[derive(Debug)]
struct AcceptAnyone {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AcceptAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// One line on a failed handshake, in the user's terms.
pub(crate) fn handshake_message(error: &std::io::Error) -> String {
    let rustls = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    let Some(error) = rustls else {
        return match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                "the server closed the connection: does it speak TLS?".to_owned()
            }
            _ => error.to_string(),
        };
    };
    match error {
        rustls::Error::InvalidCertificate(why) => {
            use rustls::CertificateError::{Expired, NotValidForName, NotValidForNameContext, UnknownIssuer};
            match why {
                UnknownIssuer => {
                    "the certificate's issuer is unknown: give it with --ca-file, or --insecure".to_owned()
                }
                NotValidForName | NotValidForNameContext { .. } => {
                    "the certificate is for another name than the one in --url".to_owned()
                }
                Expired | rustls::CertificateError::ExpiredContext { .. } => {
                    "the certificate has expired".to_owned()
                }
                other => format!("the certificate is not valid: {other}"),
            }
        }
        rustls::Error::InvalidMessage(_) => {
            "the server does not speak TLS on this port: is it http://?".to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused() {
        for pem in [&b""[..], b"hello", b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"] {
            let error = tls_config(&Trust::Authorities(pem.to_vec())).unwrap_err();
            assert!(matches!(error, TlsError::NoCertificate), "{error}");
        }
        assert!(tls_config(&Trust::Anyone).is_ok());
    }
}
