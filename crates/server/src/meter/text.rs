//! The text format of Prometheus, version 0.0.4: a HELP and a TYPE line for each metric, then one line for each sample.

use std::fmt::{Display, Write};

use super::metric::Metric;

/// The media type of the format.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics in the making.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// A metric with one number.
    pub fn single(&mut self, metric: &Metric, number: impl Display) {
        self.family(metric);
        self.line(metric, None, number);
    }

    /// A metric with one number for each value of its label. Values have to differ.
    pub fn labelled<V: AsRef<str>, N: Display>(&mut self, metric: &Metric, samples: impl IntoIterator<Item = (V, N)>) {
        self.family(metric);
        for (value, number) in samples {
            self.line(metric, Some(value.as_ref()), number);
        }
    }

    /// The text.
    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }

    fn family(&mut self, metric: &Metric) {
        let Metric { name, kind, help, .. } = metric;
        // In a HELP line only the backslash and the line's end are special; ours have neither.
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.name()));
    }

    fn line(&mut self, metric: &Metric, value: Option<&str>, number: impl Display) {
        let name = metric.name;
        match metric.label.zip(value) {
            Some((label, value)) => self.write(format_args!("{name}{{{label}=\"{}\"}} {number}\n", escaped(value))),
            None => self.write(format_args!("{name} {number}\n")),
        }
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a String takes every text");
    }
}

/// The value of a label: backslash, quotation mark and line feed are escaped, everything else stands for itself.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::super::sampled;
    use super::*;

    #[test]
    fn values_of_labels_are_escaped() {
        let mut page = Page::default();
        page.labelled(&sampled::SESSIONS, [("plain", 1), ("a\"b\\c\nd é", 2)]);
        page.single(&sampled::UPTIME, 1.5);
        let expected = "# HELP stentor_sessions Sessions that are joined to the realm.\n# TYPE stentor_sessions gauge\n\
            stentor_sessions{realm=\"plain\"} 1\nstentor_sessions{realm=\"a\\\"b\\\\c\\nd é\"} 2\n\
            # HELP stentor_uptime_seconds How long the node has been up.\n# TYPE stentor_uptime_seconds gauge\n\
            stentor_uptime_seconds 1.5\n";
        assert_eq!(page.finish(), expected);
    }
}
