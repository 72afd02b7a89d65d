//! The logkeeper program: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    logkeeper::cli::main()
}
