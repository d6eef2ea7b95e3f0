//! Configuration files: TOML, or YAML as the nanoGPT benchmark has it, as keys with their values and lines.

use anyhow::Context as _;
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The deepest nesting that is read: sections hold keys, and a key may hold a model's shape.
const DEEPEST: usize = 8;

/// A key with where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    /// From 1.
    pub(crate) line: usize,
    pub(crate) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Nothing: `null`, `~`, or no text at all.
    Absent,
    Flag(bool),
    /// A number or text, as written; whether it was in quotes.
    Text(String, bool),
    List(Vec<Value>),
    Table(Vec<Entry>),
}

impl Value {
    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::Flag(flag) => Some(flag.to_string()),
            Self::Text(text, _) => Some(text.clone()),
            Self::Absent | Self::List(_) | Self::Table(_) => None,
        }
    }

    /// The value as JSON, for what is handed on as it is.
    pub(crate) fn json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Self::Absent => Json::Null,
            Self::Flag(flag) => Json::Bool(*flag),
            Self::Text(text, true) => Json::String(text.clone()),
            Self::Text(text, false) => {
                serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.clone()))
            }
            Self::List(all) => Json::Array(all.iter().map(Self::json).collect()),
            Self::Table(all) => Json::Object(all.iter().map(|e| (e.key.clone(), e.value.json())).collect()),
        }
    }
}

/// Reads a file; what ends in .yaml or .yml is YAML, all else TOML.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<Entry>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {}", path.display()))?;
    let file = path.display().to_string();
    let is_yaml =
        path.extension().is_some_and(|e| e.eq_ignore_ascii_case("yaml") || e.eq_ignore_ascii_case("yml"));
    if is_yaml { yaml(&file, &text) } else { toml(&file, &text) }
}

/// Reads TOML; `file` is what messages call it.
pub(crate) fn toml(file: &str, text: &str) -> anyhow::Result<Vec<Entry>> {
    let line = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
    let table = DeTable::parse(text).map_err(|e| {
        anyhow::anyhow!("{file}:{}: {}", line(e.span().map_or(0, |span| span.start)), e.message())
    })?;
    Ok(toml_entries(table.get_ref(), &line))
}

fn toml_entries(table: &DeTable<'_>, line: &dyn Fn(usize) -> usize) -> Vec<Entry> {
    let mut entries: Vec<(usize, Entry)> = table
        .iter()
        .map(|(key, value)| {
            let at = key.span().start;
            let entry =
                Entry { key: key.get_ref().to_string(), line: line(at), value: toml_value(value, line) };
            (at, entry)
        })
        .collect();
    entries.sort_by_key(|(at, _)| *at);
    entries.into_iter().map(|(_, entry)| entry).collect()
}

fn toml_value(value: &Spanned<DeValue<'_>>, line: &dyn Fn(usize) -> usize) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string(), true),
        DeValue::Integer(number) => Value::Text(number.as_str().replace('_', ""), false),
        DeValue::Float(number) => Value::Text(number.as_str().replace('_', ""), false),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(time) => Value::Text(time.to_string(), false),
        DeValue::Array(all) => Value::List(all.iter().map(|v| toml_value(v, line)).collect()),
        DeValue::Table(table) => Value::Table(toml_entries(table, line)),
    }
}

/// Reads YAML; `file` is what messages call it.
pub(crate) fn yaml(file: &str, text: &str) -> anyhow::Result<Vec<Entry>> {
    let mut events = Events { file, parser: Parser::new_from_str(text) };
    loop {
        let (event, span) = events.next()?;
        match event {
            Event::StreamEnd => return Ok(Vec::new()),
            Event::MappingStart(..) => {
                let entries = events.entries(1)?;
                return Ok(entries);
            }
            Event::Scalar(text, ..) if text.is_empty() => {}
            Event::Scalar(..) | Event::SequenceStart(..) | Event::Alias(_) => {
                return Err(events.error(span, "a configuration is made of lines 'key: value'"));
            }
            _ => {}
        }
    }
}

struct Events<'a> {
    file: &'a str,
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
}

impl<'a> Events<'a> {
    fn next(&mut self) -> anyhow::Result<(Event<'a>, Span)> {
        match self.parser.next() {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => {
                Err(anyhow::anyhow!("{}:{}: {}", self.file, error.marker().line(), error.info()))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn error(&self, span: Span, message: &str) -> anyhow::Error {
        anyhow::anyhow!("{}:{}: {message}", self.file, span.start.line())
    }

    fn entries(&mut self, depth: usize) -> anyhow::Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(key, ..) => key.to_string(),
                _ => return Err(self.error(span, "a key is a plain word")),
            };
            if entries.iter().any(|e| e.key == key) {
                return Err(self.error(span, &format!("'{key}' stands here for the second time")));
            }
            let line = span.start.line();
            let (event, span) = self.next()?;
            let value = self.value(event, span, depth)?;
            entries.push(Entry { key, line, value });
        }
    }

    fn value(&mut self, event: Event<'a>, span: Span, depth: usize) -> anyhow::Result<Value> {
        if depth > DEEPEST {
            return Err(self.error(span, "nested too deeply for a configuration"));
        }
        match event {
            Event::Scalar(text, style, ..) => Ok(scalar(&text, style)),
            Event::MappingStart(..) => Ok(Value::Table(self.entries(depth + 1)?)),
            Event::SequenceStart(..) => {
                let mut all = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if event == Event::SequenceEnd {
                        return Ok(Value::List(all));
                    }
                    all.push(self.value(event, span, depth + 1)?);
                }
            }
            Event::Alias(_) => Err(self.error(span, "aliases are not read; write the value out")),
            _ => Err(self.error(span, "a value was expected")),
        }
    }
}

/// The core schema of YAML 1.2.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::Text(text.to_string(), true);
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Absent,
        "true" | "True" | "TRUE" => Value::Flag(true),
        "false" | "False" | "FALSE" => Value::Flag(false),
        _ => Value::Text(text.to_string(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: &str = "# the reference's file\nmodel_config:\n  n_layer: 12\n  bias: true\n\npretrained: gpt2  # a \
                             preset\ndtype: 'bfloat16'\nT_values: [32, 64,\n  128]\nseed: 42\nversions: [v0, v1]\n\
                             log_file: ~\n";

    #[test]
    fn yaml_and_toml_say_the_same() {
        let toml_text = "pretrained = \"gpt2\"\ndtype = \"bfloat16\"\nT_values = [32, 64, 128]\nseed = 42\n\
                         versions = [\"v0\", \"v1\"]\n[model_config]\nn_layer = 12\nbias = true\n";
        let (mut a, mut b) = (yaml("c.yaml", REFERENCE).unwrap(), toml("kprof.toml", toml_text).unwrap());
        assert_eq!(a.iter().find(|e| e.key == "log_file").unwrap().value, Value::Absent);
        a.retain(|e| e.key != "log_file");
        let json = |entries: &mut Vec<Entry>| {
            entries.sort_by(|x, y| x.key.cmp(&y.key));
            entries.iter().map(|e| (e.key.clone(), e.value.json())).collect::<Vec<_>>()
        };
        assert_eq!(json(&mut a), json(&mut b));
        assert_eq!(b.iter().find(|e| e.key == "T_values").unwrap().line, 3);
    }

    #[test]
    fn lines_are_those_of_the_keys() {
        let entries = yaml("c.yaml", REFERENCE).unwrap();
        let line = |key: &str| entries.iter().find(|e| e.key == key).unwrap().line;
        assert_eq!((line("model_config"), line("dtype"), line("T_values"), line("seed")), (2, 7, 8, 10));
        let Value::Table(shape) = &entries[0].value else { panic!("{entries:?}") };
        assert_eq!((shape[0].key.as_str(), shape[0].line), ("n_layer", 3));
    }

    #[test]
    fn damaged_files_are_named_with_their_line() {
        let error = |text: &str| yaml("c.yaml", text).unwrap_err().to_string();
        assert!(error("a: 1\nb: [1, 2\n").starts_with("c.yaml:"), "{}", error("a: 1\nb: [1, 2\n"));
        assert!(error("- a\n- b\n").contains("'key: value'"));
        assert!(error("a: 1\na: 2\n").starts_with("c.yaml:2: 'a' stands here for the second time"));
        let deep = format!("a: {}{}", "[".repeat(20), "]".repeat(20));
        assert!(error(&deep).contains("nested too deeply"));
        assert!(error("a: &x 1\nb: *x\n").contains("aliases"));
        assert!(toml("k.toml", "a = 1\nb = = 2\n").unwrap_err().to_string().starts_with("k.toml:2: "));
        assert_eq!(yaml("c.yaml", "# nothing\n").unwrap(), []);
    }
}
