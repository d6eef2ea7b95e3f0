//! Libraries of the CUDA toolkit, found at run time: where they are looked for, and how their functions are taken.
//!
//! None of them is needed. A library is opened and every function looked up before any is called, so that an absent or
//! older one is an answer and never a crash.

#![allow(unsafe_code)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A library and the places where installers put it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Its file names, the preferred one first.
    pub(super) names: &'static [&'static str],
    /// Its folders in a CUDA toolkit.
    pub(super) toolkit: &'static [&'static str],
    /// Its folders in `site-packages/nvidia`, where Python's wheels put it.
    pub(super) wheels: &'static [&'static str],
    /// The variable that names the file; nowhere else is looked then.
    pub(super) variable: &'static str,
}

/// What a search depends on.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    /// The file that the user named, by flag or variable.
    pub(super) given: Option<PathBuf>,
    /// CUDA_HOME and CUDA_PATH.
    cuda: Vec<PathBuf>,
    /// Python's environments: VIRTUAL_ENV and CONDA_PREFIX.
    python: Vec<PathBuf>,
    /// The root of the file system.
    root: PathBuf,
}

impl Surroundings {
    /// Those of this process; `flag` comes before the variable.
    pub(super) fn of_process(place: &Place, flag: Option<&Path>) -> Self {
        let variable =
            |name: &str| std::env::var_os(name).filter(|v: &OsString| !v.is_empty()).map(PathBuf::from);
        let all = |names: [&str; 2]| names.into_iter().filter_map(variable).collect();
        Self {
            given: flag.map(Path::to_path_buf).or_else(|| variable(place.variable)),
            cuda: all(["CUDA_HOME", "CUDA_PATH"]),
            python: all(["VIRTUAL_ENV", "CONDA_PREFIX"]),
            root: PathBuf::from(if cfg!(windows) { "C:\\" } else { "/" }),
        }
    }

    /// Every file to try, the first to be tried first: by name alone, which the system's loader looks up in
    /// LD_LIBRARY_PATH and its own folders, then wherever there is such a file.
    pub(super) fn candidates(&self, place: &Place) -> Vec<PathBuf> {
        if let Some(given) = &self.given {
            return if given.is_dir() {
                place.names.iter().map(|n| given.join(n)).collect()
            } else {
                vec![given.clone()]
            };
        }
        let mut found = Vec::new();
        for name in place.names {
            found.push(PathBuf::from(name));
            found.extend(self.folders(place).into_iter().map(|f| f.join(name)).filter(|p| p.is_file()));
        }
        found.dedup();
        found
    }

    /// The folders beside those of the loader.
    fn folders(&self, place: &Place) -> Vec<PathBuf> {
        let local = self.root.join("usr/local");
        let toolkits =
            self.cuda.iter().cloned().chain([local.join("cuda")]).chain(named_like(&local, "cuda-"));
        let of_toolkits: Vec<PathBuf> =
            toolkits.flat_map(|t| place.toolkit.iter().map(move |f| t.join(f))).collect();
        let packages = self.python.iter().flat_map(|p| {
            named_like(&p.join("lib"), "python3").into_iter().map(|p| p.join("site-packages/nvidia"))
        });
        let of_wheels =
            packages.flat_map(|p| place.wheels.iter().map(move |f| p.join(f)).collect::<Vec<_>>());
        of_toolkits.into_iter().chain(of_wheels).collect()
    }

    /// Where was looked, for a message.
    pub(super) fn looked(&self, place: &Place) -> String {
        if let Some(given) = &self.given {
            return given.display().to_string();
        }
        let folders = self.folders(place).into_iter().map(|f| f.display().to_string());
        let all: Vec<String> =
            std::iter::once("the loader's folders (LD_LIBRARY_PATH)".to_string()).chain(folders).collect();
        all.join(", ")
    }
}

/// The folders in `parent` whose names begin so, the newest version first.
fn named_like(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let version = |path: &PathBuf| -> Vec<u32> {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        name.trim_start_matches(prefix).split('.').filter_map(|part| part.parse().ok()).collect()
    };
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten().map(|e| e.path());
    let begins = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(prefix));
    let mut found: Vec<PathBuf> = entries.filter(begins).collect();
    found.sort_by_key(|path| std::cmp::Reverse(version(path)));
    found
}

/// Opens a library.
pub(super) fn open(path: &Path) -> Result<libloading::Library, String> {
    // SAFETY: runs the library's initialisers, as any program that is linked with it does; which file it is, the user's
    // system says.
    unsafe { libloading::Library::new(path) }.map_err(|error| error.to_string())
}

/// Declares a table of a library's functions, by their own names.
macro_rules! functions {
    ($(#[$meta:meta])* $table:ident { $($name:ident($($arg:ty),* $(,)?) -> $ret:ty;)* }) => {
        $(#[$meta])*
        #[allow(non_snake_case)]
        #[derive(Clone, Copy, Debug)]
        pub(super) struct $table { $(pub(super) $name: unsafe extern "C" fn($($arg),*) -> $ret,)* }

        impl $table {
            /// Takes every function from the library; `Err` with the name of one that is not there.
            pub(super) fn take(library: &libloading::Library) -> Result<Self, &'static str> {
                Ok(Self { $($name: {
                    let name = concat!(stringify!($name), "\0").as_bytes();
                    // SAFETY: the type is that of the library's header for a function of this name; the table is kept
                    // no longer than the library.
                    *unsafe { library.get(name) }.map_err(|_| stringify!($name))?
                },)* })
            }

            /// The names of all.
            #[cfg(test)]
            pub(super) const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];
        }
    };
}
pub(super) use functions;

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place {
        names: &["libx.so.13", "libx.so.12"],
        toolkit: &["lib64", "extras/X/lib64"],
        wheels: &["cu13/lib", "x/lib"],
        variable: "KPROF_X",
    };

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }

    #[test]
    fn the_loader_comes_first_then_toolkits_by_version_then_wheels() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for file in [
            "home/lib64/libx.so.12",
            "usr/local/cuda-9.2/lib64/libx.so.12",
            "usr/local/cuda-12.10/extras/X/lib64/libx.so.12",
            "env/lib/python3.12/site-packages/nvidia/x/lib/libx.so.12",
        ] {
            touch(&at(file));
        }
        let here = Surroundings {
            given: None,
            cuda: vec![at("home")],
            python: vec![at("env")],
            root: root.path().to_path_buf(),
        };
        let expected = [
            PathBuf::from("libx.so.13"),
            PathBuf::from("libx.so.12"),
            at("home/lib64/libx.so.12"),
            at("usr/local/cuda-12.10/extras/X/lib64/libx.so.12"),
            at("usr/local/cuda-9.2/lib64/libx.so.12"),
            at("env/lib/python3.12/site-packages/nvidia/x/lib/libx.so.12"),
        ];
        assert_eq!(here.candidates(&PLACE), expected);
        assert!(here.looked(&PLACE).contains("LD_LIBRARY_PATH"));
    }

    #[test]
    fn what_the_user_names_is_the_only_place() {
        let given = Surroundings { given: Some("/opt/libx.so.12".into()), ..Surroundings::default() };
        assert_eq!(given.candidates(&PLACE), [PathBuf::from("/opt/libx.so.12")]);
        let folder = tempfile::tempdir().unwrap();
        let given = Surroundings { given: Some(folder.path().into()), ..Surroundings::default() };
        assert_eq!(given.candidates(&PLACE).len(), 2);
    }

    #[test]
    fn what_is_no_library_is_an_answer() {
        assert!(open(Path::new("/nowhere/libx.so.12")).is_err());
    }
}
