//! A row of the table of metrics: its type, unit, number of values and labels.

use mtrelay_core::close::{CloseReason, ConnectFailure, Reject};

/// Whether a value only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows from 0 at the start of the daemon.
    Counter,
    /// Rises and falls.
    Gauge,
}

impl Kind {
    /// The word of the exposition format.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        }
    }
}

/// The unit of a value in ubus, `/status` and `/stats`. Prometheus gets the base unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Bytes.
    Bytes,
    /// 1,024 bytes.
    Kibibytes,
    /// Seconds.
    Seconds,
    /// Thousandths of a second.
    Milliseconds,
}

/// A closed set of words that divides a row into several values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// `up`: client to DC; `down`: DC to client.
    Direction,
    /// The words of [`CloseReason`].
    CloseReason,
    /// The words of [`ConnectFailure`].
    ConnectFailure,
    /// The words of [`Reject`].
    Reject,
    /// The words of [`AddressState`].
    State,
}

/// The words of [`Label::Direction`], and their places.
pub const UP: usize = 0;
/// The place of `down` behind [`UP`].
pub const DOWN: usize = 1;

impl Label {
    /// The name of the label in Prometheus.
    pub const fn name(self) -> &'static str {
        match self {
            Label::Direction => "direction",
            Label::CloseReason | Label::Reject => "reason",
            Label::ConnectFailure => "kind",
            Label::State => "state",
        }
    }

    /// The number of words.
    pub const fn count(self) -> usize {
        match self {
            Label::Direction => 2,
            Label::CloseReason => CloseReason::ALL.len(),
            Label::ConnectFailure => ConnectFailure::ALL.len(),
            Label::Reject => Reject::ALL.len(),
            Label::State => AddressState::ALL.len(),
        }
    }

    /// The word at a place below `count`.
    pub fn word(self, place: usize) -> &'static str {
        match self {
            Label::Direction => ["up", "down"][place],
            Label::CloseReason => CloseReason::ALL[place].name(),
            Label::ConnectFailure => ConnectFailure::ALL[place].name(),
            Label::Reject => Reject::ALL[place].name(),
            Label::State => AddressState::ALL[place].name(),
        }
    }
}

/// The state of one address of a DC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressState {
    /// Not tried since the start.
    Untried,
    /// The last attempt succeeded.
    Ok,
    /// The last attempt failed; other addresses are preferred for a time.
    Cooling,
}

impl AddressState {
    /// Every state, in the order of its number.
    pub const ALL: [AddressState; 3] = [Self::Untried, Self::Ok, Self::Cooling];

    /// The word in every output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Untried => "untried",
            Self::Ok => "ok",
            Self::Cooling => "cooling",
        }
    }
}

/// How many values a row has, and how they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One number.
    Number,
    /// Yes or no: a boolean in JSON, 1 or 0 elsewhere.
    Flag,
    /// One word of a label, by its place: the word in JSON and `/stats`, one series for each word (1 for the current one) in Prometheus.
    Word(Label),
    /// One value for each word.
    Set(Label),
    /// One value for each word in Prometheus; elsewhere their sum.
    Sum(Label),
}

impl Shape {
    /// The number of values.
    pub const fn slots(self) -> usize {
        match self {
            Shape::Number | Shape::Flag | Shape::Word(_) => 1,
            Shape::Set(label) | Shape::Sum(label) => label.count(),
        }
    }

    /// The label that Prometheus shows.
    pub const fn label(self) -> Option<Label> {
        match self {
            Shape::Number | Shape::Flag => None,
            Shape::Word(label) | Shape::Set(label) | Shape::Sum(label) => Some(label),
        }
    }
}

/// A row.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The path in the documents of ubus and `/status`, below the table of its DC, address or user.
    pub path: &'static str,
    /// The name in `/stats` and Prometheus; empty if it follows from the path.
    pub own_name: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// How many values.
    pub shape: Shape,
    /// In which unit.
    pub unit: Unit,
    /// One sentence.
    pub help: &'static str,
}

impl Metric {
    /// The name in `/stats`, and in Prometheus before unit and `_total`.
    pub fn name(&self) -> String {
        if self.own_name.is_empty() {
            self.path.replace('.', "_")
        } else {
            self.own_name.to_owned()
        }
    }
}

/// A value that is not known: null in JSON, absent in `/stats` and Prometheus.
pub const UNKNOWN: i64 = i64::MIN;

/// Each row with its values.
pub fn walk<'a>(
    rows: &'static [Metric],
    mut values: &'a [i64],
) -> impl Iterator<Item = (&'static Metric, &'a [i64])> {
    rows.iter().map(move |metric| {
        let (own, rest) = values.split_at(metric.shape.slots());
        values = rest;
        (metric, own)
    })
}
