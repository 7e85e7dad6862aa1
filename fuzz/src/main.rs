//! Fuzz targets: octets that nobody sane would send, and what must hold of the answers all the same.
//!
//! Knows which targets there are; each is a function from octets that panics when something does not hold. One binary
//! holds all of them, because linking the server a dozen times would take longer than the bounded run itself:
//! `FUZZ_TARGET` says which one runs. How it is built, for how long it runs and where inputs are kept is the concern of
//! `cargo xtask fuzz`, which is the way to start it.
//!
//! A target has a second opinion wherever there is one: another parser, a naive way to compute the same, or the same
//! octets in another order. That nothing panics is only the least of it.

#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

mod batch;
mod configuration;
mod deflate;
mod gate;
mod handshake;
mod lane;
mod pusher;
mod seed;
mod session;
mod wamp;
mod websocket;
mod websub;

/// One target: its name in `FUZZ_TARGET`, and its work.
type Target = (&'static str, fn(&[u8]));

const TARGETS: &[Target] = &[
    ("configuration_json", configuration::json),
    ("configuration_yaml", configuration::yaml),
    ("pusher_batch", pusher::batch),
    ("pusher_body", pusher::body),
    ("pusher_head", gate::head),
    ("pusher_lane", lane::both_ways),
    ("pusher_query", gate::query),
    ("wamp_batch", batch::split_and_joined),
    ("wamp_cbor", wamp::cbor),
    ("wamp_json", wamp::json),
    ("wamp_msgpack", wamp::msgpack),
    ("wamp_session", session::lines),
    ("websocket_decoder", websocket::decoder),
    ("websocket_deflate", deflate::both_ways),
    ("websocket_handshake", handshake::headers),
    ("websub_form", websub::form),
    ("websub_message", websub::body),
];

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

fuzz_target!(
    init: {
        // Seeds in binary formats are made from what people can read, instead of lying about as octets.
        if let Some(folder) = std::env::var_os("FUZZ_SEEDS_OUT") {
            seed::write(Path::new(&folder)).expect("the folder of the seeds can be written");
            std::process::exit(0);
        }
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let Some((_, target)) = TARGETS.iter().find(|(known, _)| *known == name) else {
            panic!("FUZZ_TARGET has to name a target, not {name:?}");
        };
        TARGET.get_or_init(|| *target);
    },
    |data: &[u8]| {
        TARGET.get().expect("the target was chosen before the first input")(data);
    }
);
