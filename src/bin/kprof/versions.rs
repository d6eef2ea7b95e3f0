//! Which KV-cache versions there are: the built-in ones, those of the user's folder, those of a file named by a flag.

use crate::args::VersionsFileArgs;
use crate::exit::usage;
use kprof::host;
use kprof::llm::{KnownVersion, Version, find_version, known_versions};

/// All versions; a row of the named file replaces one of the same name in the user's folder.
pub(crate) fn known(args: &VersionsFileArgs) -> anyhow::Result<Vec<KnownVersion>> {
    let of_user = host::config_folder().map(|folder| folder.join("versions.toml")).filter(|p| p.exists());
    let files: Vec<_> = of_user.into_iter().chain(args.versions_file.clone()).collect();
    Ok(known_versions(&files)?)
}

/// The versions called `names`, in that order.
pub(crate) fn named(args: &VersionsFileArgs, names: &[String]) -> anyhow::Result<Vec<Version>> {
    let known: Vec<Version> = known(args)?.into_iter().map(|known| known.version).collect();
    names.iter().map(|name| find_version(&known, name).cloned().map_err(usage)).collect()
}
