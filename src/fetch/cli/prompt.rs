//! Prompts at the terminal, with or without echo.
//!
//! Without a terminal the input is read from stdin line by line, so that a script can give it.

use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use std::io::{self, ErrorKind, Write as _};

/// Upper bound of an input line in bytes.
const MAX_LEN: usize = 4096;

/// Whether typed characters are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Echo {
    On,
    Off,
}

/// Restores the terminal's echo when dropped.
struct Hidden(Termios);

impl Drop for Hidden {
    fn drop(&mut self) {
        // Fails only if the terminal is gone.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

/// Shows a prompt and waits for a line. Dropping the future restores the terminal.
///
/// # Errors
/// The input has ended, or the line is empty.
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
        // The line break was not echoed either.
        writeln!(io::stderr())?;
    }
    let line = line?.trim().to_owned();
    if line.is_empty() {
        return Err(io::Error::new(
            ErrorKind::UnexpectedEof,
            format!("{question}: no input"),
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

/// Reads a line byte by byte, so that the bytes behind it stay for the next prompt.
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
    String::from_utf8(line).map_err(|_| io::Error::new(ErrorKind::InvalidData, "the input is not UTF-8"))
}
