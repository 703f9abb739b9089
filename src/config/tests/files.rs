//! Files: the configuration, the lists that it names, and hostile texts.

use super::*;

#[test]
fn files_that_cannot_be_read_say_so() {
    let missing = Path::new("/nonexistent/mtrelay");
    let problems = Config::load(missing).unwrap_err();
    let line = problems[0].in_file(missing).to_string();
    assert!(
        line.starts_with("/nonexistent/mtrelay: cannot be read: "),
        "{line}"
    );
    let endless = Config::load(Path::new("/dev/zero")).unwrap_err();
    assert!(endless[0].text.contains("too large"), "{endless:?}");
}

#[test]
fn list_files_are_read_and_their_mistakes_have_file_and_line() {
    let folder = std::env::temp_dir().join(format!("mtrelay-lists-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let [config, allow, block] = ["config", "allow", "block"].map(|name| folder.join(name));
    let load = |allow_lines: &str, block_lines: &str| {
        let text = format!(
            "option allow_file '{}'\noption block_file '{}'\nlist block 10.0.0.1\n",
            allow.display(),
            block.display()
        );
        std::fs::write(&config, with_relay(&text)).unwrap();
        std::fs::write(&allow, allow_lines).unwrap();
        std::fs::write(&block, block_lines).unwrap();
        Config::load(&config)
    };
    let (good, _) = load(
        "# ours\n\n10.0.0.0/8 # all of them\r\n  fd00::/8\t; and these\n::ffff:192.0.2.0/120",
        "10.0.0.2\n",
    )
    .unwrap();
    let admitted = [
        "10.0.0.3",
        "fd12::3",
        "192.0.2.9",
        "10.0.0.1",
        "10.0.0.2",
        "192.0.3.1",
    ]
    .map(|ip| good.access.admits(ip.parse().unwrap()));
    assert_eq!(admitted, [true, true, true, false, false, false]);

    let problems = load("10.0.0.0/8\n\n10.0.0.0/33\n", "nonsense\n").unwrap_err();
    let lines: Vec<_> = problems.iter().map(|p| p.in_file(&config).to_string()).collect();
    for start in [
        format!("{}:3: '10.0.0.0/33' has a wrong length", allow.display()),
        format!("{}:1: 'nonsense' is not a block", block.display()),
    ] {
        assert!(lines.iter().any(|line| line.starts_with(&start)), "{lines:?}");
    }

    let (_, warnings) = load("# nobody\n", "").unwrap();
    let warned = warnings
        .iter()
        .filter(|problem| problem.text.contains("has no address"));
    assert_eq!(warned.count(), 1, "the block list has one address: {warnings:?}");
    std::fs::remove_file(&block).unwrap();
    let missing = load_error(&config);
    assert!(
        missing.contains("block_file") && missing.starts_with(&*config.display().to_string()),
        "{missing}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

fn load_error(config: &Path) -> String {
    let problems = Config::load(config).unwrap_err();
    let error = problems
        .iter()
        .find(|problem| problem.severity == Severity::Error);
    error.unwrap().in_file(config).to_string()
}

#[test]
fn hostile_files_end_in_time() {
    let big = |piece: &str| piece.repeat((1 << 18) / piece.len());
    for piece in [
        "config user a\n",
        "config user\n",
        "config dc\n",
        "config relay\n",
    ] {
        assert!(!problems(&big(piece)).is_empty());
    }
    for piece in [
        "list listen 127.0.0.1:0\n",
        "option buffers 1\n",
        "option x 1\n",
        "list modes dd\n",
        "list allow ::/0\n",
    ] {
        let _ = Config::from_uci(&with_relay(&big(piece)));
    }
    assert!(
        !problems(&format!(
            "config dc\noption id 2\n{}",
            big("list address 127.0.0.1:1\n")
        ))
        .is_empty()
    );
}
