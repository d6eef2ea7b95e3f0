//! What holds without a device: the structs of arguments are those of the compiled kernels, and every kernel that is named is
//! there.

use super::args::*;
use super::images::{IMAGES, image_of};
use super::launch::{KernelArgs, Launch};
use std::collections::BTreeMap;

/// The kernels of all images and the bytes of their one argument.
fn entries() -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for image in IMAGES {
        for part in image.ptx.split(".entry ").skip(1) {
            let (name, rest) = part.split_once('(').expect("an entry has parameters");
            let parameters = rest.split_once(')').expect("they end").0;
            assert_eq!(parameters.matches(".param").count(), 1, "{name} takes one struct");
            let size =
                parameters.rsplit_once('[').and_then(|(_, n)| n.split_once(']')).expect("with its size").0;
            found.insert(name.trim().to_string(), size.parse().expect("a number"));
        }
    }
    found
}

fn size_of_args<A: KernelArgs + Default>() -> usize {
    Launch::new("", [1, 1, 1], 1, A::default()).args_bytes()
}

#[test]
fn arguments_are_as_large_as_the_kernels_that_take_them_expect() {
    let sizes = [
        ("kprof_embed", size_of_args::<EmbedArgs>()),
        ("kprof_norm", size_of_args::<NormArgs>()),
        ("kprof_head_norm", size_of_args::<HeadNormArgs>()),
        ("kprof_activation", size_of_args::<PointwiseArgs>()),
        ("kprof_gate", size_of_args::<PointwiseArgs>()),
        ("kprof_residual", size_of_args::<PointwiseArgs>()),
        ("kprof_rope", size_of_args::<RopeArgs>()),
        ("kprof_gemv", size_of_args::<GemvArgs>()),
        ("kprof_gemm", size_of_args::<GemmArgs>()),
        ("kprof_append", size_of_args::<AppendArgs>()),
        ("kprof_attend", size_of_args::<AttentionArgs>()),
        ("kprof_flash", size_of_args::<AttentionArgs>()),
        ("kprof_argmax", size_of_args::<ArgmaxArgs>()),
        ("kprof_probe", size_of_args::<ProbeArgs>()),
    ];
    let entries = entries();
    assert!(entries.len() > 70, "{}", entries.len());
    for (name, bytes) in entries {
        let (_, expected) = sizes.iter().find(|(prefix, _)| name.starts_with(prefix)).expect(&name);
        assert_eq!(bytes, *expected, "{name}");
    }
}

#[test]
fn images_are_ptx_for_any_driver_of_cuda_12_and_any_device_from_ampere_on() {
    for image in IMAGES {
        assert!(image.ptx.contains(".version 8.0\n.target sm_80\n"), "{}", image.name);
    }
}

#[test]
fn a_kernel_is_found_in_its_image_by_its_whole_name() {
    assert_eq!(image_of("kprof_gemv1_bf16").map(|i| i.name), Some("gemv"));
    assert_eq!(image_of("kprof_flash128_f16").map(|i| i.name), Some("attention_prefill"));
    assert!(image_of("kprof_gemv1").is_none());
}
