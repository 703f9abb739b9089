//! The program `mtrelay`: see [`mtrelay::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    mtrelay::cli::main()
}
