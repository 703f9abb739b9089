//! The table of options against the reader.

use super::*;

#[test]
fn defaults_written_out_mean_the_same_as_absent() {
    let mut text = String::from("package mtrelay\n\nconfig relay 'main'\n");
    for spec in RELAY_OPTIONS {
        let verb = if spec.list { "list" } else { "option" };
        text.push_str(&format!("\t{verb} {} '{}'\n", spec.name, spec.default));
    }
    text.push_str(&user("family", A));
    for spec in USER_OPTIONS
        .iter()
        .filter(|spec| !matches!(spec.name, "name" | "secret"))
    {
        text.push_str(&format!("\toption {} '{}'\n", spec.name, spec.default));
    }
    assert_eq!(good(&text), good(&user("family", A)));
}

/// A value of each option that only a restart puts in force, other than its default.
const OTHER_VALUES: [(&str, &str); 8] = [
    ("enabled", "0"),
    ("seccomp", "off"),
    ("pipes", "3"),
    ("pipe_size", "65536"),
    ("ubus_socket", "/tmp/ubus"),
    ("buffer_size", "4096"),
    ("buffers", "8"),
    ("stats_listen", "off"),
];

#[test]
fn options_of_the_table_that_take_a_restart_are_compared() {
    let old = relay_with("");
    for spec in RELAY_OPTIONS.iter().filter(|spec| spec.restart) {
        let (name, value) = OTHER_VALUES
            .iter()
            .find(|(name, _)| *name == spec.name)
            .unwrap_or_else(|| panic!("{} has a value here", spec.name));
        let new = relay_with(&format!("option {name} '{value}'"));
        assert_eq!(new.needing_restart(&old), [*name]);
        assert_eq!(new.needing_restart(&new), [""; 0]);
    }
    assert_eq!(
        relay_with("option prewarm 3\noption idle_timeout 1").needing_restart(&old),
        [""; 0]
    );
    let same = relay_with("option seccomp on\noption buffers 64\noption enabled yes");
    assert_eq!(same.needing_restart(&old), [""; 0]);
}

#[test]
fn bounds_of_the_table_are_those_of_the_reader() {
    for (head, specs) in [
        ("config relay\n", RELAY_OPTIONS),
        (&user("a", A)[..], USER_OPTIONS),
    ] {
        for spec in specs {
            let says = |value: &str| {
                let text = format!("{head}\toption {} '{value}'\n", spec.name);
                let told = problems(&text);
                let own = format!(": {} '{value}'", spec.name);
                told.into_iter().find(|problem| problem.contains(&own))
            };
            match spec.kind {
                Kind::Number { min, max, auto } => {
                    assert_eq!((says(&min.to_string()), says(&max.to_string())), (None, None));
                    let right = format!("{min} to {max})");
                    for bad in [i64::from(min) - 1, i64::from(max) + 1] {
                        assert!(says(&bad.to_string()).unwrap().ends_with(&right), "{}", spec.name);
                    }
                    assert_eq!(says("auto").is_none(), auto, "{}", spec.name);
                }
                Kind::Choice(words) | Kind::Words(words) => {
                    assert!(words.iter().all(|word| says(word).is_none()), "{}", spec.name);
                    let wrong = says("perhaps").unwrap();
                    assert!(words.iter().all(|word| wrong.contains(word)), "{wrong}");
                }
                Kind::Flag | Kind::FlagOrAuto => {
                    assert!(["0", "1", "yes", "off"].iter().all(|word| says(word).is_none()));
                    assert!(says("perhaps").unwrap().contains("1 or 0)"), "{}", spec.name);
                    assert_eq!(says("auto").is_none(), spec.kind == Kind::FlagOrAuto);
                }
                Kind::Text => {}
            }
        }
    }
}
