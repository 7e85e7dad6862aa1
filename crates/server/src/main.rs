//! The command line of Stentor; see [`stentor::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    stentor::cli::main()
}
