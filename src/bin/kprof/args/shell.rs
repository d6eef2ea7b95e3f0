//! The flags of `kprof completions` and `kprof man`.

use clap::Args;
use clap_complete::Shell;
use std::path::PathBuf;

#[derive(Args, Clone, Debug)]
#[command(
    about = "Print completions for a shell",
    after_help = "\
Examples:
  kprof completions bash > ~/.local/share/bash-completion/completions/kprof
  kprof completions zsh > ~/.zfunc/_kprof                 with ~/.zfunc in fpath
  kprof completions fish > ~/.config/fish/completions/kprof.fish"
)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

#[derive(Args, Clone, Debug)]
#[command(
    about = "Print the manual page of kprof or of a command, or write all of them into a folder",
    after_help = "\
Examples:
  kprof man | man -l -                          read it
  kprof man phase > kprof-phase.1
  kprof man --out ~/.local/share/man/man1       all of them, for `man kprof-phase`"
)]
pub(crate) struct ManArgs {
    /// The command whose page to print; that of kprof without one
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    pub(crate) command: Option<String>,
    /// Write every page into this folder
    #[arg(short = 'o', long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}
