//! How messages look.

use std::io::IsTerminal;

use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{format::Writer, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use super::{LogFormat, LogLevel};
use crate::clock::Clock;

struct WallClock(Clock);

impl FormatTime for WallClock {
    fn format_time(&self, out: &mut Writer<'_>) -> std::fmt::Result {
        out.write_str(&self.0.display())
    }
}

/// Sends messages to standard error.
pub(super) fn set_up(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::None => "off",
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let filter = EnvFilter::new(level);
    let clock = WallClock(Clock::default());
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let base = layer().with_writer(std::io::stderr).with_timer(clock);
    let shape = match format {
        LogFormat::Json => base.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        LogFormat::Human => base.compact().with_target(false).with_ansi(colour).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(shape).init();
}
