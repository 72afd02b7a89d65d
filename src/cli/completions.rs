//! `logkeeper completions SHELL`

use std::process::ExitCode;

use clap::CommandFactory;

#[derive(clap::Args)]
pub struct Args {
    /// The shell to complete for
    shell: clap_complete::Shell,
}

pub fn run(args: &Args) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "logkeeper", &mut text);
    super::output::print(&String::from_utf8_lossy(&text));
    ExitCode::SUCCESS
}
