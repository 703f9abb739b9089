//! How command lines are read, and what is made of failures.

use super::args::{CheckArgs, GetArgs, LoginArgs, NoCommand, ServeArgs};
use super::*;
use crate::output::SaveError;
use crate::source::FetchError;
use std::time::Duration;

fn read(words: &[&str]) -> Result<Command, String> {
    let args = args::parse(words.iter().map(Into::into).collect());
    let args = args.map_err(|error| format!("{error:?}"))?;
    args.command.ok_or_else(|| String::from("no command"))
}

#[test]
fn commands_are_read_in_their_usual_forms() {
    let proxy = "tg://proxy?server=a.example&port=443&secret=dd6ab1f50c3e9d27884fd2b0179ce35a61";
    let get = GetArgs {
        links: vec!["t.me/news/1".into(), "t.me/news/2".into()],
        output: Some("-".into()),
        quiet: true,
        connections: Some(4),
        proxy: vec![proxy.parse().unwrap()],
        verbose: 3,
        ..GetArgs::default()
    };
    let words = [
        "get",
        "t.me/news/1",
        "-o",
        "-",
        "-q",
        "--connections=4",
        "--proxy",
        proxy,
        "-vv",
        "-v",
        "t.me/news/2",
    ];
    assert_eq!(read(&words).unwrap(), Command::Get(get));
    let serve = ServeArgs {
        listen: vec!["127.0.0.1:0".parse().unwrap(), "[::1]:8099".parse().unwrap()],
        cache: Some("redis://a".into()),
        ..ServeArgs::default()
    };
    let words = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--listen=[::1]:8099",
        "--cache",
        "redis://a",
    ];
    assert_eq!(read(&words).unwrap(), Command::Serve(serve));
    let login = LoginArgs {
        bot: true,
        ..LoginArgs::default()
    };
    assert_eq!(read(&["login", "--bot"]).unwrap(), Command::Login(login));
    let check = CheckArgs {
        config: Some("a".into()),
    };
    assert_eq!(read(&["check", "-c", "a"]).unwrap(), Command::Check(check));
}

#[test]
fn wrong_lines_are_told_apart_from_questions() {
    for words in [
        &["get", "-x"][..],
        &["fetch"],
        &["serve", "--listen", "8099"],
        &["get", "--proxy", "a", "b"],
    ] {
        let stop = args::parse(words.iter().map(Into::into).collect()).unwrap_err();
        assert!(matches!(stop, NoCommand::Wrong(_)), "{words:?}");
    }
    for words in [&["--help"][..], &["get", "-h"], &["help"], &["login", "--help"]] {
        let stop = args::parse(words.iter().map(Into::into).collect()).unwrap_err();
        assert!(
            matches!(stop, NoCommand::Help(text) if text.contains("mtfetch")),
            "{words:?}"
        );
    }
}

#[test]
fn links_are_read_before_anything_is_fetched() {
    let links = |texts: &[&str]| {
        get::links(&GetArgs {
            links: texts.iter().map(ToString::to_string).collect(),
            ..GetArgs::default()
        })
    };
    assert_eq!(links(&["t.me/news/1", "t.me/c/2/3"]).unwrap().len(), 2);
    assert_eq!(links(&["t.me/news/1", "example.org"]), Err(USAGE));
    assert_eq!(links(&[]), Err(USAGE));
}

#[test]
fn each_failure_has_its_code() {
    let disk = || io::Error::from(io::ErrorKind::StorageFull);
    for (error, code) in [
        (SaveError::Fetch(FetchError::NotFound("message".into())), 3),
        (SaveError::Fetch(FetchError::NoForwards), 4),
        (SaveError::Fetch(FetchError::LoggedOut), 5),
        (SaveError::Fetch(FetchError::Wait(Duration::from_secs(9))), 6),
        (SaveError::Fetch(FetchError::Connection("gone".into())), 1),
        (SaveError::Disk("a".into(), disk()), 7),
        (SaveError::NoRoom("a".into(), 2, 1), 7),
        (SaveError::Busy("a".into()), 1),
        (SaveError::Exists("a".into()), 1),
    ] {
        assert_eq!(exit::code(&error), code, "{error}");
    }
}

#[test]
fn a_listener_for_others_has_a_token() {
    let adapted = |listen: &str, token: Option<&str>| {
        let mut config = Config {
            listen: vec![listen.parse().unwrap()],
            token: token.map(Into::into),
            ..Config::default()
        };
        serve::adapt(&mut config, &ServeArgs::default()).unwrap();
        config.token
    };
    assert_eq!(adapted("127.0.0.1:0", None), None);
    assert_eq!(adapted("[::1]:0", None), None);
    assert_eq!(
        adapted("0.0.0.0:0", Some("open-sesame")).as_deref(),
        Some("open-sesame")
    );
    for listen in ["0.0.0.0:0", "[::]:0", "192.168.1.1:0", "[::ffff:192.168.1.1]:0"] {
        assert_eq!(
            adapted(listen, None).map(|token| token.len()),
            Some(32),
            "{listen}"
        );
    }
}
