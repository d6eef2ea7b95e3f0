//! `kprof completions` and `kprof man`.

use super::figures::check_folder;
use crate::args::{CompletionsArgs, ManArgs, command};
use crate::exit::usage;
use crate::output;
use anyhow::Context as _;

pub(crate) fn completions(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "kprof", &mut script);
    output::print_as_is(&String::from_utf8_lossy(&script))
}

pub(crate) fn man(args: &ManArgs) -> anyhow::Result<()> {
    let mut command = command();
    command.build();
    if let Some(folder) = &args.out {
        check_folder(folder)?;
        clap_mangen::generate_to(command, folder)
            .with_context(|| format!("cannot write into {}", folder.display()))?;
        eprintln!("wrote the manual pages into {}", folder.display());
        return Ok(());
    }
    let named = match &args.command {
        None => command.clone(),
        Some(name) => {
            let known = || command.get_subcommands().map(|c| c.get_name()).collect::<Vec<_>>().join(", ");
            let found = command.find_subcommand(name);
            found.cloned().ok_or_else(|| usage(format!("no command '{name}'; there are: {}", known())))?
        }
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(named).render(&mut page)?;
    output::print_as_is(&String::from_utf8_lossy(&page))
}
