//! Names of GPU kernels made readable: C++ without return type, parameters, namespaces and the template arguments
//! that tell nothing. The byte-exact name stays what kernels are grouped by.
//!
//! | exported | shown |
//! |---|---|
//! | `void at::native::vectorized_elementwise_kernel<(int)4, at::native::CUDAFunctor_add<float>, …>(int, T2, T3)` | `vectorized_elementwise<CUDAFunctor_add<float>>` |
//! | `void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_…>(T1::Params)` | `cutlass_80_tensorop_bf16_s16816gemm_…` |
//! | `void flash_fwd_kernel<Flash_fwd_kernel_traits<128, 64, 64, 4, …>, 0, 1, …>(Flash_fwd_params)` | `flash_fwd_kernel<128, 64, 64, 4, …>` |
//! | `ampere_sgemm_128x64_nn`, `triton_red_fused_add_0`, `nvjet_…`, `sm80_xmma_…` | unchanged |

use std::collections::HashMap;

/// Template arguments beyond this many characters are left out.
const BUDGET: usize = 60;
/// Nesting deeper than this is left out: real names have at most about 15 levels.
const DEPTH: usize = 24;

/// Templates that only carry another one, with the position of the argument that says what they do.
const WRAPPERS: &[(&str, usize)] = &[
    ("gpu_kernel_impl", 0),
    ("gpu_kernel_impl_nocast", 0),
    ("gpu_index_kernel", 0),
    ("ReduceOp", 1),
    ("func_wrapper_t", 1),
    ("device_kernel", 0),
    ("enable_3x_kernel_for_sm9x", 0),
    ("enable_3x_kernel_for_sm90", 0),
    ("enable_3x_kernel_for_sm10", 0),
];

/// Template arguments that tell nothing, by what they begin with.
const NOISE: &[&str] = &[
    "array",
    "Array",
    "TrivialOffsetCalculator",
    "OffsetCalculator",
    "LoadWithoutCast",
    "StoreWithoutCast",
    "LoadWithCast",
    "StoreWithCast",
    "NullType",
    "CUDAGeneratorImpl",
    "cublasGem",
    "DefaultAttention",
    "Flash_kernel_traits",
    "Gmem_tile",
    "Params",
];

/// Names that say nothing without the namespace before them.
const GENERIC: &[&str] = &["kernel", "Kernel", "run", "main", "impl", "operator_call"];

/// C++ types and what they are called here.
const TYPES: &[(&str, &str)] = &[
    ("BFloat16", "bf16"),
    ("__nv_bfloat16", "bf16"),
    ("bfloat16_t", "bf16"),
    ("__nv_bfloat162", "bf16x2"),
    ("nv_bfloat16", "bf16"),
    ("Half", "half"),
    ("__half", "half"),
    ("half_t", "half"),
    ("__half2", "half2"),
    ("__nv_fp8_e4m3", "e4m3"),
    ("__nv_fp8_e5m2", "e5m2"),
];

/// Types that functors repeat before what they do.
const PRIMITIVES: &[&str] = &[
    "float",
    "double",
    "int",
    "long",
    "bool",
    "char",
    "short",
    "bf16",
    "half",
    "void",
    "unsigned int",
    "unsigned long",
    "unsigned char",
    "long long",
    "unsigned long long",
    "signed char",
];

/// What a kernel's name is shortened to; text that is no C++ name stays as it is.
pub fn short_name(name: &str) -> String {
    // Ranges that replaced a name (`--print-nvtx-rename`) are paths.
    if name.contains('/') && !name.contains('(') {
        return name.to_string();
    }
    let clean = cleaned(name);
    let text = without_return_type(clean.trim());
    let short = item(text, 0, false);
    if short.is_empty() { name.to_string() } else { short }
}

/// The name of a kernel without template arguments and parameters: all instances of a template have one.
pub fn base_name(name: &str) -> String {
    let clean = cleaned(name);
    let text = without_return_type(clean.trim());
    let segments = segments(text);
    let head = segments.iter().rev().find(|s| !s.is_call());
    head.map_or_else(|| name.to_string(), |s| s.name.trim().to_string())
}

/// Short names of all `names`, of which different ones stay different: those that come out the same are numbered
/// in the order given.
pub fn short_names<'a>(names: impl IntoIterator<Item = &'a str>) -> HashMap<&'a str, String> {
    let mut out: HashMap<&str, String> = HashMap::new();
    let mut taken: HashMap<String, usize> = HashMap::new();
    for name in names {
        if out.contains_key(name) {
            continue;
        }
        let short = short_name(name);
        let count = taken.entry(short.clone()).or_default();
        *count += 1;
        let label = if *count == 1 { short } else { format!("{short} ({count})") };
        out.insert(name, label);
    }
    out
}

/// Parts of the names of kernels that compute on matrix units.
const MATRIX_KERNELS: &[&str] = &[
    "hmma", "wgmma", "tensorop", "xmma", "s16816", "s1688", "s884", "gmma", "flash", "cutlass", "mma_sync",
    "wmma", "imma", "qgmma", "tcgen05", "utcmma", "nvjet", "fmha",
];

/// Whether a kernel's name suggests that it computes on matrix units.
pub fn suggests_matrix_units(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    // Both CUTLASS and xmma have kernels for vector units too, and say so; so have the helpers of attention.
    let not = ["simt", "f32f32_f32f32", "combine_kernel", "splitkreduce"];
    !not.iter().any(|part| lower.contains(part)) && MATRIX_KERNELS.iter().any(|part| lower.contains(part))
}

/// The name without what carries no meaning wherever it stands.
fn cleaned(name: &str) -> String {
    let mut text = name.replace("operator ()", "operator_call").replace("operator()", "operator_call");
    for noise in ["<unnamed>::", "(anonymous namespace)::", "unnamed>::", "->"] {
        text = text.replace(noise, "");
    }
    for cast in ["int", "bool", "unsigned int", "unsigned long", "long", "unsigned char", "char"] {
        text = text.replace(&format!("({cast})"), "");
    }
    text
}

/// `void f<…>(…)` without its type: what stands before the last space outside brackets, if parameters follow.
fn without_return_type(text: &str) -> &str {
    let end = top_level(text, |c| c == '(').into_iter().next_back().unwrap_or(0);
    let calls = top_level(&text[..end], |c| c == ' ');
    match calls.last() {
        Some(space) if !text[..end].contains("operator_call") => text[space + 1..].trim_start(),
        _ => text.strip_prefix("void ").unwrap_or(text),
    }
}

/// Where `wanted` characters stand outside all brackets.
fn top_level(text: &str, wanted: impl Fn(char) -> bool) -> Vec<usize> {
    let mut depth = 0usize;
    let mut found = Vec::new();
    for (i, c) in text.char_indices() {
        if depth == 0 && wanted(c) {
            found.push(i);
        }
        match c {
            '<' | '(' | '[' | '{' => depth += 1,
            '>' | ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    found
}

/// The parts of `text` between `separator`s outside all brackets.
fn split<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let first = separator.chars().next().unwrap_or(',');
    let mut parts = Vec::new();
    let mut start = 0;
    for at in top_level(text, |c| c == first) {
        if at >= start && text[at..].starts_with(separator) {
            parts.push(text[start..at].trim());
            start = at + separator.len();
        }
    }
    parts.push(text[start..].trim());
    parts
}

/// One part of a path: `name<args>(parameters)`.
#[derive(Debug)]
struct Segment<'a> {
    name: &'a str,
    args: Option<&'a str>,
    parameters: Option<&'a str>,
}

impl Segment<'_> {
    /// A lambda or the call of one.
    fn is_call(&self) -> bool {
        self.name.is_empty() || self.name.starts_with("operator_call") || self.name.starts_with("const")
    }
}

fn segments(text: &str) -> Vec<Segment<'_>> {
    split(text, "::").into_iter().map(segment).collect()
}

fn segment(text: &str) -> Segment<'_> {
    let end = text.find(['<', '(', '[', '{']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let args = rest.strip_prefix('<').map(inside);
    let after = args.map_or(rest, |a| rest.get(a.len() + 2..).unwrap_or_default());
    // A lambda has its parameters in its brackets: `[lambda(float) (instance 1)]`.
    let parameters = after.find('(').map(|at| inside(&after[at + 1..]));
    Segment { name: name.trim(), args, parameters }
}

/// What stands before the bracket that closes one passed already.
fn inside(text: &str) -> &str {
    let mut depth = 1usize;
    for (i, c) in text.char_indices() {
        match c {
            '<' | '(' | '[' | '{' => depth += 1,
            '>' | ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..i];
        }
    }
    text
}

/// The short form of a name or of a template argument.
fn item(text: &str, depth: usize, argument: bool) -> String {
    if depth > DEPTH {
        return "…".to_string();
    }
    let text = if argument { plain_argument(text) } else { text };
    let path = segments(text);
    let Some(at) = path.iter().rposition(|s| !s.is_call()) else { return text.to_string() };
    let head = &path[at];
    let name = type_name(head.name);
    if let Some(traits) = xmma(&path[..=at], depth) {
        return traits;
    }
    let args: Vec<&str> = head.args.map(|a| split(a, ",")).unwrap_or_default();
    if let Some(unwrapped) = unwrapped(name, &args, depth) {
        return unwrapped;
    }
    let name = match at.checked_sub(1).map(|before| path[before].name) {
        Some(before) if GENERIC.contains(&name) && !before.is_empty() => format!("{before}::{name}"),
        _ => name.to_string(),
    };
    let called_with = path[at + 1..].iter().rev().find_map(|s| s.parameters).filter(|p| is_primitive(p));
    let call = called_with.filter(|_| argument && head.args.is_none()).map(|p| format!("({p})"));
    let shown = arguments(&name, &args, depth);
    let name = if pytorch_template(&name) { name.replacen("_kernel", "", 1) } else { name };
    match shown.as_str() {
        "" => name + &call.unwrap_or_default(),
        shown => format!("{name}<{shown}>"),
    }
}

/// An argument without `const`, `&`, pointers and the type of a function's result.
fn plain_argument(text: &str) -> &str {
    let text =
        text.trim().trim_start_matches("const ").trim_start_matches('&').trim_end_matches(['*', '&', ' ']);
    // An enumerator: `(cudnnKernelDataType_t)2`.
    if let Some((_, number)) =
        text.strip_prefix('(').and_then(|t| t.split_once(')')).filter(|(_, n)| is_number(n))
    {
        return number;
    }
    if PRIMITIVES.contains(&text) { text } else { without_return_type(text) }
}

fn type_name(name: &str) -> &str {
    TYPES.iter().find(|(cpp, _)| *cpp == name).map_or(name, |(_, ours)| ours)
}

fn is_primitive(text: &str) -> bool {
    PRIMITIVES.contains(&text)
}

fn is_number(text: &str) -> bool {
    text.strip_prefix('-').unwrap_or(text).bytes().all(|b| b.is_ascii_digit())
        || text == "true"
        || text == "false"
}

/// Templates of PyTorch whose first functor says all.
fn pytorch_template(name: &str) -> bool {
    name.ends_with("elementwise_kernel")
        || name.ends_with("elementwise_grid_stride_kernel")
        || name == "reduce_kernel"
        || name == "elementwise_kernel_with_index"
}

/// What a template that only carries another one says.
fn unwrapped(name: &str, args: &[&str], depth: usize) -> Option<String> {
    if let Some((_, position)) = WRAPPERS.iter().find(|(wrapper, _)| *wrapper == name) {
        return Some(item(args.get(*position)?, depth + 1, true));
    }
    if name.starts_with("Kernel") && args.len() == 1 && args[0].contains("cutlass") {
        return Some(item(args[0], depth + 1, true));
    }
    let functor = (name == "BinaryFunctor").then(|| args.last())??;
    Some(item(functor, depth + 1, true)).filter(|f| !is_primitive(f))
}

/// The informative template arguments.
fn arguments(name: &str, args: &[&str], depth: usize) -> String {
    let pytorch = pytorch_template(name);
    let mut shown: Vec<String> = Vec::new();
    for arg in args {
        let plain = plain_argument(arg);
        let head = segments(plain).pop().map_or("", |s| s.name);
        if NOISE.iter().any(|noise| head.starts_with(noise)) || (pytorch && is_number(plain)) {
            continue;
        }
        let text = if head.to_ascii_lowercase().ends_with("kernel_traits") {
            spliced_traits(plain, depth)
        } else {
            item(arg, depth + 1, true)
        };
        // `MeanOps<float, float>`: a type that is repeated says nothing more.
        let repeats = shown.last() == Some(&text) && !is_number(&text);
        if !text.is_empty() && !repeats {
            shown.push(text);
        }
    }
    let functor = |text: &String| !is_primitive(text);
    let wraps = pytorch || name.ends_with("Functor") || name.ends_with("_and_transform");
    if wraps && shown.iter().any(functor) {
        shown.retain(functor);
    }
    if pytorch {
        shown.truncate(1);
    }
    within_budget(shown)
}

fn within_budget(shown: Vec<String>) -> String {
    let mut out = String::new();
    for (i, text) in shown.iter().enumerate() {
        let next = if i == 0 { text.clone() } else { format!(", {text}") };
        if i > 0 && out.chars().count() + next.chars().count() > BUDGET {
            return out + ", …";
        }
        out += &next;
    }
    out
}

/// `Flash_fwd_kernel_traits<128, 64, 64, 4, 0, 0, bfloat16_t, …>`: head size, tile and warps, and the type.
fn spliced_traits(text: &str, depth: usize) -> String {
    let Some(args) = segments(text).pop().and_then(|s| s.args) else { return item(text, depth + 1, true) };
    let args = split(args, ",");
    let sizes = args.iter().filter(|a| is_number(a)).take(4).map(ToString::to_string);
    let types = args.iter().map(|a| item(a, depth + 1, true)).filter(|a| is_primitive(a)).take(1);
    sizes.chain(types).collect::<Vec<_>>().join(", ")
}

/// `xmma_cudnn::gemm::kernel<xmma_cudnn::implicit_gemm::dgrad_indexed::Kernel_traits<Traits, Cta_tile<Arch, M, N, K…>…>>`
/// as `xmma_gemm<dgrad_indexed, Ampere_hmma_tf32, 64x32x64>`.
fn xmma(path: &[Segment<'_>], depth: usize) -> Option<String> {
    let library = path.first().filter(|s| path.len() > 1 && s.name.starts_with("xmma"))?;
    let args = path.last().filter(|s| s.name == "kernel")?.args?;
    let traits = segments(split(args, ",").first()?);
    let [.., operation, last] = traits.as_slice() else { return None };
    let parts = split(last.args?, ",");
    let arithmetic = item(parts.first()?, depth + 1, true);
    let arithmetic = arithmetic.split('<').next()?.trim_end_matches("_traits");
    let tile = segments(parts.get(1)?).pop().and_then(|s| s.args)?;
    let tile: Vec<&str> = split(tile, ",").into_iter().filter(|a| is_number(a)).take(3).collect();
    let kind = path.get(path.len().checked_sub(2)?).map_or("gemm", |s| s.name);
    let library = library.name.split('_').next().unwrap_or("xmma");
    Some(format!("{library}_{kind}<{}, {arithmetic}, {}>", operation.name, tile.join("x")))
}

#[cfg(test)]
mod tests;
