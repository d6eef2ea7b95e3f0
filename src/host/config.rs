//! Where a user's own settings for kprof are.

use std::ffi::OsString;
use std::path::PathBuf;

/// kprof's configuration folder, whether or not it is there: `$XDG_CONFIG_HOME/kprof` where that is set, else
/// `~/.config/kprof`, on macOS `~/Library/Application Support/kprof`, on Windows `%APPDATA%\kprof`. `None` without a home.
pub fn config_folder() -> Option<PathBuf> {
    folder(std::env::consts::OS, |name| std::env::var_os(name))
}

fn folder(os: &str, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    // The XDG specification: a relative path is to be ignored.
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || absolute("HOME");
    let base = absolute("XDG_CONFIG_HOME").or_else(|| match os {
        "windows" => absolute("APPDATA"),
        "macos" => home().map(|home| home.join("Library").join("Application Support")),
        _ => home().map(|home| home.join(".config")),
    });
    base.map(|base| base.join("kprof"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_folder_follows_the_system_and_the_environment() {
        let of = |os: &str, set: &[(&str, &str)]| {
            let found = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v));
            folder(os, found).map(|path| path.display().to_string())
        };
        let home = [("HOME", "/home/me")];
        assert_eq!(of("linux", &home).as_deref(), Some("/home/me/.config/kprof"));
        assert_eq!(of("macos", &home).as_deref(), Some("/home/me/Library/Application Support/kprof"));
        assert_eq!(of("windows", &[("APPDATA", "/c/roaming")]).as_deref(), Some("/c/roaming/kprof"));
        let xdg = [("HOME", "/home/me"), ("XDG_CONFIG_HOME", "/cfg")];
        assert_eq!(of("linux", &xdg).as_deref(), Some("/cfg/kprof"));
        let relative = [("HOME", "/home/me"), ("XDG_CONFIG_HOME", "cfg")];
        assert_eq!(of("linux", &relative).as_deref(), Some("/home/me/.config/kprof"));
        assert_eq!(of("linux", &[]), None);
    }
}
