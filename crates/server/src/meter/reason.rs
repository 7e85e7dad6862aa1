//! Why the node closes a connection or refuses one: the label of `stentor_closed_total`, and the one place that lists them.

/// Declares [`Reason`]: a documented variant, whose documentation is the help text, and its label.
macro_rules! reasons {
    ($(#[doc = $help:literal] $variant:ident = $label:literal,)*) => {
        /// Why the node closed a connection, or refused a connection or a request, on its own account.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $(#[doc = $help] $variant,)*
        }

        impl Reason {
            /// All of them, in the order of the reference page.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The value of the label `reason`.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)*
                }
            }

            /// What happened, in a sentence.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self {
                    $(Self::$variant => $help.trim_ascii(),)*
                }
            }
        }
    };
}

reasons! {
    /// The subscriber read so slowly that its outbox was full (`outbox_bytes_max`).
    OutboxFull = "outbox_full",
    /// The client answered no ping (`auto_ping_timeout`).
    PingTimeout = "ping_timeout",
    /// The client did not join a realm, or did not answer a GOODBYE, in time (`open_handshake_timeout`).
    HelloTimeout = "hello_timeout",
    /// The client did not answer a WebSocket Close in time (`close_handshake_timeout`).
    CloseTimeout = "close_timeout",
    /// The client broke RFC 6455 (close code 1002).
    ProtocolError = "protocol_error",
    /// A text message was not UTF-8, or a compressed one could not be read (close code 1007).
    InvalidPayload = "invalid_payload",
    /// A frame or a message was too large (`max_frame_size`, `max_message_size`; close code 1009).
    MessageTooBig = "message_too_big",
    /// The client broke WAMP and got ABORT with `wamp.error.protocol_violation`.
    WampViolation = "wamp_violation",
    /// A message was given up because too much was held of unfinished ones (`bodies_bytes_max`; close code 1013).
    MessagesFull = "messages_full",
    /// A WebSocket handshake was refused because the transport had `max_sessions` already.
    SessionsFull = "sessions_full",
    /// A connection was refused because the transport (`connections_max`), or the process, can have no more.
    ConnectionsFull = "connections_full",
    /// A connection was refused because its address has as many as it may (`connections_per_address_max`).
    AddressFull = "address_full",
    /// A connection was refused because every thread had too many waiting.
    ThreadsBusy = "threads_busy",
    /// A body was refused because too many large ones were being read (`bodies_bytes_max`).
    BodiesFull = "bodies_full",
    /// Nothing was ever said on the connection.
    Silent = "silent",
    /// No further request came (`client_timeout`): what becomes of most connections that are kept alive.
    Idle = "idle",
    /// A request's head took too long (`head_timeout`).
    HeadTimeout = "head_timeout",
    /// A request's head was too large.
    HeadTooLarge = "head_too_large",
    /// A body took too long or came too slowly (`body_timeout`, `body_rate_min`).
    BodyTimeout = "body_timeout",
    /// A body was too large (`post_body_limit`).
    BodyTooLarge = "body_too_large",
    /// What came was not HTTP.
    Malformed = "malformed",
    /// The client did not read its answers (`write_timeout`).
    WriteTimeout = "write_timeout",
    /// A TLS handshake took too long (`head_timeout`).
    TlsTimeout = "tls_timeout",
    /// A TLS handshake failed.
    TlsFailed = "tls_failed",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_told_apart_and_explained() {
        for (place, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, place);
            assert!(reason.label().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{reason:?}");
            assert!(Reason::ALL[..place].iter().all(|other| other.label() != reason.label()), "{reason:?}");
            assert!(reason.help().ends_with('.'), "{reason:?}");
        }
    }
}
