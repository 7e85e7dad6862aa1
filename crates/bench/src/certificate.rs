//! A certificate for one measurement, and the trust in it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use crate::fault::{Fault, io};

/// The file of the key, in the node's folder.
pub(crate) const KEY: &str = "server.key";

/// The file of the certificate.
pub(crate) const CERTIFICATE: &str = "server.crt";

/// Makes both files for `localhost`, and the client's side.
pub(crate) fn make(folder: &Path) -> Result<Arc<ClientConfig>, Fault> {
    let refused = |error: &dyn std::fmt::Display| Fault::Setup(format!("no certificate: {error}"));
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).map_err(|error| refused(&error))?;
    let node = folder.join(".crossbar");
    let written = fs::create_dir_all(&node)
        .and_then(|()| fs::write(node.join(KEY), made.signing_key.serialize_pem()))
        .and_then(|()| fs::write(node.join(CERTIFICATE), made.cert.pem()));
    io(written, || "the certificate cannot be written".to_owned())?;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).map_err(|error| refused(&error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&error))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
