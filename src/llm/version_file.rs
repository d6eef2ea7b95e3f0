//! Files of KV-cache versions: one TOML table per version, every mistake named with its line.

use super::versions::{KvDType, Version, VersionError, builtin_versions};
use super::{ScaleGranularity, nearest_first};
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The keys of a version, in the order that the documentation has them.
const KEYS: [&str; 6] = ["description", "use_cache", "kv_dtype", "scale", "share_layers", "window"];

/// Reads a user's file of versions.
///
/// # Errors
/// When it cannot be read, is not TOML, or a version has an unknown key, a wrong value, or contradicts itself: with the
/// file and the line.
pub fn read_versions(path: &Path) -> Result<Vec<Version>, VersionError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|source| VersionError::Read { path: path.to_path_buf(), source })?;
    parse_versions(&file, &text)
}

/// Reads the text of a file of versions, by name; `file` is what messages call it.
///
/// # Errors
/// As [`read_versions`].
pub fn parse_versions(file: &str, text: &str) -> Result<Vec<Version>, VersionError> {
    let source = Source { file, text };
    let table = DeTable::parse(text).map_err(|e| {
        let line = e.span().map_or(0, |span| span.start);
        source.error(line, e.message().to_string())
    })?;
    let mut rows: Vec<_> = table.get_ref().iter().collect();
    rows.sort_by_key(|(name, _)| name.span().start);
    rows.into_iter().map(|(name, value)| source.version(name, value)).collect()
}

/// Where a version comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionSource {
    /// It is built in.
    Builtin,
    /// It is a row of this file.
    File(PathBuf),
}

/// A version with where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownVersion {
    /// The version.
    pub version: Version,
    /// Its origin.
    pub source: VersionSource,
}

/// The built-in versions and those of `files`; of two files with one name, the later has it.
///
/// # Errors
/// As [`read_versions`], and when a file has the name of a built-in version.
pub fn known_versions(files: &[PathBuf]) -> Result<Vec<KnownVersion>, VersionError> {
    let builtin = builtin_versions().into_iter();
    let mut known: Vec<KnownVersion> =
        builtin.map(|version| KnownVersion { version, source: VersionSource::Builtin }).collect();
    for path in files {
        for version in read_versions(path)? {
            let added = KnownVersion { version, source: VersionSource::File(path.clone()) };
            match known.iter_mut().find(|k| k.version.name == added.version.name) {
                Some(same) if same.source == VersionSource::Builtin => {
                    let (file, name) = (path.display().to_string(), added.version.name);
                    return Err(VersionError::BuiltinName { file, name });
                }
                Some(same) => *same = added,
                None => known.push(added),
            }
        }
    }
    Ok(known)
}

/// A file's name and text, to say where a mistake stands.
struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

/// A key's value with where it stands.
type Value<'t, 'i> = &'t Spanned<DeValue<'i>>;

impl Source<'_> {
    fn error(&self, at: usize, message: String) -> VersionError {
        let line = self.text[..at.min(self.text.len())].matches('\n').count() + 1;
        VersionError::File { file: self.file.to_string(), line, message }
    }

    fn version(
        &self,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: Value<'_, '_>,
    ) -> Result<Version, VersionError> {
        let (at, name) = (name.span().start, name.get_ref().as_ref());
        let Some(table) = value.get_ref().as_table() else {
            let message = format!("'{name}' stands outside of a version; begin one with a line like [v5]");
            return Err(self.error(at, message));
        };
        let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        if name.is_empty() || !name.chars().all(plain) {
            let message = format!("version '{name}': a name has letters, digits, '_' and '.'");
            return Err(self.error(at, message));
        }
        let version = self.row(name, table)?;
        match contradiction(&version, table) {
            Some((key, reason)) => {
                let at = table.iter().find(|(k, _)| k.get_ref() == key).map_or(at, |(k, _)| k.span().start);
                Err(self.error(at, format!("version '{name}': {reason}")))
            }
            None => Ok(version),
        }
    }

    fn row(&self, name: &str, table: &DeTable<'_>) -> Result<Version, VersionError> {
        let mut version = Version { name: name.to_string(), ..Version::default() };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "description" => version.description = self.quoted(name, "description", value)?.to_string(),
                "use_cache" => version.use_cache = self.flag(name, "use_cache", value)?,
                "kv_dtype" => version.kv_dtype = self.kv_dtype(name, value)?,
                "scale" => version.scale = self.scale(name, value)?,
                "share_layers" => version.share_layers = self.count(name, "share_layers", value)?,
                "window" => version.window = Some(self.count(name, "window", value)?),
                unknown => {
                    let known = nearest_first(unknown, KEYS).join(", ");
                    let message = format!("version '{name}': unknown key '{unknown}'; known: {known}");
                    return Err(self.error(key.span().start, message));
                }
            }
        }
        Ok(version)
    }

    fn wrong(&self, name: &str, key: &str, value: Value<'_, '_>, wanted: &str) -> VersionError {
        let found = self.text.get(value.span()).unwrap_or("").trim();
        self.error(value.span().start, format!("version '{name}': {key} = {found}: {wanted}"))
    }

    fn quoted<'t>(&self, name: &str, key: &str, value: Value<'t, '_>) -> Result<&'t str, VersionError> {
        value.get_ref().as_str().ok_or_else(|| self.wrong(name, key, value, "write a text in quotes"))
    }

    fn flag(&self, name: &str, key: &str, value: Value<'_, '_>) -> Result<bool, VersionError> {
        value.get_ref().as_bool().ok_or_else(|| self.wrong(name, key, value, "write true or false"))
    }

    fn count(&self, name: &str, key: &str, value: Value<'_, '_>) -> Result<usize, VersionError> {
        let number = value.get_ref().as_integer().and_then(|i| {
            let digits = i.as_str().replace('_', "");
            usize::from_str_radix(&digits, i.radix()).ok()
        });
        number
            .filter(|n| *n > 0)
            .ok_or_else(|| self.wrong(name, key, value, "write a whole number from 1 on"))
    }

    fn kv_dtype(&self, name: &str, value: Value<'_, '_>) -> Result<KvDType, VersionError> {
        let text = self.quoted(name, "kv_dtype", value)?;
        KvDType::ALL.into_iter().find(|dtype| dtype.name() == text).ok_or_else(|| {
            let known = nearest_first(text, KvDType::ALL.map(KvDType::name)).join(", ");
            self.wrong(name, "kv_dtype", value, &format!("known: {known}"))
        })
    }

    fn scale(&self, name: &str, value: Value<'_, '_>) -> Result<ScaleGranularity, VersionError> {
        let text = self.quoted(name, "scale", value)?;
        text.parse().map_err(|reason: String| self.wrong(name, "scale", value, &reason))
    }
}

/// The key that does not go with the others, and why.
fn contradiction(version: &Version, table: &DeTable<'_>) -> Option<(&'static str, &'static str)> {
    let has = |key: &str| table.keys().any(|k| k.get_ref() == key);
    if !version.use_cache {
        let pointless = ["kv_dtype", "scale", "share_layers"].into_iter().find(|key| has(key))?;
        return Some((pointless, "without a cache there is nothing to share or to quantise"));
    }
    let quantised = matches!(version.kv_dtype, KvDType::Int8 | KvDType::Int4);
    (has("scale") && !quantised).then_some(("scale", "scales go with kv_dtype int8 or int4"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Version>, VersionError> {
        parse_versions("mine.toml", text)
    }

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_row_has_defaults_and_every_key_is_read() {
        let text = "[v5]\ndescription = 'mine'\nuse_cache = true\nkv_dtype = 'int4'\n\
                    scale = 'channel-group:32'\nshare_layers = 2\nwindow = 1_024\n[v10]\n";
        let versions = parse(text).unwrap();
        assert_eq!(versions[1], Version { name: "v10".into(), ..Version::default() });
        let v5 = &versions[0];
        assert_eq!((v5.name.as_str(), v5.description.as_str(), v5.use_cache), ("v5", "mine", true));
        assert_eq!((v5.kv_dtype, v5.scale), (KvDType::Int4, ScaleGranularity::ChannelGroup(32)));
        assert_eq!((v5.share_layers, v5.window), (2, Some(1024)));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_known_ones_nearest_first() {
        let text = "# mine\n[v5]\nuse_cache = true\nkv_dtpye = 'int8'\n";
        assert_eq!(
            error(text),
            "mine.toml:4: version 'v5': unknown key 'kv_dtpye'; known: kv_dtype, use_cache, scale, window, \
             description, share_layers"
        );
    }

    #[test]
    fn a_wrong_value_is_shown_with_what_it_should_be() {
        for (line, expected) in [
            ("kv_dtype = 'int9'", "kv_dtype = 'int9': known: int8, int4,"),
            ("kv_dtype = 8", "kv_dtype = 8: write a text in quotes"),
            ("use_cache = 'yes'", "use_cache = 'yes': write true or false"),
            ("share_layers = 0", "share_layers = 0: write a whole number from 1 on"),
            ("window = -4", "window = -4: write a whole number from 1 on"),
            ("kv_dtype = 'int8'\nscale = 'channel-group:x'", "'channel-group:x' is no group"),
        ] {
            let message = error(&format!("[v5]\n{line}\n"));
            assert!(message.starts_with("mine.toml:") && message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_row_that_contradicts_itself_is_refused_at_the_key_that_does_not_fit() {
        let message = error("[x]\nuse_cache = false\n\nshare_layers = 2\n");
        assert!(message.starts_with("mine.toml:4: version 'x': without a cache"), "{message}");
        let message = error("[x]\nkv_dtype = 'bf16'\nscale = 'token-head'\n");
        assert!(message.starts_with("mine.toml:3: version 'x': scales go with"), "{message}");
    }

    #[test]
    fn what_is_no_version_or_no_toml_is_named_with_its_line() {
        assert!(error("\nuse_cache = true\n").starts_with("mine.toml:2: 'use_cache' stands outside"));
        assert!(error("['a-b']\n").starts_with("mine.toml:1: version 'a-b': a name has letters"));
        assert!(error("[v5]\nwindow = = 3\n").starts_with("mine.toml:2: "));
        assert!(error("[v5]\n[v5]\n").starts_with("mine.toml:2: "));
        let missing = read_versions(Path::new("no/such/versions.toml")).unwrap_err().to_string();
        assert!(missing.contains("versions.toml"), "{missing}");
    }

    #[test]
    fn files_add_to_the_built_in_versions_and_the_later_file_wins() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let first = write("a.toml", "[v5]\nwindow = 1\n[v6]\n");
        let second = write("b.toml", "[v5]\nwindow = 2\n");
        let known = known_versions(&[first.clone(), second.clone()]).unwrap();
        let names: Vec<&str> = known.iter().map(|k| k.version.name.as_str()).collect();
        assert_eq!(names, ["v0", "v1", "v2", "v3", "v4", "v5", "v6"]);
        assert_eq!((known[5].version.window, &known[5].source), (Some(2), &VersionSource::File(second)));
        assert_eq!(
            (&known[0].source, &known[6].source),
            (&VersionSource::Builtin, &VersionSource::File(first))
        );
        let clash = write("c.toml", "[v1]\nwindow = 2\n");
        let message = known_versions(&[clash]).unwrap_err().to_string();
        assert!(message.ends_with("c.toml: version 'v1' is built into kprof; give yours another name"));
    }
}
