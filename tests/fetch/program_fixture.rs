//! The program as a process: its folder, its command line, its gateway.

use mtproto_test_dc::Cluster;
use mtproto_test_dc::world::File;
use mtrelay_test_support::clock::patience;
use mtrelay_test_support::relay::TempDir;
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

/// A folder with a configuration for a cluster.
pub(crate) struct ProgramFixture {
    pub(crate) folder: TempDir,
    pub(crate) config: PathBuf,
}

impl ProgramFixture {
    pub(crate) fn new(cluster: &Cluster, options: &str) -> ProgramFixture {
        let folder = TempDir::new();
        let key = folder.write("key.pem", cluster.public_key());
        let (id, hash) = cluster.world(|world| (world.api_id, world.api_hash.clone()));
        let mut text = format!(
            "config mtfetch 'main'\n\toption api_id '{id}'\n\toption api_hash '{hash}'\n\
             \toption account '{}'\n\toption rsa_key '{}'\n\tlist listen '127.0.0.1:0'\n{options}\n",
            folder.path().join("account").display(),
            key.display(),
        );
        for (dc, address) in cluster.addrs() {
            text.push_str(&format!(
                "config dc\n\toption id '{dc}'\n\tlist address '{address}'\n"
            ));
        }
        let config = folder.write("mtfetch.uci", &text);
        ProgramFixture { folder, config }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mtfetch"));
        let (first, rest) = words.split_first().expect("a command");
        command.arg(first).arg("-c").arg(&self.config).args(rest);
        command.current_dir(self.folder.path());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    #[track_caller]
    pub(crate) fn run(&self, words: &[&str], code: i32) -> Output {
        let done = self.command(words).output().expect("it starts");
        let words_said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{words:?}: {words_said}");
        done
    }

    pub(crate) fn log_in(&self) {
        let done = self
            .command(&["login", "--bot"])
            .env("MTFETCH_BOT_TOKEN", "7000:test-token")
            .output();
        let done = done.expect("it starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    #[track_caller]
    pub(crate) fn assert_is(&self, name: &str, file: &File) {
        let bytes = fs::read(self.path(name)).expect("the file is there");
        assert_eq!(bytes.len() as u64, file.size, "{name}");
        assert_eq!(
            <[u8; 32]>::from(Sha256::digest(&bytes)),
            file.sha256(),
            "{name}: other bytes"
        );
    }
}

/// A process that does not outlive its test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    #[track_caller]
    pub(crate) fn stop(&mut self, signal: Signal, code: i32) {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
        assert_eq!(self.0.wait().expect("it is ours").code(), Some(code));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A gateway, and where it listens.
pub(crate) fn serve(fixture: &ProgramFixture) -> (Running, String) {
    let mut gateway = Running(fixture.command(&["serve"]).spawn().expect("it starts"));
    let stderr = BufReader::new(gateway.0.stderr.take().expect("piped"));
    let mut lines = stderr.lines();
    let address = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| {
            Some(
                line.split_once("listening on http://")?
                    .1
                    .split('/')
                    .next()?
                    .to_owned(),
            )
        })
        .expect("it says where it listens");
    // Further output is read, so that a full pipe does not block the program.
    std::thread::spawn(move || lines.for_each(drop));
    (gateway, address)
}

/// The head and the body of a response that ends its connection.
pub(crate) fn ask(address: &str, target: &str, headers: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(patience())).expect("it is a time");
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let end = answer
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .expect("a head");
    let body = answer.split_off(end + 4);
    (String::from_utf8(answer).expect("heads are text"), body)
}
