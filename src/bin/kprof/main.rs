//! The `kprof` command line: parse, call the library, write. Nothing else lives here.

#![deny(unsafe_code)]

mod args;
mod baseline;
mod commands;
mod config;
mod device;
mod exit;
mod gpu;
mod interrupt;
mod live;
mod log;
mod model;
mod output;
mod progress;
mod rank;
mod session;
mod spec;
mod versions;
mod view;
mod wrap;

use kprof::alloc::Counting;
use std::process::ExitCode;

/// The system's allocator; `kprof memory` and `kprof capacity` have it count.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    match config::parse(std::env::args_os().collect()).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}

fn run(parsed: config::Parsed) -> anyhow::Result<()> {
    match parsed {
        config::Parsed::Command(cli) => commands::run(*cli),
        config::Parsed::Dump(text) => output::print_as_is(&text),
    }
}
