//! What the language of UCI files allows, and what it is told to refuse.

use super::*;

/// `kind name: option=value@line, list+value@line` for each section.
fn sections(text: &str) -> Vec<String> {
    let (package, problems) = parse(text);
    assert_eq!(problems, []);
    let item = |i: &Item| {
        format!(
            "{}{}{}@{}",
            i.name,
            if i.list { '+' } else { '=' },
            i.value,
            i.line
        )
    };
    let section = |s: &Section| {
        let items: Vec<String> = s.items.iter().map(item).collect();
        format!(
            "{} {}: {}",
            s.kind,
            s.name.as_deref().unwrap_or("-"),
            items.join(", ")
        )
    };
    package.sections.iter().map(section).collect()
}

fn values(text: &str) -> Vec<String> {
    let (package, problems) = parse(&format!("config user\n{text}"));
    assert_eq!(problems, []);
    package.sections[0]
        .items
        .iter()
        .map(|item| item.value.clone())
        .collect()
}

fn mistakes(text: &str) -> Vec<(usize, String)> {
    parse(text)
        .1
        .into_iter()
        .map(|problem| (problem.line, problem.text))
        .collect()
}

#[test]
fn a_file_as_a_person_types_it() {
    let text = "# my relay\n\nconfig relay 'main'\n\toption enabled 1\n\tlist listen '0.0.0.0:8443' # LAN\n\
                \tlist listen \"[::]:8443\"\n\nconfig user\n  option name family; option enabled 0\n";
    let expected = [
        "relay main: enabled=1@4, listen+0.0.0.0:8443@5, listen+[::]:8443@6",
        "user -: name=family@9, enabled=0@9",
    ];
    assert_eq!(sections(text), expected);
}

#[test]
fn a_file_as_uci_export_prints_it() {
    let text = "package mtrelay\n\nconfig relay 'main'\n\toption link_host 'it'\\''s'\n\
                \tlist allow 'one\ntwo\n'\n\nconfig dc\n\toption id '-2'\n\n";
    let (package, _) = parse(text);
    assert_eq!(package.names, [("mtrelay".to_string(), 1)]);
    assert_eq!(
        sections(text),
        [
            "relay main: link_host=it's@4, allow+one\ntwo\n@5",
            "dc -: id=-2@10"
        ]
    );
}

#[test]
fn adjacent_pieces_make_one_word() {
    assert_eq!(values(r#"option a 'it'"'"'s'"#), ["it's"]);
    assert_eq!(values(r#"option a one"two"'three'four"#), ["onetwothreefour"]);
    assert_eq!(values("option a ''"), [""]);
}

#[test]
fn backslashes_stand_for_the_next_character() {
    assert_eq!(values(r#"option a "say \"hi\" \\ \n""#), ["say \"hi\" \\ n"]);
    assert_eq!(values(r"option a two\ words"), ["two words"]);
    assert_eq!(values(r"option a 'C:\dir'"), [r"C:\dir"]);
    assert_eq!(values("option a end\\"), ["end"]);
    assert_eq!(values("option a \\é"), ["é"]);
}

#[test]
fn a_backslash_joins_lines_and_lines_still_count() {
    assert_eq!(
        sections("config \\\n user\noption a o\\\nne"),
        ["user -: a=one@3"]
    );
    assert_eq!(
        sections("config user\noption a \"o\\\nne\"\noption b 1"),
        ["user -: a=one@2, b=1@4"]
    );
    assert_eq!(
        sections("config user\r\noption \\\r\n a 1\r\n"),
        ["user -: a=1@2"]
    );
}

#[test]
fn comments_end_words_but_not_quotes() {
    assert_eq!(values("option a one#two"), ["one"]);
    assert_eq!(values("option a 'one#two' # three"), ["one#two"]);
    assert_eq!(values("option a 'one;two';option b two;;"), ["one;two", "two"]);
}

#[test]
fn files_from_windows_are_read() {
    let text = "\u{feff}config relay 'main'\r\n\toption enabled '1'\r\n";
    assert_eq!(sections(text), ["relay main: enabled=1@2"]);
}

#[test]
fn short_commands_are_read_as_uci_does() {
    assert_eq!(
        sections("p mtrelay\nc user x\no a 1\nl b 2"),
        ["user x: a=1@3, b+2@4"]
    );
}

#[test]
fn nothing_is_an_empty_package() {
    for text in ["", "\n\n", "# only a comment", " \t;;\n;", "\u{feff}", "\\\n"] {
        assert_eq!(parse(text), (Package::default(), vec![]), "{text:?}");
    }
}

#[test]
fn a_section_opened_again_is_joined() {
    let (package, problems) = parse("config relay main\noption a 1\nconfig relay main\noption b 2");
    assert_eq!(problems, []);
    assert_eq!(package.sections.len(), 1);
    assert_eq!(package.sections[0].reopened, [3]);
    assert_eq!(package.sections[0].items.len(), 2);
    let (package, _) = parse("config user\nconfig user\nconfig user ''");
    assert_eq!(package.sections.len(), 3);
}

#[test]
fn every_mistake_has_its_line() {
    let cases: [(&str, &[usize]); 12] = [
        ("option a 1", &[1]),
        ("\n\nfoo bar\n", &[3]),
        ("config\noption a 1\nconfig user\noption a", &[1, 4]),
        ("config user\noption", &[2]),
        ("config user\noption modes dd ee", &[2]),
        ("config user my-phone\noption a 1", &[1]),
        ("config user\noption a-b 1", &[2]),
        ("config relay main\nconfig user main", &[2]),
        ("package\npackage a b", &[1, 2]),
        ("config user\n\noption a 'never closed\n\n\n", &[3]),
        ("config user\n\noption a \"never closed", &[3]),
        ("a\nb\nc\nd", &[1, 2, 3, 4]),
    ];
    for (text, lines) in cases {
        let found: Vec<usize> = mistakes(text).into_iter().map(|mistake| mistake.0).collect();
        assert_eq!(found, lines, "{text:?}");
    }
}

#[test]
fn a_forgotten_quote_is_found_where_it_is_missing() {
    let text =
        "config user\n\toption name 'family\n\toption secret '00'\n\toption enabled '1'\n\nconfig dc\n";
    let found = mistakes(text);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, 2, "{}", found[0].1);
}

#[test]
fn the_output_of_uci_show_is_recognised() {
    assert!(mistakes("mtrelay.main=relay")[0].1.contains("uci export"));
}

#[test]
fn no_message_shows_a_value() {
    let secret = "0123456789abcdef0123456789abcdef";
    let forms = [
        "option secret a {}",
        "option secret\n{}",
        "{}",
        "option {}",
        "config {} a b",
        "config user {}-",
        "list {}- 1",
        "option a '{}",
    ];
    for form in forms {
        let text = format!("config user\n{}", form.replace("{}", secret));
        for (_, message) in mistakes(&text) {
            assert!(!message.contains("0123"), "{form:?}: {message}");
        }
    }
}

#[test]
fn no_text_panics_and_huge_ones_end() {
    let pieces = [
        "config", "option", "list", " ", "\n", "'", "\"", "\\", ";", "#", "a", "é", "\0", "\r\n", "\u{fffd}",
        "=",
    ];
    let mut state = 0x2545_f491_u32;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..12 {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            text.push_str(pieces[state as usize % pieces.len()]);
        }
        let lines = text.matches('\n').count() + 1;
        let (_, problems) = parse(&text);
        assert!(
            problems.iter().all(|problem| (1..=lines).contains(&problem.line)),
            "{text:?}"
        );
    }
    for piece in [
        "'",
        "\"",
        "\\",
        "\0",
        "a\n",
        "'a\n",
        "\\\n",
        "config a b\n",
        "\u{fffd}",
        "option a 'b\n",
        ";",
    ] {
        let (_, problems) = parse(&piece.repeat((1 << 20) / piece.len()));
        assert!(problems.len() <= MAX_PROBLEMS + 1);
    }
    let damaged = String::from_utf8_lossy(b"config user\n\toption name '\xff\xfe'\n\xc3(");
    assert_eq!(mistakes(&damaged).len(), 1);
}
