//! The line that a service with `debug: true` logs for each request.
//!
//! It answers the two questions that posters ask: how many did it reach, and, where a signature is refused, over which
//! octets should it have been made. Of the signed octets only lengths and the beginning of a hash are told, which is
//! enough to compare with the client's own and gives nothing away. Who logs the line, and where, is not known here.

use std::fmt::Write as _;
use std::net::IpAddr;

use stentor_model::PublicationId;

use super::answer::Refusal;
use super::signature::SignedParts;

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub enum Ending<'a> {
    /// One publication was accepted.
    Published {
        /// Its id.
        id: PublicationId,
        /// How many sessions it was handed to.
        receivers: usize,
    },
    /// A batch was answered item by item.
    Batch {
        /// Items that were published.
        published: usize,
        /// Items that were refused.
        refused: usize,
        /// Sessions reached by all published items together.
        receivers: usize,
    },
    /// A call was answered with a result.
    Called,
    /// Nothing was done.
    Refused(&'a Refusal),
}

/// One request, as the line tells it.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// How it ended.
    pub ending: Ending<'a>,
    /// The status that was answered.
    pub status: u16,
    /// The client, where it has an address.
    pub client: Option<IpAddr>,
    /// From [`super::Gate::signed_parts`]: what was signed, or should have been.
    pub signed: Option<&'a SignedParts>,
}

/// Renders a request as one line, whatever its sender put into it.
#[must_use]
pub fn line(report: &Report<'_>) -> String {
    let mut out = String::new();
    write(&mut out, report).expect("writing to a string cannot fail");
    out
}

fn write(out: &mut String, report: &Report<'_>) -> std::fmt::Result {
    let status = report.status;
    match report.ending {
        Ending::Published { id, receivers } => write!(out, "published status={status} id={id} receivers={receivers}")?,
        Ending::Batch { published, refused, receivers } => {
            write!(out, "batch status={status} published={published} refused={refused} receivers={receivers}")?;
        }
        Ending::Called => write!(out, "called status={status}")?,
        Ending::Refused(refusal) => {
            write!(out, "refused status={status} reason={:?}", refusal.error())?;
            if let Some(field) = refusal.field() {
                write!(out, " field={field:?}")?;
            }
            // A WAMP error is a URI only; the sentence is its first argument.
            if let Some(args) = refusal.payload_args() {
                write!(out, " args={:?}", String::from_utf8_lossy(args))?;
            }
        }
    }
    if let Some(client) = report.client {
        write!(out, " client={client}")?;
    }
    if let Some(SignedParts { lengths: [key, timestamp, seq, nonce, body], sha256_prefix }) = report.signed {
        write!(out, " signed=[key:{key} timestamp:{timestamp} seq:{seq} nonce:{nonce} body:{body}")?;
        write!(out, " sha256:{sha256_prefix}]")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::answer::RefusalKind;
    use super::*;

    fn check(ending: Ending<'_>, status: u16, signed: Option<&SignedParts>, expect: &str) {
        let client = signed.is_some().then(|| "127.0.0.1".parse().unwrap());
        assert_eq!(line(&Report { ending, status, client, signed }), expect);
    }

    #[test]
    fn one_line_for_each_ending() {
        let signed = SignedParts { lengths: [6, 24, 1, 16, 96], sha256_prefix: "0123abcd".to_owned() };
        let id = PublicationId::new(77).unwrap();
        check(Ending::Published { id, receivers: 3 }, 202, None, "published status=202 id=77 receivers=3");
        check(
            Ending::Batch { published: 2, refused: 1, receivers: 9 },
            207,
            None,
            "batch status=207 published=2 refused=1 receivers=9",
        );
        check(Ending::Called, 200, None, "called status=200");
        let refusal = Refusal::wamp("wamp.error.invalid_uri", Some(b"[\"why\"]"), None);
        check(
            Ending::Refused(&refusal),
            400,
            None,
            r#"refused status=400 reason="wamp.error.invalid_uri" args="[\"why\"]""#,
        );
        let refusal = Refusal::new(RefusalKind::WrongSignature, "no\nmatch").at("signature");
        check(
            Ending::Refused(&refusal),
            401,
            Some(&signed),
            "refused status=401 reason=\"no\\nmatch\" field=\"signature\" client=127.0.0.1 \
             signed=[key:6 timestamp:24 seq:1 nonce:16 body:96 sha256:0123abcd]",
        );
    }
}
