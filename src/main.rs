//! The logkeeper program: everything is in the library.

use std::process::ExitCode;

/// A scan with all rules takes a seventh less time than with the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    logkeeper::cli::main()
}
