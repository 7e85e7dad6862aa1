//! The node from outside: real sockets, raw octets, no client library between the test and the wire.
//!
//! Most tests run a node inside the test process (`house`); those of the command line run the binary (`cli`). Nothing here
//! sleeps and hopes: a test waits for a reply, and "nothing arrives" is shown by a marker that was sent afterwards.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking; the lint knows test functions only"
)]

mod client;
mod house;
mod http;
mod receiver;
mod scripted;

mod caller;
mod cli;
mod courier;
mod courier_cost;
mod downloads;
mod endpoints;
mod express;
mod frames;
mod functions;
mod functions_cli;
mod functions_guide;
mod functions_hub;
mod functions_library;
mod functions_table;
mod handshake;
mod hostile_http;
mod hostile_memory;
mod hostile_socket;
mod http_layer;
mod hub;
mod hub_bridge;
mod hub_cli;
mod hub_kill;
mod hub_store;
mod hub_topics;
mod lifetime;
mod long;
mod pressure;
mod pusher_batch;
mod pusher_events;
mod pusher_gate;
mod pusher_options;
mod pusher_refusals;
mod pusher_signed;
mod rfc;
mod routing;
mod serializers;
mod standalone;
mod turns;
mod under_load;
mod violations;
mod watch;
mod webhooks;
