//! Questions at the terminal, and answers that nobody sees.
//!
//! Without a terminal the answers are the lines of the standard input, so that a script can give them.

use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use std::io::{self, ErrorKind, Write as _};

/// An answer longer than this is none.
const MAX_LEN: usize = 4096;

/// Whether what is typed can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Echo {
    On,
    Off,
}

/// The terminal as it was.
struct Hidden(Termios);

impl Drop for Hidden {
    fn drop(&mut self) {
        // If the terminal is gone, it needs nothing more.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

/// Asks, and waits for a line. Dropping it makes the terminal what it was.
///
/// # Errors
/// When there is nobody to answer.
pub(super) async fn ask(question: &str, echo: Echo) -> io::Result<String> {
    let is_terminal = termios::isatty(io::stdin());
    if is_terminal {
        let mut err = io::stderr();
        write!(err, "{question}: ")?;
        err.flush()?;
    }
    let hidden = if is_terminal && echo == Echo::Off {
        Some(hide()?)
    } else {
        None
    };
    let line = smol::unblock(read_line).await;
    if hidden.is_some() {
        // The end of the line was not seen either.
        writeln!(io::stderr())?;
    }
    let line = line?.trim().to_owned();
    if line.is_empty() {
        return Err(io::Error::new(
            ErrorKind::UnexpectedEof,
            format!("{question}: no answer"),
        ));
    }
    Ok(line)
}

fn hide() -> io::Result<Hidden> {
    let before = termios::tcgetattr(io::stdin())?;
    let mut without = before.clone();
    without.local_modes -= LocalModes::ECHO;
    termios::tcsetattr(io::stdin(), OptionalActions::Flush, &without)?;
    Ok(Hidden(before))
}

/// Byte by byte: what stands behind the line is the next answer, or not ours.
fn read_line() -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < MAX_LEN {
        match rustix::io::read(io::stdin(), &mut byte) {
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) => line.push(byte[0]),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    String::from_utf8(line).map_err(|_| io::Error::new(ErrorKind::InvalidData, "the answer is no text"))
}
