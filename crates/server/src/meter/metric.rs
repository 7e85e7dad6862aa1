//! What a metric is, and the metrics whose numbers are looked up when somebody asks.

/// One family of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, by the conventions of Prometheus: a unit at the end, `_total` behind what only grows.
    pub name: &'static str,
    /// Whether it only grows.
    pub kind: Kind,
    /// The label that tells its samples apart.
    pub label: Option<&'static str>,
    /// What it says, in a sentence.
    pub help: &'static str,
}

/// Whether a number only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It does, until the process ends.
    Counter,
    /// It goes up and down.
    Gauge,
}

impl Kind {
    /// Its name in the text format.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// Metrics whose numbers are looked up when somebody asks, and those with a label.
///
/// What every program has is called `process_...` without our prefix, as the client libraries of Prometheus agreed on:
/// dashboards look for these names.
pub mod sampled {
    use super::{Kind, Metric};

    const fn metric(name: &'static str, kind: Kind, label: Option<&'static str>, help: &'static str) -> Metric {
        Metric { name, kind, label, help }
    }

    use Kind::{Counter, Gauge};

    /// Closed and refused.
    pub const CLOSED: Metric = metric(
        "stentor_closed_total",
        Counter,
        Some("reason"),
        "Connections closed, and connections or requests refused, on the node's own account.",
    );
    /// HTTP requests.
    pub const REQUESTS: Metric = metric(
        "stentor_http_requests_total",
        Counter,
        Some("status"),
        "HTTP requests that were answered, by the class of the status.",
    );
    /// Sessions.
    pub const SESSIONS: Metric =
        metric("stentor_sessions", Gauge, Some("realm"), "Sessions that are joined to the realm.");
    /// Subscriptions.
    pub const SUBSCRIPTIONS: Metric = metric(
        "stentor_subscriptions",
        Gauge,
        Some("realm"),
        "Topics and patterns of the realm that somebody is subscribed to; one with many subscribers counts once.",
    );
    /// Readiness.
    pub const READY: Metric = metric(
        "stentor_ready",
        Gauge,
        None,
        "1 while every listener is open and the node is not going down, otherwise 0: what `/health/ready` says.",
    );
    /// Version.
    pub const BUILD: Metric =
        metric("stentor_build_info", Gauge, Some("version"), "Always 1; the label says which version runs.");
    /// Uptime.
    pub const UPTIME: Metric = metric("stentor_uptime_seconds", Gauge, None, "How long the node has been up.");
    /// Threads.
    pub const THREADS: Metric =
        metric("stentor_threads", Gauge, None, "Threads that serve connections (`start --threads`).");
    /// Start.
    pub const START: Metric =
        metric("process_start_time_seconds", Gauge, None, "When the node started, in seconds since 1970.");
    /// Processor time.
    pub const CPU: Metric = metric(
        "process_cpu_seconds_total",
        Counter,
        None,
        "Processor time that the process has used, user and system.",
    );
    /// Memory.
    pub const MEMORY: Metric =
        metric("process_resident_memory_bytes", Gauge, None, "Memory of the process that is in RAM.");
    /// Descriptors in use.
    pub const FDS: Metric =
        metric("process_open_fds", Gauge, None, "File descriptors that are open; each connection takes one.");
    /// Descriptors allowed.
    pub const FDS_MAX: Metric =
        metric("process_max_fds", Gauge, None, "File descriptors that the process may open (`ulimit -n`).");

    /// Subscriptions that are in force at the hub.
    pub const HUB_SUBSCRIPTIONS: Metric =
        metric("stentor_hub_subscriptions", Gauge, Some("hub"), "Subscriptions that are in force at the hub.");
    /// Webhooks of the hub that are on their way.
    pub const HUB_IN_FLIGHT: Metric =
        metric("stentor_hub_deliveries_in_flight", Gauge, Some("hub"), "Webhooks of the hub that are on their way.");
    /// Deliveries of the hub that wait for the time of another attempt.
    pub const HUB_BACKOFFS: Metric = metric(
        "stentor_hub_backoffs",
        Gauge,
        Some("hub"),
        "Deliveries of the hub that wait for the time of another attempt.",
    );
    /// Hosts that the hub leaves alone because they could not be reached.
    pub const HUB_BREAKERS: Metric = metric(
        "stentor_hub_breakers_open",
        Gauge,
        Some("hub"),
        "Hosts that the hub leaves alone because they could not be reached.",
    );
    /// Publications that the hub has taken into its log.
    pub const HUB_PUBLICATIONS: Metric = metric(
        "stentor_hub_publications_total",
        Counter,
        Some("hub"),
        "Publications that the hub has taken into its log.",
    );
    /// Subscriptions that came into force or were renewed.
    pub const HUB_VERIFIED: Metric = metric(
        "stentor_hub_verified_total",
        Counter,
        Some("hub"),
        "Subscriptions that came into force or were renewed.",
    );
    /// Requests for subscriptions that came to nothing: refused, denied or not confirmed by the callback.
    pub const HUB_REFUTED: Metric = metric(
        "stentor_hub_refuted_total",
        Counter,
        Some("hub"),
        "Requests for subscriptions that came to nothing: refused, denied or not confirmed by the callback.",
    );
    /// Webhooks of the hub that were answered with 2xx.
    pub const HUB_DELIVERED: Metric =
        metric("stentor_hub_delivered_total", Counter, Some("hub"), "Webhooks of the hub that were answered with 2xx.");
    /// Attempts of the hub that failed; the publication is tried again unless its attempts are used up.
    pub const HUB_FAILED: Metric = metric(
        "stentor_hub_failed_total",
        Counter,
        Some("hub"),
        "Attempts of the hub that failed; the publication is tried again unless its attempts are used up.",
    );
    /// Publications that the hub gave up for one subscription and recorded as dead.
    pub const HUB_DEAD: Metric = metric(
        "stentor_hub_dead_total",
        Counter,
        Some("hub"),
        "Publications that the hub gave up for one subscription and recorded as dead.",
    );
    /// Subscriptions that ended by 410 or with their lease.
    pub const HUB_ENDED: Metric =
        metric("stentor_hub_ended_total", Counter, Some("hub"), "Subscriptions that ended by 410 or with their lease.");
    /// The log.
    pub const LOG_BYTES: Metric = metric(
        "stentor_log_bytes",
        Gauge,
        None,
        "Octets of the publications that the store keeps; `log_bytes_max` bounds them.",
    );
    /// The store.
    pub const STORE_WRITABLE: Metric = metric(
        "stentor_store_writable",
        Gauge,
        None,
        "1 while the store takes writes; 0 when the disk is full or the file is damaged or gone, and publications are refused.",
    );
    /// The dead that were forgotten.
    pub const DEAD_FORGOTTEN: Metric = metric(
        "stentor_dead_forgotten_total",
        Counter,
        None,
        "Dead publications that were forgotten because there were too many.",
    );
    /// All of them, in the order of the reference page.
    pub const ALL: &[Metric] = &[
        CLOSED,
        REQUESTS,
        SESSIONS,
        SUBSCRIPTIONS,
        READY,
        BUILD,
        UPTIME,
        THREADS,
        START,
        CPU,
        MEMORY,
        FDS,
        FDS_MAX,
        HUB_SUBSCRIPTIONS,
        HUB_IN_FLIGHT,
        HUB_BACKOFFS,
        HUB_BREAKERS,
        HUB_PUBLICATIONS,
        HUB_VERIFIED,
        HUB_REFUTED,
        HUB_DELIVERED,
        HUB_FAILED,
        HUB_DEAD,
        HUB_ENDED,
        LOG_BYTES,
        STORE_WRITABLE,
        DEAD_FORGOTTEN,
    ];
}
