//! Whose certificates are believed.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The certificates that the system trusts (or the file that `SSL_CERT_FILE` names), and those of a PEM file of one's own.
///
/// A system without any is no fault: it cannot send to https, and says so then.
///
/// # Errors
/// A sentence that names the PEM file when it cannot be read or holds no certificate.
pub fn roots(extra: Option<&Path>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "a certificate of the system cannot be read");
    }
    // Some of a system's certificates are always too old or too odd, and the others do.
    let (_, ignored) = store.add_parsable_certificates(native.certs);
    if ignored > 0 {
        tracing::debug!(ignored, "certificates of the system are not understood");
    }
    if let Some(file) = extra {
        store.roots.extend(authorities(file)?.roots);
    }
    Ok(store)
}

/// The certificates of a PEM file.
///
/// # Errors
/// A sentence that names the file when it cannot be read or holds no certificate.
pub fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let wrong = |error: &dyn std::fmt::Display| format!("{} cannot be read: {error}", file.display());
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        store.add(certificate).map_err(|error| wrong(&error))?;
    }
    if store.is_empty() { Err(format!("{} holds no certificate in PEM form", file.display())) } else { Ok(store) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_ones_own_are_added() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("own.pem");
        let known = roots(None).unwrap().len();
        let check = |text: Option<&str>, expected: Result<usize, &str>| {
            let _ = std::fs::remove_file(&file);
            if let Some(text) = text {
                std::fs::write(&file, text).unwrap();
            }
            match (roots(Some(&file)), expected) {
                (Ok(store), Ok(more)) => assert_eq!(store.len(), known + more),
                (Err(fault), Err(part)) => assert!(fault.contains("own.pem") && fault.contains(part), "{fault}"),
                (found, expected) => panic!("{found:?} is not {expected:?}"),
            }
        };
        let made = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem();
        check(Some(&format!("{}{}", made(), made())), Ok(2));
        check(None, Err("cannot be read"));
        check(Some(""), Err("holds no certificate"));
        check(Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), Err("cannot be read"));
    }
}
