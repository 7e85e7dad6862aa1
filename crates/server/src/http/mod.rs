//! HTTP: which service answers a request, and the services that are not the pusher.
//!
//! hyper parses and writes HTTP, and `express` the plainest publications; this room decides. A request is matched to the service with the longest path, and a
//! service answers everything below its path, as in Crossbar.

mod admin;
mod alarm;
mod blocks;
mod call;
mod crowd;
mod download;
mod express;
mod files;
mod hub;
mod intake;
mod page;
mod patience;
mod push;
mod range;
mod reply;
mod scrape;
mod serve;
mod site;
mod topic;
mod upgrade;
mod vitals;
mod watch;

pub use admin::AdminService;
pub use call::CallService;
pub use crowd::{Bounds, Crowd, House, Place, Refused};
pub use files::Files;
pub use files::Listing;
pub use hub::HubService;
pub use page::{Caching, CrossOrigin, DEMO_CLIENT, DEMO_PAGE};
pub use page::{JsonPage, NodeInfo};
pub use patience::Limits;
pub use push::{PushService, Submitter};
pub use scrape::{Stage, Watch};
pub use serve::{Arrival, Front, Ingress, Remote, StatusPage, heard, serve};
pub use site::{Service, Site};
pub use topic::{StreamService, TopicService};
pub(crate) use watch::is_loopback;
pub use watch::{Subject, Token, WatchService};

/// Octets of a body where the service has no `post_body_limit`. Without a bound, one request could fill the memory.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Octets of a request's line and headers together.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
