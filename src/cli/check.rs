//! `mtrelay check`.

use super::args::CheckArgs;
use super::config_file::{load, path};
use super::exit_code::{FAILED, USAGE};
use super::terminal::Terminal;
use crate::config::Config;
use crate::metrics::json::Json;
use crate::{daemon, probe};
use mtrelay_core::config::problem::{Problem, Severity};
use std::fmt::Write as _;
use std::path::Path;

/// The result of `check --net` in both of its forms.
struct NetAnswer {
    /// Every main data centre works.
    good: bool,
    /// One line of text for each thing that was tested.
    lines: Vec<String>,
    /// The same as a JSON value.
    json: String,
}

/// Tests the data centres, the clock and the front site.
fn check_net(config: &Config) -> NetAnswer {
    let front = config.front_address.as_ref().map(ToString::to_string);
    let report = probe::run(&config.dcs, &daemon::dial_options(config), front.as_deref());
    let mut json = Json::new();
    report.emit(&mut json);
    NetAnswer {
        good: report.is_good(),
        lines: report.lines(),
        json: json.finish().trim_end().to_owned(),
    }
}

/// `mtrelay check`: reads the configuration, and with `--net` tests the network.
pub(super) fn check(args: &CheckArgs, terminal: &mut Terminal) -> u8 {
    let file = path(args.config.as_deref());
    let (config, problems) = load(file, false, terminal);
    let net = config.as_ref().filter(|_| args.net).map(check_net);
    let code = match (&config, &net) {
        (None, _) => USAGE,
        (Some(_), Some(report)) if !report.good => FAILED,
        _ => 0,
    };
    let mut text = String::new();
    if args.json {
        write_json(file, code, &problems, net.as_ref(), &mut text);
    } else {
        for line in net.iter().flat_map(|report| &report.lines) {
            text.extend([line, "\n"]);
        }
        if let Some(config) = &config {
            let users = config.users.iter().filter(|user| user.enabled).count();
            let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
            let warnings = match problems.len() {
                0 => String::new(),
                n => format!(", {}", count(n, "warning")),
            };
            let (users, ports) = (
                count(users, "enabled user"),
                count(config.listen.len(), "listener"),
            );
            text.push_str(&format!(
                "{}: good ({users}, {ports}{warnings})\n",
                file.display()
            ));
        }
    }
    terminal.answer(&text, code)
}

fn write_json(file: &Path, code: u8, problems: &[Problem], net: Option<&NetAnswer>, text: &mut String) {
    text.push_str("{\"file\":");
    json_string(&file.to_string_lossy(), text);
    text.push_str(if code == 0 {
        ",\"good\":true"
    } else {
        ",\"good\":false"
    });
    text.push_str(",\"problems\":[");
    for (at, problem) in problems.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let severity = if problem.severity == Severity::Error {
            "error"
        } else {
            "warning"
        };
        text.push_str(&format!(
            "{comma}{{\"line\":{},\"severity\":\"{severity}\",\"text\":",
            problem.line
        ));
        json_string(&problem.text, text);
        text.push('}');
    }
    text.push(']');
    if let Some(net) = net {
        text.extend([",\"net\":", net.json.as_str()]);
    }
    text.push_str("}\n");
}

fn json_string(value: &str, text: &mut String) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            // Writing to a String cannot fail.
            _ if c.is_control() => drop(write!(text, "\\u{:04x}", u32::from(c))),
            _ => text.push(c),
        }
    }
    text.push('"');
}
