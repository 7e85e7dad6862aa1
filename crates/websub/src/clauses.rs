//! Where each clause is held: what a hub must do by W3C WebSub and by the habits of subscribers, 72 items in the order of
//! the Recommendation, and the test of this crate that holds it or what the server still has to do about it.
//!
//! Comments in this crate that say "item" mean these.

/// Who sees to an item.
enum Held {
    /// This test, in this file.
    Here(&'static str, &'static str),
    /// This test in part, and the server for the rest.
    Shared(&'static str, &'static str, &'static str),
    /// The server or the delivery machine.
    Shell(&'static str),
    /// Nobody: it is allowed, and not done.
    Left(&'static str),
}

use Held::{Here, Left, Shared, Shell};

const REQUEST: &str = "request/tests.rs";
const MACHINE: &str = "subscription/tests.rs";

#[rustfmt::skip]
const CLAUSES: &[(u8, &str, Held)] = &[
    // 5.1 Subscriber Sends Subscription Request
    (1, "forms with callback, mode and topic", Here(REQUEST, "subscriptions_are_read")),
    (2, "hub.secret", Here(REQUEST, "subscriptions_are_read")),
    (3, "secrets of 200 octets refused", Here(REQUEST, "secrets_are_counted_in_octets")),
    (4, "hub.lease_seconds", Here("lease.rs", "wishes_are_read")),
    (5, "no lease at unsubscribe", Here(REQUEST, "unsubscriptions_ignore_what_is_not_theirs")),
    (6, "unknown fields ignored", Here(REQUEST, "unknown_fields_are_ignored")),
    (7, "202", Shared(MACHINE, "a_subscription_is_verified_and_in_force", "the status of Answer::Accepted")),
    (8, "202 waits for no callback", Here(MACHINE, "a_subscription_is_verified_and_in_force")),
    (9, "4xx for what is wrong in the request", Shared(REQUEST, "faults_are_named", "the status of each class")),
    (10, "plain text errors", Shared(REQUEST, "refusals_are_sentences_with_a_class", "text/plain")),
    (11, "policy refusals at once", Here(REQUEST, "security_is_demanded_of_subscriptions")),
    (12, "307 to another hub", Left("every node of a hub serves")),
    (13, "unreserved characters decoded", Here("address.rs", "callbacks_are_strict")),
    (14, "topics that do not advertise this hub", Left("every topic is taken; scopes decide")),
    (15, "verification soon", Shell("actions are carried out as they come")),
    // 5.1.2 Renewal, and unsubscribing
    (16, "the pair is the key", Here(MACHINE, "two_spellings_of_a_callback_are_one")),
    (17, "asked for again at any time", Here(MACHINE, "the_newest_request_wins")),
    (18, "nothing overridden before verification", Here(MACHINE, "the_newest_request_wins")),
    (19, "a new secret or none", Here(MACHINE, "the_newest_request_wins")),
    (20, "no gap at renewal", Shared("lease.rs", "leases_end", "Activate replaces, and never removes first")),
    (21, "only a confirmed end removes", Here(MACHINE, "an_end_is_verified_too")),
    (22, "an unknown pair's end: 202", Here(MACHINE, "an_end_is_verified_too")),
    // 5.2 Subscription Validation
    (23, "validation", Here("authenticator.rs", "verdicts_become_decisions")),
    (24, "denial", Here("callback.rs", "denials_tell_the_reason")),
    (25, "denial at any time", Shared(MACHINE, "an_operator_ends_subscriptions", "the admin API sends Cancel")),
    (26, "no denial after a failed verification", Here(MACHINE, "a_failed_verification_is_final_or_tried_again")),
    (27, "the answer to a denial ignored", Shell("Deny is sent once and reports nothing")),
    // 5.3 Hub Verifies Intent of the Subscriber
    (28, "the fields of a verification", Here("callback.rs", "verifications_keep_the_query")),
    (29, "the callback's query kept", Here("callback.rs", "verifications_keep_the_query")),
    (30, "challenges used once", Shared(MACHINE, "a_later_attempt_confirms_with_its_own_challenge", "a random seed")),
    (31, "2xx and exactly the challenge", Here("callback.rs", "answers_are_judged")),
    (32, "other statuses fail", Shared("callback.rs", "answers_are_judged", "a client that follows no redirect")),
    (33, "leases count from the sending and end", Shared("lease.rs", "leases_end", "removal at the end")),
    (34, "short leases by default", Here("options.rs", "defaults_are_those_of_the_reference")),
    (35, "a minimum", Here("lease.rs", "wishes_are_bounded")),
    (36, "confirming again periodically", Left("leases end soon enough")),
    (37, "silent callbacks asked again", Here(MACHINE, "attempts_are_bounded_and_further_and_further_apart")),
    // 6 Publishing
    (38, "hub.url or hub.topic", Here(REQUEST, "pings_name_topics")),
    (39, "several hub.url", Here(REQUEST, "pings_name_topics")),
    (40, "204 for pings", Shell("the status, and the gate before it")),
    (41, "bad URLs refused, unknown topics accepted", Shared(REQUEST, "pings_name_topics", "unknown topics are no fault")),
    (42, "only 2xx is distributed", Here("message/fetch.rs", "errors_fall_back_or_are_tried_again")),
    (43, "messages never deduplicated", Shell("a digest for pings, if any; none for messages")),
    (44, "topics that move", Here("message/fetch.rs", "redirects_are_followed_a_few_times")),
    // 7 Content Distribution
    (45, "POST to the exact callback", Shared("address.rs", "addresses_keep_the_target", "the target as the request line")),
    (46, "the content type's text", Here("headers.rs", "content_types_are_kept")),
    (47, "links to hub and self", Here("headers.rs", "deliveries_say_what_they_are")),
    (48, "one Link field, hub first", Here("headers.rs", "deliveries_say_what_they_are")),
    (49, "X-Hub-Signature", Here("signature.rs", "signatures_are_those_of_the_rfcs")),
    (50, "unsigned without a secret", Here("headers.rs", "deliveries_say_what_they_are")),
    (51, "sha1 unless configured", Here("options.rs", "defaults_are_those_of_the_reference")),
    (52, "2xx is success", Shell("delivery")),
    (53, "410 ends the subscription", Shell("delivery")),
    (54, "redirects are failures", Shell("delivery, and a client that follows none")),
    (55, "retries", Shell("delivery")),
    (56, "the subscription outlives a lost notification", Shell("delivery")),
    (57, "reduced feeds", Left("a hub is content-unaware")),
    (58, "a dead subscriber delays nobody", Shell("delivery")),
    (59, "order", Shell("delivery and store")),
    (60, "crashes", Shell("store; requests under way are asked for again by subscribers")),
    (61, "User-Agent", Shared("headers.rs", "the_hub_names_itself", "on every request")),
    // 8 Security Considerations
    (62, "the callback's scheme", Shared("address.rs", "addresses_keep_the_target", "TLS with verified certificates")),
    (63, "signed when asked", Here("headers.rs", "deliveries_say_what_they_are")),
    (64, "short leases, random challenges", Shared("lease.rs", "wishes_are_bounded", "a random seed")),
    (65, "private addresses", Shared("guard.rs", "v4_addresses_are_told_apart", "judged after resolving, and connected to")),
    (66, "amplification", Shared(MACHINE, "what_waits_is_bounded", "rates by client, and requests at once by host")),
    (67, "bounded bodies and times", Shared("message/fetch.rs", "errors_fall_back_or_are_tried_again", "reading so far and no further")),
    (68, "secrets hidden", Shared(REQUEST, "secrets_do_not_show", "no credentials to callbacks")),
    (69, "values encoded", Here("callback.rs", "denials_tell_the_reason")),
    (70, "publishers authorised apart", Shared(REQUEST, "posts_are_told_apart", "the gate for all but forms")),
    (71, "only the body is signed", Here("headers.rs", "deliveries_say_what_they_are")),
    (72, "denials and verifications unsigned", Here("callback.rs", "verifications_keep_the_query")),
];

/// The files that hold items.
const SOURCES: &[(&str, &str)] = &[
    (REQUEST, include_str!("request/tests.rs")),
    (MACHINE, include_str!("subscription/tests.rs")),
    ("address.rs", include_str!("address.rs")),
    ("authenticator.rs", include_str!("authenticator.rs")),
    ("callback.rs", include_str!("callback.rs")),
    ("guard.rs", include_str!("guard.rs")),
    ("headers.rs", include_str!("headers.rs")),
    ("lease.rs", include_str!("lease.rs")),
    ("message/fetch.rs", include_str!("message/fetch.rs")),
    ("options.rs", include_str!("options.rs")),
    ("signature.rs", include_str!("signature.rs")),
];

#[test]
fn every_clause_is_held() {
    let numbers: Vec<u8> = CLAUSES.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, (1..=72).collect::<Vec<u8>>());
    for (number, clause, held) in CLAUSES {
        match held {
            Here(file, test) | Shared(file, test, _) => {
                let source = SOURCES.iter().find(|(name, _)| name == file).map(|(_, text)| *text);
                let is_there = source.is_some_and(|text| text.contains(&format!("fn {test}()")));
                assert!(is_there, "item {number} ({clause}): {file} has no test {test}");
            }
            Shell(how) | Left(how) => assert!(!how.is_empty(), "item {number} ({clause})"),
        }
        if let Shared(_, _, rest) = held {
            assert!(!rest.is_empty(), "item {number} ({clause})");
        }
    }
}
