//! The rules of the repository that a compiler does not hold: who may use whom, where `unsafe` may stand, and that
//! every file says what it is for.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Each module of the library and what it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("alloc", &[]),
    ("units", &[]),
    ("stats", &["units"]),
    ("hw", &["units"]),
    ("llm", &["units"]),
    ("profile", &["units", "stats", "hw", "llm"]),
    ("ingest", &["units", "stats", "hw", "llm", "profile"]),
    ("backend", &["alloc", "units", "hw", "llm"]),
    ("probe", &["units", "stats", "hw", "llm", "backend"]),
    ("host", &["units", "stats", "hw", "profile", "attach"]),
    ("attach", &["units", "llm", "profile", "ingest"]),
    ("pass", &["units", "llm", "profile", "backend"]),
    (
        "runner",
        &["alloc", "units", "stats", "hw", "llm", "profile", "backend", "probe", "host", "attach", "pass"],
    ),
    ("roofline", &["units", "stats", "hw", "llm", "profile"]),
    ("compare", &["units", "stats", "hw", "llm", "profile", "roofline"]),
    ("scaling", &["units", "stats", "hw", "llm", "profile", "roofline"]),
    ("render", &["units", "stats", "hw", "llm", "profile", "roofline", "compare", "scaling"]),
];

/// Files and folders under src/ that may allow `unsafe`.
const MAY_BE_UNSAFE: &[&str] =
    &["backend/cpu/simd", "backend/cuda", "attach/nvtx", "ingest/scan", "alloc", "probe/simd"];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every Rust file under `folder`, in a fixed order.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).map(|all| all.flatten().map(|e| e.path()).collect()).unwrap_or_default();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

fn relative(path: &Path) -> String {
    path.strip_prefix(src()).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// The text with comments and the contents of string literals blanked, so that positions and lines stay.
///
/// Raw strings count as strings; character literals are told from lifetimes by their closing quote.
fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut i = 0;
    while i < bytes.len() {
        let end = match bytes[i] {
            b'/' if bytes.get(i + 1) == Some(&b'/') => find(bytes, i, b"\n"),
            b'/' if bytes.get(i + 1) == Some(&b'*') => find(bytes, i + 2, b"*/") + 2,
            b'r' if raw_string(bytes, i).is_some() => raw_string(bytes, i).unwrap_or(i + 1),
            b'"' => quoted(bytes, i),
            b'\'' if bytes.get(i + 1) == Some(&b'\\') => find(bytes, i + 3, b"'") + 1,
            b'\'' if bytes.get(i + 2) == Some(&b'\'') => i + 3,
            _ => {
                i += 1;
                continue;
            }
        };
        let end = end.min(bytes.len());
        out[i..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        i = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where `needle` stands at or after `from`, or the end.
fn find(bytes: &[u8], from: usize, needle: &[u8]) -> usize {
    let tail = bytes.get(from..).unwrap_or_default();
    tail.windows(needle.len()).position(|w| w == needle).map_or(bytes.len(), |at| from + at)
}

/// The end of the string literal whose quote is at `i`.
fn quoted(bytes: &[u8], i: usize) -> usize {
    let mut end = i + 1;
    while end < bytes.len() && bytes[end] != b'"' {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    end + 1
}

/// The end of a raw string that begins at `i`, if one does.
fn raw_string(bytes: &[u8], i: usize) -> Option<usize> {
    let in_a_word = i > 0 && (bytes[i - 1].is_ascii_alphanumeric() || bytes[i - 1] == b'_');
    let hashes = bytes[i + 1..].iter().take_while(|b| **b == b'#').count();
    if (in_a_word && bytes[i - 1] != b'b') || bytes.get(i + 1 + hashes) != Some(&b'"') {
        return None;
    }
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    Some(find(bytes, i + 2 + hashes, &close) + close.len())
}

/// The code before the file's test module: tests may use what they like.
fn without_tests(code: &str) -> &str {
    code.find("#[cfg(test)]\nmod ").map_or(code, |at| &code[..at])
}

/// The line, from 1, of the byte at `at`.
fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// The modules that `code` names right below `root` (`crate` or `kprof`), each with its position: from paths and from
/// groups such as `use crate::{a, b::c}`.
fn used_modules<'a>(code: &'a str, root: &str) -> Vec<(usize, &'a str)> {
    let needle = format!("{root}::");
    let mut found = Vec::new();
    for (at, _) in code.match_indices(&needle) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
            continue;
        }
        let start = at + needle.len();
        if let Some(group) = code[start..].strip_prefix('{') {
            found.extend(group_heads(group).into_iter().map(|(offset, name)| (start + 1 + offset, name)));
        } else {
            found.push((start, identifier(&code[start..])));
        }
    }
    found
}

/// The first name of every item at the top level of a group whose opening brace was passed.
fn group_heads(group: &str) -> Vec<(usize, &str)> {
    let mut heads = Vec::new();
    let (mut depth, mut expect) = (0, true);
    for (offset, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expect = true,
            c if expect && (c.is_alphanumeric() || c == '_') => {
                heads.push((offset, identifier(&group[offset..])));
                expect = false;
            }
            _ => {}
        }
    }
    heads
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let mut wrong = String::new();
    for path in rust_files(&src()) {
        let name = relative(&path);
        let module = name.split('/').next().unwrap_or("").trim_end_matches(".rs");
        if module == "lib" || module == "bin" {
            continue;
        }
        let Some((_, allowed)) = MAY_USE.iter().find(|(owner, _)| *owner == module) else {
            let _ = writeln!(wrong, "src/{name}:1: module '{module}' is not in the table of this test");
            continue;
        };
        let code = code_only(&std::fs::read_to_string(&path).expect("source files are readable"));
        let code = without_tests(&code);
        for (at, used) in used_modules(code, "crate") {
            let known = MAY_USE.iter().any(|(owner, _)| *owner == used);
            if known && used != module && !allowed.contains(&used) {
                let _ = writeln!(wrong, "src/{name}:{}: {module} may not use {used}", line_of(code, at));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn the_binary_uses_public_modules_of_the_library_only() {
    let library = std::fs::read_to_string(src().join("lib.rs")).expect("lib.rs is readable");
    let mut wrong = String::new();
    for path in rust_files(&src().join("bin")) {
        let code = code_only(&std::fs::read_to_string(&path).expect("source files are readable"));
        for (at, used) in used_modules(&code, "kprof") {
            if !library.contains(&format!("pub mod {used};")) {
                let line = line_of(&code, at);
                let _ = writeln!(wrong, "src/{}:{line}: kprof::{used} is no public module", relative(&path));
            }
        }
        // The library is used as `kprof::…` and never compiled in a second time.
        if let Some(at) = code.find("#[path") {
            let _ = writeln!(wrong, "src/{}:{}: #[path]", relative(&path), line_of(&code, at));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_file_says_what_it_is_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["src", "tests", "benches", "examples"];
    let silent: Vec<String> = folders
        .iter()
        .flat_map(|folder| rust_files(&root.join(folder)))
        .filter(|path| !std::fs::read_to_string(path).is_ok_and(|text| text.starts_with("//!")))
        .map(|path| format!("{}:1: does not begin with //!", path.display()))
        .collect();
    assert!(silent.is_empty(), "\n{}", silent.join("\n"));
}

#[test]
fn unsafe_stands_only_where_it_may_and_every_block_has_its_reason() {
    let mut wrong = String::new();
    for path in rust_files(&src()) {
        let name = relative(&path);
        let text = std::fs::read_to_string(&path).expect("source files are readable");
        let code = code_only(&text);
        let allowed = MAY_BE_UNSAFE.iter().any(|place| {
            name.strip_prefix(place).is_some_and(|rest| rest.starts_with(['/', '.']) || rest.is_empty())
        });
        for (at, _) in code.match_indices("unsafe") {
            let whole_word = identifier(&code[at..]) == "unsafe"
                && !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let line = line_of(&code, at);
            if whole_word && !allowed {
                let _ = writeln!(wrong, "src/{name}:{line}: unsafe is not allowed here");
            } else if whole_word && opens_a_block(&code[at..]) && !has_reason(&text, line) {
                let _ = writeln!(wrong, "src/{name}:{line}: unsafe without a // SAFETY: comment above it");
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Whether `unsafe` is followed by a brace: a block, not an `unsafe fn` or `unsafe impl`.
fn opens_a_block(from_unsafe: &str) -> bool {
    from_unsafe["unsafe".len()..].trim_start().starts_with('{')
}

/// Whether one of the few lines above `line` gives the reason.
fn has_reason(text: &str, line: usize) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    lines[line.saturating_sub(6)..line].iter().any(|l| l.contains("// SAFETY:"))
}

#[test]
fn the_scanner_sees_paths_and_groups_and_not_comments_or_strings() {
    let code = code_only(
        "use crate::{a, b::{c, d}, e as f};\nfn x() { crate::g::h(); }\n// crate::no\nlet s = \"crate::no\";\n\
         let r = r#\"crate::no \"quoted\" \"#;\nlet c = '\"'; other_crate::z(); let t: &'static str = i;",
    );
    let names: Vec<&str> = used_modules(&code, "crate").into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["a", "b", "e", "g"]);
    assert_eq!(line_of(&code, used_modules(&code, "crate")[3].0), 2);
    assert!(code.contains("&'static str = i"), "{code}");
}
