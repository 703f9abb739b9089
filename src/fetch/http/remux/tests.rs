//! Remuxes, by programs that stand in for ffmpeg; with ffmpeg itself where `make test-fetch` has installed it.

use super::super::settings::Settings;
use super::super::tests::{client, connect, serving, until};
use super::*;
use crate::memory_source::{self, Memory};
use mtrelay_test_support::relay::TempDir;
use std::path::PathBuf;

/// A folder with a program in it.
struct FfmpegFolder(TempDir);

impl FfmpegFolder {
    /// Settings with this script as ffmpeg. A shell writes it: were it open for writing here, a process that another test starts at
    /// that moment would have it open too, and running it would fail (ETXTBSY).
    fn ffmpeg(&self, script: &str) -> Settings {
        let path = self.0.path().join("ffmpeg");
        let script = format!("#!/bin/sh\n{script}");
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            "printf '%s\\n' \"$1\" > \"$2\" && chmod 755 \"$2\"",
            "sh",
            &script,
        ]);
        assert!(shell.arg(&path).status().unwrap().success());
        Settings {
            ffmpeg: path,
            ..Settings::default()
        }
    }
}

fn video() -> Memory {
    Memory::with([memory_source::media(5, 300_000)])
}

#[test]
fn its_output_comes_in_chunks_under_the_name_of_a_film() {
    let folder = FfmpegFolder(TempDir::new());
    let settings = folder.ffmpeg("echo grumble >&2; printf one; printf two");
    serving(video(), settings, async |address, _| {
        client(move || {
            let mut client = connect(address);
            let head = client.ask_head("/t.me/news/5?remux=mp4", "");
            let answer = client.ask("/t.me/news/5?remux=mp4", "Range: bytes=1-2\r\n");
            for answer in [&head, &answer] {
                assert_eq!(
                    (answer.status, answer.header("Content-Type")),
                    (200, Some("video/mp4"))
                );
                assert_eq!(answer.header("Accept-Ranges"), Some("none"));
                assert_eq!(
                    answer.header("Content-Disposition"),
                    Some("inline; filename=\"video-5.mp4\"")
                );
            }
            assert_eq!((answer.body, answer.cut), (b"onetwo".to_vec(), false));
            assert_eq!(client.ask("/t.me/news/5", "").body.len(), 300_000);
            let mut old = connect(address);
            old.send("GET /t.me/news/5?remux=mp4 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
            let answer = old.answer();
            assert_eq!(
                (answer.header("Connection"), &*answer.body),
                (Some("close"), &b"onetwo"[..])
            );
        })
        .await;
    });
}

#[test]
fn its_failure_is_told_in_its_words() {
    let folder = FfmpegFolder(TempDir::new());
    let settings = folder.ffmpeg("echo 'no such codec' >&2; exit 1");
    serving(video(), settings, async |address, _| {
        client(move || {
            let mut client = connect(address);
            let answer = client.ask("/t.me/news/5?remux=mp4", "");
            let body = String::from_utf8(answer.body).unwrap();
            assert!(answer.status == 502 && body.contains("no such codec"), "{body}");
            assert_eq!(client.ask("/t.me/news/5", "").status, 200);
        })
        .await;
    });
    let settings = folder.ffmpeg("printf half; exit 1");
    serving(video(), settings, async |address, _| {
        client(move || assert!(connect(address).ask("/t.me/news/5?remux=mp4", "").cut)).await;
    });
}

#[test]
fn one_at_a_time_and_killed_when_its_client_leaves() {
    let folder = FfmpegFolder(TempDir::new());
    let pid = folder.0.path().join("pid");
    let settings = folder.ffmpeg(&format!(
        "echo $$ > {}; printf begun; exec sleep 1000",
        pid.display()
    ));
    serving(video(), settings, async |address, _| {
        let first = client(move || {
            let mut first = connect(address);
            first.send("GET /t.me/news/5?remux=mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(first.head().status, 200);
            let second = connect(address).ask("/t.me/news/5?remux=mp4", "");
            assert_eq!((second.status, second.header("Retry-After")), (503, Some("10")));
            first
        })
        .await;
        let pid = std::fs::read_to_string(pid).unwrap();
        let process = PathBuf::from(format!("/proc/{}", pid.trim()));
        assert!(process.exists());
        drop(first);
        until("the process is gone", || !process.exists()).await;
    });
}

#[test]
#[ignore = "needs curl, which make test-fetch installs"]
fn it_reads_the_medium_from_us_and_nobody_else_can() {
    let folder = FfmpegFolder(TempDir::new());
    let url = folder.0.path().join("url");
    let script = format!(
        "while [ \"$1\" != -i ]; do shift; done\necho \"$2\" > {}\n\
         curl -sSf -r 100- \"$2\"; curl -sS -o /dev/null -w '%{{http_code}}' \"$2\"0",
        url.display()
    );
    let settings = folder.ffmpeg(&script);
    serving(video(), settings, async |address, memory| {
        let body = client(move || connect(address).ask("/t.me/news/5?remux=mp4", "").body).await;
        let mut expected = memory_source::bytes(5, 100..300_000);
        expected.extend(b"404");
        assert!(body == expected, "{} bytes", body.len());
        assert_eq!(memory.open.get(), 0);
        // With the remux its listener is gone.
        let url = std::fs::read_to_string(url).unwrap();
        let done = client(move || Command::new("curl").args(["-sS", url.trim()]).output().unwrap()).await;
        assert_eq!(done.status.code(), Some(7), "connecting is refused");
    });
}

#[test]
#[ignore = "needs ffmpeg, which make test-fetch installs"]
fn a_matroska_film_becomes_a_fragmented_mp4() {
    let folder = FfmpegFolder(TempDir::new());
    let ffmpeg = |arguments: &[&str]| {
        let done = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error", "-y"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let film = folder.0.path().join("film.mkv");
    let picture = "testsrc=duration=6:size=160x120:rate=10";
    let sound = "sine=duration=6";
    let words = [
        "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, "-c:v", "mpeg4", "-g", "10", "-c:a", "aac",
    ];
    ffmpeg(&[&words[..], &[film.to_str().unwrap()]].concat());
    let content = std::fs::read(&film).unwrap();
    let media = Media {
        name: "film.mkv".into(),
        ..memory_source::media(5, content.len() as u64)
    };
    let memory = Memory::with([media]);
    memory.contents.borrow_mut().insert(5, content);
    let made = folder.0.path().join("made.mp4");
    let to = made.clone();
    serving(memory, Settings::default(), async |address, _| {
        client(move || {
            let answer = connect(address).ask("/t.me/news/5?remux=mp4", "");
            assert!(answer.status == 200 && !answer.cut);
            assert_eq!(
                answer.header("Content-Disposition"),
                Some("inline; filename=\"film.mp4\"")
            );
            std::fs::write(to, answer.body).unwrap();
        })
        .await;
    });
    let bytes = std::fs::read(&made).unwrap();
    let count = |name: &[u8]| bytes.windows(4).filter(|window| *window == name).count();
    assert!(
        bytes[4..8] == *b"ftyp" && count(b"moof") >= 2,
        "{} fragments",
        count(b"moof")
    );
    ffmpeg(&["-i", made.to_str().unwrap(), "-f", "null", "-"]);
}
