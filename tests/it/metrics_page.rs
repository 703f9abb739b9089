//! `docs/metrics.md`, made from the table of metrics; and the outputs of a running relay, held against the same table.
//!
//! `UPDATE=1 cargo test --test it metrics_page` writes the page.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use crate::{SECRET, start};
use mtrelay::metrics::prometheus::family_name;
use mtrelay::metrics::table::{ADDRESS, DC, Label, Metric, RELAY, Shape, USER, Unit};
use mtrelay_core::close::{CloseReason, ConnectFailure, Reject};
use mtrelay_test_support::{Client, FakeDc, FakeUbusd, Mode, RelayConfig, Script, Value};

struct Scope {
    title: &'static str,
    text: &'static str,
    /// Before the path in the documents.
    path: &'static str,
    /// Before the name in `/stats`; `by_path`: the path stands there in place of the name.
    stats: &'static str,
    by_path: bool,
    prometheus: &'static str,
    labels: &'static [&'static str],
    rows: &'static [Metric],
}

const SCOPES: [Scope; 4] = [
    Scope {
        title: "The whole relay",
        text: "",
        path: "",
        stats: "",
        by_path: false,
        prometheus: "",
        labels: &[],
        rows: &RELAY,
    },
    Scope {
        title: "Each data centre",
        text: "`dc` of `status` and the names without an id in `/stats` are the sums over all data centres: `dc.created`, \
               `direct_dc_connections_created`. The id is negative for media.",
        path: "dcs[].",
        stats: "dc_ID_",
        by_path: true,
        prometheus: "",
        labels: &["dc", "media"],
        rows: &DC,
    },
    Scope {
        title: "Each address of a data centre",
        text: "",
        path: "dcs[].addresses[].",
        stats: "dc_ID_address_ADDRESS_",
        by_path: true,
        prometheus: "dc_address_",
        labels: &["dc", "media", "address"],
        rows: &ADDRESS,
    },
    Scope {
        title: "Each user",
        text: "",
        path: "users[].",
        stats: "user_NAME_",
        by_path: false,
        prometheus: "user_",
        labels: &["user"],
        rows: &USER,
    },
];

const HEAD: &str = "<!-- Made from src/metrics/table.rs; `UPDATE=1 cargo test --test it metrics_page` writes it. -->

# Metrics

Every number of the relay, and its name in each output. `status`, `dcs` and `users` of [ubus](ubus.md) and `http://…/status` have the
path; `http://…/stats` has a line `name<TAB>value`; `http://…/metrics` is the text format of Prometheus. `mtrelay status` prints the same
numbers as tables. Counters start at 0 when the daemon starts.

A name in `/stats` is the path with `_` for each dot. In Prometheus it begins with `mtrelay_`, ends in the base unit where it has one
(bytes, seconds), and in `_total` if it is a counter. The names of the data centres' connections are those that tools for the C proxy
read. An unknown value is null in JSON and absent in the other two.

`mtrelay_build_info{version}` is always 1; `status` and `/stats` have `version`.
";

fn unit(metric: &Metric) -> &'static str {
    match (metric.shape, metric.unit) {
        (Shape::Flag, _) => "yes or no",
        (Shape::Word(_), _) => "word",
        (_, Unit::Count) => "",
        (_, Unit::Bytes) => "bytes",
        (_, Unit::Kibibytes) => "KiB; Prometheus: bytes",
        (_, Unit::Seconds) => "seconds",
        (_, Unit::Milliseconds) => "ms; Prometheus: seconds",
    }
}

/// What stands behind the name of a row that has one value for each word.
fn words(metric: &Metric) -> String {
    match metric.shape {
        Shape::Set(Label::Direction) => "up,down".to_owned(),
        Shape::Set(label) => label.name().to_uppercase(),
        _ => String::new(),
    }
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for scope in &SCOPES {
        let _ = write!(page, "\n## {}\n\n", scope.title);
        if !scope.text.is_empty() {
            let _ = write!(page, "{}\n\n", scope.text);
        }
        page.push_str(
            "| path | `/stats` | Prometheus | type | unit | meaning |\n|---|---|---|---|---|---|\n",
        );
        for metric in scope.rows {
            let words = words(metric);
            let (dot, line) = match &*words {
                "" => (String::new(), String::new()),
                "up,down" => (".up`, `.down".to_owned(), "_up`, `_down".to_owned()),
                words => (format!(".{words}"), format!("_{words}")),
            };
            let name = if scope.by_path {
                metric.path.replace('.', "_")
            } else {
                metric.name()
            };
            let labels: Vec<&str> = scope
                .labels
                .iter()
                .copied()
                .chain(metric.shape.label().map(Label::name))
                .collect();
            let labels = if labels.is_empty() {
                String::new()
            } else {
                format!("{{{}}}", labels.join(","))
            };
            let _ = writeln!(
                page,
                "| `{}{}{dot}` | `{}{name}{line}` | `{}{labels}` | {} | {} | {} |",
                scope.path,
                metric.path,
                scope.stats,
                family_name(scope.prometheus, metric),
                metric.kind.name(),
                unit(metric),
                metric.help
            );
        }
    }
    page.push_str(
        "\n## Words\n\nThe same words stand in the log, in ubus, in the metrics and on LuCI's page.\n",
    );
    meanings(
        &mut page,
        "Close reasons: `closes`, and `reason=` of the close line",
        CloseReason::ALL.map(|word| (word.name(), word.meaning())),
    );
    meanings(
        &mut page,
        "Failed connects: `connect_failures`, and `last_error` of an address",
        ConnectFailure::ALL.map(|word| (word.name(), word.meaning())),
    );
    meanings(
        &mut page,
        "Rejects: `rejects`",
        Reject::ALL.map(|word| (word.name(), word.meaning())),
    );
    page
}

fn meanings<const N: usize>(page: &mut String, title: &str, words: [(&str, &str); N]) {
    let _ = write!(page, "\n### {title}\n\n| word | meaning |\n|---|---|\n");
    for (word, meaning) in words {
        let _ = writeln!(page, "| `{word}` | {meaning} |");
    }
}

#[test]
fn docs_metrics_page_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, page()).expect("docs is writable");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page(),
        "docs/metrics.md is stale: UPDATE=1 cargo test --test it metrics_page"
    );
}

#[test]
fn every_metric_is_in_every_output() {
    let dc = FakeDc::start(Script::Echo);
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()));
    let mut client = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    client.send(b"hello").expect("it goes out");
    assert_eq!(client.recv_exact(5).expect("it comes back"), b"hello");
    let get = |path| relay.get(path).1;
    let (stats, metrics, status) = (get("/stats"), get("/metrics"), get("/status"));
    let names: BTreeSet<&str> = stats
        .lines()
        .filter_map(|line| Some(line.split_once('\t')?.0))
        .collect();
    let families: BTreeSet<&str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '))
        .map(|(name, _)| name)
        .collect();
    let address = dc.addr();
    let mut expected = BTreeSet::from(["mtrelay_build_info".to_owned()]);
    for scope in &SCOPES {
        let prefix = scope
            .stats
            .replace("ID", "2")
            .replace("ADDRESS", &address.to_string())
            .replace("NAME", "test");
        for metric in scope.rows {
            // A DC that works has no cool-down, a user without a quota has none.
            let is_unknown = matches!(metric.path, "retry_in" | "quota");
            let name = if scope.by_path {
                metric.path.replace('.', "_")
            } else {
                metric.name()
            };
            let name = match metric.shape {
                Shape::Set(label) => format!("{prefix}{name}_{}", label.word(0)),
                _ => format!("{prefix}{name}"),
            };
            assert_eq!(names.contains(&*name), !is_unknown, "/stats: {name}");
            let family = family_name(scope.prometheus, metric);
            assert_eq!(families.contains(&*family), !is_unknown, "/metrics: {family}");
            expected.insert(family);
            for field in metric.path.split('.') {
                assert!(status.contains(&format!("\"{field}\":")), "/status: {field}");
            }
        }
    }
    for metric in &DC {
        let name = match metric.shape {
            Shape::Set(label) => format!("{}_{}", metric.name(), label.word(0)),
            _ => metric.name(),
        };
        assert!(names.contains(&*name), "/stats: {name}");
    }
    let unknown: Vec<_> = families
        .iter()
        .filter(|family| !expected.contains(**family))
        .collect();
    assert!(unknown.is_empty(), "not in the table: {unknown:?}");
}

/// The log has the word, too: `the_line_has_the_word_and_the_side_of_every_reason` in `src/stats/close_line.rs`. LuCI's words are held
/// against the same list in `luci.rs`.
#[test]
fn every_close_reason_is_one_word_in_every_output() {
    let dc = FakeDc::start(Script::Echo);
    let bus = FakeUbusd::start();
    let mut config = RelayConfig::simple(SECRET, dc.addr());
    config = config.option("ubus_socket", bus.path().display());
    let relay = start(&config);
    bus.wait_object("mtrelay");
    let answer = bus.client().call("mtrelay", "status", &Value::table([])).good();
    let words = CloseReason::ALL.map(|reason| reason.name().to_owned());
    assert_eq!(answer.at("closes").names(), words);
    let stats = relay.get("/stats").1;
    let in_stats = stats
        .lines()
        .filter_map(|line| line.strip_prefix("closes_")?.split_once('\t'));
    assert_eq!(in_stats.map(|(word, _)| word).collect::<Vec<_>>(), words);
    let metrics = relay.get("/metrics").1;
    let series = metrics.lines().filter_map(|line| {
        line.strip_prefix("mtrelay_closes_total{reason=\"")?
            .split_once('"')
    });
    assert_eq!(series.map(|(word, _)| word).collect::<Vec<_>>(), words);
}
