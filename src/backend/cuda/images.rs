//! The compiled kernels that kprof carries: PTX made from kernels/*.cu by scripts/kernels.sh.

/// The PTX of one source file.
pub(super) struct Image {
    /// The source's name.
    pub(super) name: &'static str,
    /// PTX for compute capability 8.0, which newer devices compile for themselves when it is loaded.
    pub(super) ptx: &'static str,
}

macro_rules! images {
    ($($name:literal),* $(,)?) => {
        &[$(Image { name: $name, ptx: include_str!(concat!("../../../kernels/ptx/", $name, ".ptx")) }),*]
    };
}

/// Every image.
pub(super) const IMAGES: &[Image] = images![
    "argmax",
    "attention_decode",
    "attention_prefill",
    "attention_prefill_f32",
    "cache",
    "embed",
    "gemm",
    "gemm_f32",
    "gemv",
    "norm",
    "pointwise",
    "probes",
];

/// The image with the entry point `kernel`.
pub(super) fn image_of(kernel: &str) -> Option<&'static Image> {
    let entry = format!(".entry {kernel}(");
    IMAGES.iter().find(|image| memchr::memmem::find(image.ptx.as_bytes(), entry.as_bytes()).is_some())
}
