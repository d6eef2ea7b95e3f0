//! The `kprof` command line: parse, call the library, write. Nothing else lives here.

#![deny(unsafe_code)]

mod args;
mod baseline;
mod commands;
mod device;
mod exit;
mod gpu;
mod interrupt;
mod model;
mod output;
mod progress;
mod session;
mod spec;
mod versions;
mod wrap;

use clap::Parser;
use kprof::alloc::Counting;
use std::process::ExitCode;

/// The system's allocator; `kprof memory` and `kprof capacity` have it count.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}
