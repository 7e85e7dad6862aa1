//! TLS endpoints, by rustls with its safe defaults.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsConfig;

/// Reads keys and certificates.
///
/// # Errors
/// A sentence that names the file at fault.
pub fn acceptor(config: &TlsConfig) -> Result<TlsAcceptor, String> {
    let mut chain = certificates(&config.certificate)?;
    for file in &config.chain_certificates {
        chain.extend(certificates(file)?);
    }
    let key = PrivateKeyDer::from_pem_file(&config.key)
        .map_err(|error| format!("the private key {} cannot be read: {error}", config.key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| {
            let (certificate, key) = (config.certificate.display(), config.key.display());
            format!("certificate {certificate} and key {key} do not make a pair: {error}")
        })?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(server)))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error| format!("the certificate {} cannot be read: {error}", file.display());
    let found: Vec<_> = CertificateDer::pem_file_iter(file).map_err(wrong)?.collect::<Result<_, _>>().map_err(wrong)?;
    if found.is_empty() {
        return Err(format!("{} holds no certificate in PEM form", file.display()));
    }
    Ok(found)
}
