//! Where each clause is held: what a hub must do by W3C WebSub and by the habits of subscribers, 72 items in the order of
//! the Recommendation, and the tests that hold it: of this crate, and of the server that carries out what it says.
//!
//! Comments in this crate that say "item" mean these.

/// Who sees to an item.
enum Held {
    /// This test, in this file.
    Here(&'static str, &'static str),
    /// This test in part, and for the rest this test of the server.
    Shared(&'static str, &'static str, &'static str, &'static str),
    /// This test of the server, with the delivery machine and the store behind it.
    Shell(&'static str, &'static str),
    /// Nobody: it is allowed, and not done.
    Left(&'static str),
}

use Held::{Here, Left, Shared, Shell};

const REQUEST: &str = "request/tests.rs";
const MACHINE: &str = "subscription/tests.rs";
/// A hub with real sockets, from outside.
const HUB: &str = "hub.rs";
const HUB_STORE: &str = "hub_store.rs";
/// The HTTP client that hubs send with.
const COURIER: &str = "courier.rs";

#[rustfmt::skip]
const CLAUSES: &[(u8, &str, Held)] = &[
    // 5.1 Subscriber Sends Subscription Request
    (1, "forms with callback, mode and topic", Here(REQUEST, "subscriptions_are_read")),
    (2, "hub.secret", Here(REQUEST, "subscriptions_are_read")),
    (3, "secrets of 200 octets refused", Here(REQUEST, "secrets_are_counted_in_octets")),
    (4, "hub.lease_seconds", Here("lease.rs", "wishes_are_read")),
    (5, "no lease at unsubscribe", Here(REQUEST, "unsubscriptions_ignore_what_is_not_theirs")),
    (6, "unknown fields ignored", Here(REQUEST, "unknown_fields_are_ignored")),
    (7, "202", Shared(MACHINE, "a_subscription_is_verified_and_in_force", HUB, "a_webhook_arrives")),
    (8, "202 waits for no callback", Here(MACHINE, "a_subscription_is_verified_and_in_force")),
    (9, "4xx for what is wrong in the request", Shared(REQUEST, "faults_are_named", HUB, "what_is_wrong_with_a_request_is_said")),
    (10, "plain text errors", Shared(REQUEST, "refusals_are_sentences_with_a_class", HUB, "what_is_wrong_with_a_request_is_said")),
    (11, "policy refusals at once", Here(REQUEST, "security_is_demanded_of_subscriptions")),
    (12, "307 to another hub", Left("every node of a hub serves")),
    (13, "unreserved characters decoded", Here("address.rs", "callbacks_are_strict")),
    (14, "topics that do not advertise this hub", Left("every topic is taken; scopes decide")),
    (15, "verification soon", Shell(HUB, "a_webhook_arrives")),
    // 5.1.2 Renewal, and unsubscribing
    (16, "the pair is the key", Here(MACHINE, "two_spellings_of_a_callback_are_one")),
    (17, "asked for again at any time", Here(MACHINE, "the_newest_request_wins")),
    (18, "nothing overridden before verification", Here(MACHINE, "the_newest_request_wins")),
    (19, "a new secret or none", Here(MACHINE, "the_newest_request_wins")),
    (20, "no gap at renewal", Shared("lease.rs", "leases_end", HUB, "a_renewal_changes_the_terms_and_keeps_the_place")),
    (21, "only a confirmed end removes", Here(MACHINE, "an_end_is_verified_too")),
    (22, "an unknown pair's end: 202", Here(MACHINE, "an_end_is_verified_too")),
    // 5.2 Subscription Validation
    (23, "validation", Here("authenticator.rs", "verdicts_become_decisions")),
    (24, "denial", Here("callback.rs", "denials_tell_the_reason")),
    (25, "denial at any time", Shared(MACHINE, "an_operator_ends_subscriptions", HUB, "subscriptions_end_by_every_way")),
    (26, "no denial after a failed verification", Here(MACHINE, "a_failed_verification_is_final_or_tried_again")),
    (27, "the answer to a denial ignored", Shell(HUB, "subscriptions_end_by_every_way")),
    // 5.3 Hub Verifies Intent of the Subscriber
    (28, "the fields of a verification", Here("callback.rs", "verifications_keep_the_query")),
    (29, "the callback's query kept", Here("callback.rs", "verifications_keep_the_query")),
    (30, "challenges used once", Shared(MACHINE, "a_later_attempt_confirms_with_its_own_challenge", HUB, "a_webhook_arrives")),
    (31, "2xx and exactly the challenge", Here("callback.rs", "answers_are_judged")),
    (32, "other statuses fail", Shared("callback.rs", "answers_are_judged", COURIER, "every_ending_has_a_name")),
    (33, "leases count from the sending and end", Shared("lease.rs", "leases_end", HUB, "a_lease_ends")),
    (34, "short leases by default", Here("options.rs", "defaults_are_those_of_the_reference")),
    (35, "a minimum", Here("lease.rs", "wishes_are_bounded")),
    (36, "confirming again periodically", Left("leases end soon enough")),
    (37, "silent callbacks asked again", Here(MACHINE, "attempts_are_bounded_and_further_and_further_apart")),
    // 6 Publishing
    (38, "hub.url or hub.topic", Here(REQUEST, "pings_name_topics")),
    (39, "several hub.url", Here(REQUEST, "pings_name_topics")),
    (40, "204 for pings", Shell(HUB, "pings_are_answered_before_the_topic_is_fetched")),
    (41, "bad URLs refused, unknown topics accepted", Shared(REQUEST, "pings_name_topics", HUB, "what_is_wrong_with_a_request_is_said")),
    (42, "only 2xx is distributed", Here("message/fetch.rs", "errors_fall_back_or_are_tried_again")),
    (43, "messages never deduplicated", Shell(HUB, "pings_are_answered_before_the_topic_is_fetched")),
    (44, "topics that move", Here("message/fetch.rs", "redirects_are_followed_a_few_times")),
    // 7 Content Distribution
    (45, "POST to the exact callback", Shared("address.rs", "addresses_keep_the_target", HUB, "a_webhook_arrives")),
    (46, "the content type's text", Here("headers.rs", "content_types_are_kept")),
    (47, "links to hub and self", Here("headers.rs", "deliveries_say_what_they_are")),
    (48, "one Link field, hub first", Here("headers.rs", "deliveries_say_what_they_are")),
    (49, "X-Hub-Signature", Here("signature.rs", "signatures_are_those_of_the_rfcs")),
    (50, "unsigned without a secret", Here("headers.rs", "deliveries_say_what_they_are")),
    (51, "sha1 unless configured", Here("options.rs", "defaults_are_those_of_the_reference")),
    (52, "2xx is success", Shell(HUB, "a_webhook_arrives")),
    (53, "410 ends the subscription", Shell(HUB, "subscriptions_end_by_every_way")),
    (54, "redirects are failures", Shell(HUB, "redirects_are_failures_and_patience_is_granted")),
    (55, "retries", Shell(HUB, "a_failing_receiver_is_tried_again_and_nothing_overtakes")),
    (56, "the subscription outlives a lost notification", Shell(HUB, "what_is_given_up_is_recorded_and_sent_again_by_hand")),
    (57, "reduced feeds", Left("a hub is content-unaware")),
    (58, "a dead subscriber delays nobody", Shell(HUB, "one_that_hangs_delays_nobody_else")),
    (59, "order", Shell(HUB, "a_failing_receiver_is_tried_again_and_nothing_overtakes")),
    (60, "crashes", Shell(HUB_STORE, "a_restart_loses_nothing")),
    (61, "User-Agent", Shared("headers.rs", "the_hub_names_itself", HUB, "a_webhook_arrives")),
    // 8 Security Considerations
    (62, "the callback's scheme", Shared("address.rs", "addresses_keep_the_target", COURIER, "certificates_are_the_hosts_own")),
    (63, "signed when asked", Here("headers.rs", "deliveries_say_what_they_are")),
    (64, "short leases, random challenges", Shared("lease.rs", "wishes_are_bounded", HUB, "a_webhook_arrives")),
    (65, "private addresses", Shared("guard.rs", "v4_addresses_are_told_apart", COURIER, "names_lead_only_where_the_guard_allows")),
    (66, "amplification", Shared(MACHINE, "what_waits_is_bounded", HUB, "nobody_asks_faster_than_he_may")),
    (67, "bounded bodies and times", Shared("message/fetch.rs", "errors_fall_back_or_are_tried_again", COURIER, "bodies_are_read_as_far_as_wanted")),
    (68, "secrets hidden", Shared(REQUEST, "secrets_do_not_show", HUB, "a_webhook_arrives")),
    (69, "values encoded", Here("callback.rs", "denials_tell_the_reason")),
    (70, "publishers authorised apart", Shared(REQUEST, "posts_are_told_apart", HUB, "publishing_is_closed_unless_it_is_configured")),
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

/// The tests of the server that hold items.
const OF_SERVER: &[(&str, &str)] = &[
    (HUB, include_str!("../../server/tests/it/hub.rs")),
    (HUB_STORE, include_str!("../../server/tests/it/hub_store.rs")),
    (COURIER, include_str!("../../server/tests/it/courier.rs")),
];

#[test]
fn every_clause_is_held() {
    let numbers: Vec<u8> = CLAUSES.iter().map(|(number, ..)| *number).collect();
    assert_eq!(numbers, (1..=72).collect::<Vec<u8>>());
    for (number, clause, held) in CLAUSES {
        let (here, there) = match held {
            Here(file, test) => (Some((file, test)), None),
            Shared(file, test, of_server, other) => (Some((file, test)), Some((of_server, other))),
            Shell(of_server, test) => (None, Some((of_server, test))),
            Left(why) => {
                assert!(!why.is_empty(), "item {number} ({clause})");
                continue;
            }
        };
        for (sources, held) in [(SOURCES, here), (OF_SERVER, there)] {
            let Some((file, test)) = held else { continue };
            let source = sources.iter().find(|(name, _)| name == file).map(|(_, text)| *text);
            let is_there = source.is_some_and(|text| text.contains(&format!("fn {test}()")));
            assert!(is_there, "item {number} ({clause}): {file} has no test {test}");
        }
    }
}
