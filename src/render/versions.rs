//! The KV-cache versions with the size of their caches: as a table, CSV and JSON.

use super::{Column, Table};
use crate::llm::{CacheSize, DType, ModelSpec, Version, VersionSource};
use crate::profile::KprofInfo;
use crate::units::{Bytes, Scale};
use serde::Serialize;

/// The version of the JSON of [`versions_json`].
pub const VERSIONS_SCHEMA_VERSION: u32 = 1;

/// What the sizes are of.
#[derive(Clone, Copy, Debug)]
pub struct VersionsOf<'a> {
    /// The model.
    pub model: &'a ModelSpec,
    /// The type of its weights and activations.
    pub dtype: DType,
    /// Tokens per sequence.
    pub tokens: usize,
    /// Sequences.
    pub batch: usize,
}

/// The line over the table: model, type, context, batch.
pub fn versions_heading(of: &VersionsOf<'_>) -> String {
    let VersionsOf { model, dtype, tokens, batch } = of;
    format!("kprof versions  {} {dtype}  context {tokens} batch {batch}", model.name)
}

/// A row per version.
pub fn versions_table(sizes: &[CacheSize], of: &VersionsOf<'_>) -> Table {
    let bytes = |value: &dyn Fn(&CacheSize) -> Bytes| {
        Scale::iec_for_values(sizes.iter().map(|s| value(s).0).filter(|b| *b > 0.0), Bytes::UNIT)
    };
    let (token, total) = (bytes(&|s| s.bytes_per_token), bytes(&|s| s.total));
    let mut table = Table::new(vec![
        Column::text("version"),
        Column::text("stores"),
        Column::text("a scale per"),
        Column::text("layers"),
        Column::text("window"),
        Column::number("per token", &token.unit),
        Column::number("total", &total.unit),
        Column::number("of v1", "%"),
        Column::text("from").shrinks_to(12).dispensable(1),
        Column::text("description").shrinks_to(16).dispensable(2),
    ]);
    for size in sizes {
        let version = &size.known.version;
        table.push(vec![
            version.name.clone(),
            stores(version, of.dtype),
            scale(version, of),
            layers(version),
            version.window.map_or("all".to_string(), |w| w.to_string()),
            token.format(size.bytes_per_token.0),
            total.format(size.total.0),
            size.of_v1.map_or("n/a".to_string(), |r| format!("{:.1}", 100.0 * r)),
            source(size),
            version.description.clone(),
        ]);
    }
    table
}

/// What to know about the numbers.
pub fn versions_notes(sizes: &[CacheSize]) -> Vec<String> {
    let mut notes = vec![
        "per token: K and V of one token of one sequence in all layers, scales counted; total: theoretical"
            .into(),
    ];
    if sizes.iter().any(|s| s.held != s.total) {
        notes.push(
            "a window limits what attention reads and the theoretical total; kprof's own caches still hold every token"
                .to_string(),
        );
    }
    notes
}

fn stores(version: &Version, dtype: DType) -> String {
    if !version.use_cache {
        return "nothing".to_string();
    }
    version.storage(dtype).element.name().to_string()
}

/// How many values share a scale.
fn scale(version: &Version, of: &VersionsOf<'_>) -> String {
    let storage = version.storage(of.dtype);
    if !version.use_cache || !storage.is_quantised() {
        return "-".to_string();
    }
    let width = of.model.mla.map_or(of.model.head_dim, |mla| mla.cached_elements());
    match (storage.channels_per_scale(width), &of.model.mla) {
        (channels, _) if channels < width => format!("{channels} channels"),
        (_, None) => "head".to_string(),
        (_, Some(_)) => "latent".to_string(),
    }
}

fn layers(version: &Version) -> String {
    match version.share_layers {
        _ if !version.use_cache => "-".to_string(),
        1 => "own".to_string(),
        2 => "pairs".to_string(),
        many => format!("{many} share"),
    }
}

fn source(size: &CacheSize) -> String {
    match &size.known.source {
        VersionSource::Builtin => "kprof".to_string(),
        VersionSource::File(path) => path.display().to_string(),
    }
}

/// One row per version, in bytes.
///
/// # Errors
/// When a field cannot be encoded, which no text can cause.
pub fn versions_csv(sizes: &[CacheSize], of: &VersionsOf<'_>) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for size in sizes {
        writer.serialize(Row::new(size, of))?;
    }
    let bytes = writer.into_inner().map_err(|e| csv::Error::from(std::io::Error::other(e.to_string())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Everything: the model, and every version with its sizes in bytes.
///
/// # Errors
/// When a value cannot be encoded, which finite sizes never cause.
pub fn versions_json(
    sizes: &[CacheSize],
    of: &VersionsOf<'_>,
    kprof: &KprofInfo,
) -> Result<String, serde_json::Error> {
    let document = Document {
        schema_version: VERSIONS_SCHEMA_VERSION,
        kprof,
        model: of.model,
        dtype: of.dtype,
        tokens: of.tokens,
        batch: of.batch,
        versions: sizes.iter().map(|size| Row::new(size, of)).collect(),
    };
    serde_json::to_string_pretty(&document).map(|text| text + "\n")
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    kprof: &'a KprofInfo,
    model: &'a ModelSpec,
    dtype: DType,
    tokens: usize,
    batch: usize,
    versions: Vec<Row<'a>>,
}

/// A version and its sizes, flat enough for CSV.
#[derive(Serialize)]
struct Row<'a> {
    version: &'a str,
    description: &'a str,
    use_cache: bool,
    kv_element: Option<String>,
    scale: Option<String>,
    share_layers: usize,
    window: Option<usize>,
    bytes_per_token: f64,
    total_bytes: f64,
    held_bytes: f64,
    ratio_to_v1: Option<f64>,
    source: String,
}

impl<'a> Row<'a> {
    fn new(size: &'a CacheSize, of: &VersionsOf<'_>) -> Self {
        let version = &size.known.version;
        let quantised = version.use_cache && version.storage(of.dtype).is_quantised();
        Self {
            version: &version.name,
            description: &version.description,
            use_cache: version.use_cache,
            kv_element: version.use_cache.then(|| stores(version, of.dtype)),
            scale: quantised.then(|| version.scale.to_string()),
            share_layers: version.share_layers,
            window: version.window,
            bytes_per_token: size.bytes_per_token.0,
            total_bytes: size.total.0,
            held_bytes: size.held.0,
            ratio_to_v1: size.of_v1,
            source: source(size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::{KnownVersion, cache_sizes, known_versions, parse_versions, preset};

    fn sized(extra: &str) -> (Vec<CacheSize>, ModelSpec) {
        let model = preset("llama-2-7b").unwrap();
        let mut known = known_versions(&[]).unwrap();
        let file = || VersionSource::File("mine.toml".into());
        let rows = parse_versions("mine.toml", extra).unwrap();
        known.extend(rows.into_iter().map(|version| KnownVersion { version, source: file() }));
        (cache_sizes(&known, &model, DType::Bf16, 4096, 1), model)
    }

    #[test]
    fn the_table_says_what_is_stored_and_how_much_it_takes() {
        let (sizes, model) =
            sized("[v5]\nkv_dtype='int4'\nscale='channel-group:32'\nshare_layers=2\nwindow=1024\n");
        let of = VersionsOf { model: &model, dtype: DType::Bf16, tokens: 4096, batch: 1 };
        assert_eq!(versions_heading(&of), "kprof versions  llama-2-7b bf16  context 4096 batch 1");
        let text = versions_table(&sizes, &of).to_terminal(200);
        let row = |name: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().map(ToString::to_string).collect()
        };
        // 512 KiB a token, 4096 tokens: 2 GiB.
        assert_eq!(row("v1")[1..9], ["bf16", "-", "own", "all", "512", "2.00", "100.0", "kprof"]);
        assert_eq!(row("v0")[1..8], ["nothing", "-", "-", "all", "0.00", "0.00", "0.0"]);
        assert_eq!(row("v2")[1..8], ["int8", "head", "own", "all", "260", "1.02", "50.8"]);
        // Half the layers of 262,144 elements at 4 bits and a scale per 32: 65,536 + 8,192 B = 72 KiB; 1024 of them.
        assert_eq!(row("v5")[1..9], ["int4", "32", "channels", "pairs", "1024", "72.0", "0.070", "3.5"]);
        assert_eq!(row("v5")[9], "mine.toml");
        assert_eq!(versions_notes(&sizes).len(), 2);
        assert_eq!(versions_notes(&sizes[..5]).len(), 1);
    }

    #[test]
    fn csv_and_json_are_in_bytes_and_null_where_there_is_no_cache() {
        let (sizes, model) = sized("");
        let of = VersionsOf { model: &model, dtype: DType::Bf16, tokens: 4096, batch: 1 };
        let csv = versions_csv(&sizes, &of).unwrap();
        assert!(csv.starts_with(
            "version,description,use_cache,kv_element,scale,share_layers,window,bytes_per_token,"
        ));
        let v1 = csv.lines().find(|line| line.starts_with("v1,")).unwrap();
        assert!(v1.ends_with(",true,bf16,,1,,524288.0,2147483648.0,2147483648.0,1.0,kprof"), "{v1}");
        let kprof = KprofInfo { version: "0".into(), revision: None };
        let json: serde_json::Value =
            serde_json::from_str(&versions_json(&sizes, &of, &kprof).unwrap()).unwrap();
        assert_eq!(json["schema_version"], 1);
        assert_eq!(json["model"]["num_hidden_layers"], 32);
        assert_eq!(json["versions"][0]["kv_element"], serde_json::Value::Null);
        assert_eq!(json["versions"][2]["scale"], "token-head");
        assert_eq!(json["versions"][3]["ratio_to_v1"], 0.5);
    }
}
