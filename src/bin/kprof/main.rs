//! The `kprof` command line: parse, call the library, write. Nothing else lives here.

#![deny(unsafe_code)]

mod args;
mod baseline;
mod commands;
mod device;
mod exit;
mod interrupt;
mod live;
mod model;
mod output;
mod progress;
mod session;
mod spec;
mod versions;
mod view;
mod wrap;

use clap::FromArgMatches;
use kprof::alloc::Counting;
use std::process::ExitCode;

/// The system's allocator; `kprof memory` and `kprof capacity` have it count.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    let matches = args::command().get_matches();
    let cli = match args::Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}
