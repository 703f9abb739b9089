//! `mtfetch get`: links into files, with a line that tells how far it is.

use super::args::GetArgs;
use super::{DISK, FAILED, NO_FORWARDS, NOT_FOUND, NOT_LOGGED_IN, WAIT, WRONG, complain};
use crate::link::Link;
use crate::output::{self, SaveError, Target, Watch};
use crate::progress::{Progress, amount};
use crate::source::{FetchError, Media, Source};
use mtrelay_core::sys::clock;
use rustix::termios;
use std::io::{self, Write as _};

/// Reads the links; nothing is fetched while one is wrong.
pub(super) fn links(args: &GetArgs) -> Result<Vec<Link>, u8> {
    let mut links = Vec::new();
    let mut code = 0;
    for text in &args.links {
        match text.parse() {
            Ok(link) => links.push(link),
            Err(error) => {
                complain(format_args!("{error}"));
                code = WRONG;
            }
        }
    }
    if args.links.is_empty() {
        complain("no link (mtfetch get t.me/NAME/NUMBER)");
        code = WRONG;
    }
    if code == 0 { Ok(links) } else { Err(code) }
}

/// Fetches one after the other; the first failure ends it.
pub(super) async fn run<S: Source>(source: &S, links: &[Link], args: &GetArgs) -> u8 {
    let mut meter = Meter::new(args.quiet);
    for link in links {
        let result = one(source, link, args, &mut meter).await;
        meter.clear();
        if let Err(error) = result {
            complain(format_args!("{link}: {error}"));
            return code(&error);
        }
    }
    0
}

async fn one<S: Source>(source: &S, link: &Link, args: &GetArgs, meter: &mut Meter) -> Result<(), SaveError> {
    let media = source.find(link).await?;
    let targets = output::targets(args.output.as_deref(), &media)?;
    for (media, target) in media.iter().zip(&targets) {
        output::save(source, media, target, meter).await?;
    }
    Ok(())
}

pub(super) fn code(error: &SaveError) -> u8 {
    match error {
        SaveError::Fetch(FetchError::NotFound(_)) => NOT_FOUND,
        SaveError::Fetch(FetchError::NoForwards) => NO_FORWARDS,
        SaveError::Fetch(FetchError::LoggedOut) => NOT_LOGGED_IN,
        SaveError::Fetch(FetchError::Wait(_)) => WAIT,
        SaveError::Disk(..) | SaveError::NoRoom(..) => DISK,
        SaveError::Fetch(_) | SaveError::Busy(_) | SaveError::Exists(_) => FAILED,
    }
}

/// Tells how far it is: on a terminal one line that changes, elsewhere a line for each file at its end.
struct Meter {
    quiet: bool,
    on_terminal: bool,
    progress: Option<Progress>,
    shown: bool,
}

impl Meter {
    fn new(quiet: bool) -> Meter {
        Meter {
            quiet,
            on_terminal: !quiet && termios::isatty(io::stderr()),
            progress: None,
            shown: false,
        }
    }

    fn show(&mut self) {
        let columns = termios::tcgetwinsize(io::stderr()).map_or(0, |size| size.ws_col);
        let columns = if columns == 0 { 80 } else { columns };
        if let Some(progress) = &self.progress {
            let line = progress.line(columns.into(), clock::now());
            // If stderr is closed, nobody wants to know.
            let _ = write!(io::stderr(), "\r{line}\x1b[K");
            self.shown = true;
        }
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// A name that changes nothing on the terminal but its own letters.
fn shown(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() { '_' } else { c })
        .collect()
}

impl Watch for Meter {
    fn begin(&mut self, media: &Media, target: &Target, there: u64) {
        let name = match target {
            Target::File(path) | Target::Device(path) => {
                path.file_name().unwrap_or_default().to_string_lossy()
            }
            Target::Stdout => (&*media.name).into(),
        };
        if there > 0 && !self.quiet {
            self.clear();
            let _ = writeln!(io::stderr(), "{}: goes on behind {}", shown(&name), amount(there));
        }
        self.progress = Some(Progress::new(&shown(&name), media.size, there, clock::now()));
        if self.on_terminal {
            self.show();
        }
    }

    fn add(&mut self, bytes: u64) {
        let Some(progress) = &mut self.progress else {
            return;
        };
        if progress.add(bytes, clock::now()) && self.on_terminal {
            self.show();
        }
    }

    fn end(&mut self, target: &Target) {
        self.clear();
        let Some(progress) = self.progress.take() else {
            return;
        };
        if self.quiet {
            return;
        }
        let summary = progress.summary(clock::now());
        let name = match target {
            Target::File(path) | Target::Device(path) => shown(&path.to_string_lossy()),
            Target::Stdout => String::from("stdout"),
        };
        let _ = writeln!(io::stderr(), "{name}: {summary}");
    }
}
