//! Seeds that are made: binary forms of what lies in `seeds/` as text, frames, connections, and the configurations of this
//! repository.
//!
//! What a person can write by hand lies in `seeds/` and not here.

use std::fs;
use std::io;
use std::path::Path;

use stentor_wamp::codec::batch::{Separator, begin, finish};
use stentor_wamp::codec::{Serializer, decode, encode_client, transcode};
use stentor_websocket::close::CloseCode;
use stentor_websocket::deflate::{Deflater, Window};
use stentor_websocket::frame::{self, Draft, Opcode};

use crate::lane;

const HOUSE: &str = env!("CARGO_MANIFEST_DIR");

const KEY: [u8; 4] = [1, 2, 3, 4];

/// Configurations that are read elsewhere in the repository, from its root.
const CONFIGURATIONS: &[&str] = &[
    "config.default.yaml",
    "crates/server/src/config/tests/modern.json",
    "crates/server/src/config/tests/modern.yaml",
    "crates/server/src/config/tests/standalone.json",
    "crates/server/src/config/tests/template.json",
    "crates/server/templates/default/dot-stentor/config.json",
    "crates/server/templates/pusher/dot-stentor/config.json",
];

/// Writes a folder of seeds for each target that has some.
pub(crate) fn write(out: &Path) -> io::Result<()> {
    configurations(out)?;
    wamp(out)?;
    decoder(out)?;
    deflate(out)?;
    lane::seeds().iter().try_for_each(|(name, octets)| put(out, "pusher_lane", name, octets))
}

fn put(out: &Path, target: &str, name: &str, octets: &[u8]) -> io::Result<()> {
    let folder = out.join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), octets)
}

fn configurations(out: &Path) -> io::Result<()> {
    for place in CONFIGURATIONS {
        let text = fs::read(Path::new(HOUSE).join("..").join(place))?;
        let target = if place.ends_with(".json") { "configuration_json" } else { "configuration_yaml" };
        put(out, target, &place.replace('/', "-"), &text)?;
        // JSON is YAML too.
        put(out, "configuration_yaml", &place.replace('/', "-"), &text)?;
    }
    Ok(())
}

/// Each JSON message in the other serializers, alone and twice in a batch.
fn wamp(out: &Path) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(Path::new(HOUSE).join("seeds/wamp_json"))?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let json = fs::read(entry.path())?;
        let name = entry.file_name().to_string_lossy().into_owned();
        for (place, serializer) in (0_u8..).zip(Serializer::ALL) {
            let mut octets = Vec::new();
            let written = match decode(Serializer::Json, &json) {
                Ok(message) => encode_client(serializer, &message, &mut octets),
                // Some seeds are values, or not even that.
                Err(_) => transcode(Serializer::Json, serializer, &json, &mut octets),
            };
            if written.is_err() {
                continue;
            }
            match serializer {
                Serializer::Json => {}
                Serializer::Msgpack => put(out, "wamp_msgpack", &name, &octets)?,
                Serializer::Cbor => put(out, "wamp_cbor", &name, &octets)?,
            }
            let mut batch = vec![place];
            for _ in 0..2 {
                let begun = begin(serializer, &mut batch);
                batch.extend_from_slice(&octets);
                finish(serializer, begun, Separator::default(), &mut batch);
            }
            put(out, "wamp_batch", &format!("{name}-{place}"), &batch)?;
        }
    }
    Ok(())
}

/// Every kind of frame from a client. The rules in front: deflate or not, limits large or small.
fn decoder(out: &Path) -> io::Result<()> {
    let mut deflater = Deflater::new();
    let mut compressed = Vec::new();
    let length = deflater.compress(Window::Bits15, b"Hello, Hello, Hello", &mut compressed);
    length.expect("a full window can be written");
    let split = |opcode: Opcode, text: &str| -> Vec<u8> {
        let mut draft = Draft::with_capacity(text.len());
        draft.payload().extend_from_slice(text.as_bytes());
        draft.finish_fragmented(opcode, 5).to_vec()
    };
    let masked = |opcode: Opcode, payload: &[u8]| frame::masked(opcode, payload, KEY).to_vec();
    let mut bomb = Vec::new();
    deflater.compress(Window::Bits15, &[b'a'; 100_000], &mut bomb).expect("a full window can be written");
    let seeds: &[(&str, u8, Vec<u8>)] = &[
        ("text", 0, masked(Opcode::Text, "Hello, Wörld €😀".as_bytes())),
        ("binary", 0, masked(Opcode::Binary, &[0, 1, 2, 255])),
        ("long", 0, masked(Opcode::Binary, &[7; 300])),
        ("longer", 0, masked(Opcode::Binary, &[7; 70_000])),
        ("ping-pong", 0, [masked(Opcode::Ping, b"now"), masked(Opcode::Pong, b"")].concat()),
        ("close", 0, masked(Opcode::Close, &[&CloseCode::NORMAL.get().to_be_bytes()[..], b"bye"].concat())),
        ("close-empty", 0, masked(Opcode::Close, b"")),
        (
            "several",
            0x10,
            [masked(Opcode::Text, b"a"), masked(Opcode::Ping, b"b"), masked(Opcode::Text, b"c")].concat(),
        ),
        ("not-utf8", 0, masked(Opcode::Text, &[b'a', 0xc3, 0x28])),
        ("not-utf8-replaced", 8, masked(Opcode::Text, &[b'a', 0xc3, 0x28])),
        ("fragments", 1, split(Opcode::Text, "Hello, Wörld €😀")),
        ("from-server", 5, frame::text("Hello").to_vec()),
        ("unmasked", 4, frame::text("Hello").to_vec()),
        ("deflated", 2, frame::masked_deflated(Opcode::Text, &compressed, KEY).to_vec()),
        ("deflated-not-agreed", 0, frame::masked_deflated(Opcode::Text, &compressed, KEY).to_vec()),
        ("bomb", 0x12, frame::masked_deflated(Opcode::Text, &bomb, KEY).to_vec()),
        ("bomb-small-limit", 0x22, frame::masked_deflated(Opcode::Text, &bomb, KEY).to_vec()),
        ("too-big", 0x20, masked(Opcode::Binary, &[1; 100])),
        (
            "deflated-too-big-and-broken",
            0x2a,
            b"\xc1\x8b\x01\x02\x04\xf3J\0\0\0\x1aD\x04\xa7D\x0c\0\0\0\xf3\0\x01\0\x03".to_vec(),
        ),
    ];
    for (name, rules, frames) in seeds {
        put(out, "websocket_decoder", name, &[&[*rules, 3], &**frames].concat())?;
    }
    Ok(())
}

fn deflate(out: &Path) -> io::Result<()> {
    let mut compressed = Vec::new();
    let length = Deflater::new().compress(Window::Bits9, &b"abc".repeat(400), &mut compressed);
    length.expect("a small window can be written");
    let noise: Vec<u8> = (0..2000_u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for (name, choice, octets) in [
        ("empty", 2, Vec::new()),
        ("plain", 2, b"Hello".to_vec()),
        ("repeats", 0xa3, b"Hello, ".repeat(300)),
        ("noise", 3, noise),
        ("stored", 0, b"Hello".to_vec()),
        ("stream", 0x42, compressed),
    ] {
        put(out, "websocket_deflate", name, &[&[choice], &*octets].concat())?;
    }
    Ok(())
}
