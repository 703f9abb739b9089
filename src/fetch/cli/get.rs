//! `mtfetch get`: links into files, with a progress line.

use super::args::GetArgs;
use super::exit::{USAGE, code, complain};
use crate::link::Link;
use crate::output::{self, SaveError, SaveEvents, Target};
use crate::progress::{Progress, amount};
use crate::source::{Media, Source};
use mtrelay_core::sys::clock;
use rustix::termios;
use std::io::{self, Write as _};

/// Parses the links. One wrong link is an error before anything is downloaded.
pub(super) fn links(args: &GetArgs) -> Result<Vec<Link>, u8> {
    let mut links = Vec::new();
    let mut code = 0;
    for text in &args.links {
        match text.parse() {
            Ok(link) => links.push(link),
            Err(error) => {
                complain(format_args!("{error}"));
                code = USAGE;
            }
        }
    }
    if args.links.is_empty() {
        complain("no link (mtfetch get t.me/NAME/NUMBER)");
        code = USAGE;
    }
    if code == 0 { Ok(links) } else { Err(code) }
}

/// Downloads one link after the other, up to the first failure.
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

/// The progress display: on a terminal one line that is updated, elsewhere one line per finished file.
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
            // If stderr is closed, the display is lost.
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

/// A name without control characters, which would change the terminal.
fn shown(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() { '_' } else { c })
        .collect()
}

impl SaveEvents for Meter {
    fn begin(&mut self, media: &Media, target: &Target, resumed_at: u64) {
        let name = match target {
            Target::File(path) | Target::Device(path) => {
                path.file_name().unwrap_or_default().to_string_lossy()
            }
            Target::Stdout => (&*media.name).into(),
        };
        if resumed_at > 0 && !self.quiet {
            self.clear();
            let _ = writeln!(
                io::stderr(),
                "{}: resuming after {}",
                shown(&name),
                amount(resumed_at)
            );
        }
        self.progress = Some(Progress::new(&shown(&name), media.size, resumed_at, clock::now()));
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
