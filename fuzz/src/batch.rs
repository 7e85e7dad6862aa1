//! Batched transports: what comes apart can be joined again.
//!
//! The first octet chooses the serializer, the rest is one WebSocket message.

use stentor_wamp::codec::batch::{self, BatchError, Budget, Separator};
use stentor_wamp::codec::{Serializer, decode};

pub(crate) fn split_and_joined(data: &[u8]) {
    let [choice, octets @ ..] = data else { return };
    let serializer = Serializer::ALL[usize::from(*choice) % Serializer::ALL.len()];
    let split = match batch::split(serializer, octets) {
        Ok(split) => split,
        Err(BatchError::Empty) => return assert!(octets.is_empty()),
        Err(BatchError::Unfinished | BatchError::EmptyMessage(_)) => return assert!(!octets.is_empty()),
    };
    let separator = split.separator();
    turns(serializer, octets, separator);
    let messages: Vec<&[u8]> = split.collect();
    assert!(!messages.is_empty() && messages.iter().all(|message| !message.is_empty()));
    let mut joined = Vec::new();
    for message in &messages {
        let begun = batch::begin(serializer, &mut joined);
        joined.extend_from_slice(message);
        batch::finish(serializer, begun, separator, &mut joined);
        let _ = decode(serializer, message);
    }
    match serializer {
        // Both separators may stand in one batch; the answer uses one.
        Serializer::Json => assert_eq!(with(octets, separator), joined),
        Serializer::Msgpack | Serializer::Cbor => assert_eq!(octets, joined),
    }
}

/// Turns hold the same messages in the same order, each no more of them than it may.
fn turns(serializer: Serializer, octets: &[u8], separator: Separator) {
    let budget = Budget { messages: 3, bytes: 20 };
    let all = batch::turns(serializer, octets, budget).expect("it is a batch");
    assert_eq!(all.separator, separator);
    let mut end = 0;
    let mut messages = Vec::new();
    for turn in all.turns {
        assert_eq!(turn.start, end, "nothing stands between two turns");
        let count = batch::messages(serializer, &octets[turn.clone()]).count();
        assert!((1..=budget.messages).contains(&count) && (count == 1 || turn.len() <= budget.bytes));
        messages.extend(batch::messages(serializer, &octets[turn.clone()]));
        end = turn.end;
    }
    assert_eq!(end, octets.len());
    assert_eq!(messages, batch::split(serializer, octets).expect("it is a batch").collect::<Vec<_>>());
}

fn with(octets: &[u8], separator: Separator) -> Vec<u8> {
    let all = [Separator::RecordSeparator, Separator::Cancel].map(Separator::octet);
    octets.iter().map(|octet| if all.contains(octet) { separator.octet() } else { *octet }).collect()
}
