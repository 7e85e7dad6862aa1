//! The command line of the benchmark; see [`stentor_bench::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    stentor_bench::cli::main()
}
