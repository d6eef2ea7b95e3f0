#!/usr/bin/env bash
# The NEON kernels on a machine that has none: tests of the library, of the cpu backend and of its passes for 64-bit ARM, in
# an emulator. It tells whether they are right, never how fast they are.
#
#   scripts/aarch64.sh [filter of tests …]
#
# Needs an emulator (qemu-aarch64 or qemu-aarch64-static of qemu-user-static, or QEMU=path) and rustup, which adds the target.
# Nothing else: programs are static ones of musl, linked by the linker that comes with Rust.
set -euo pipefail
cd "$(dirname "$0")/.."
target=aarch64-unknown-linux-musl

qemu=${QEMU:-$(command -v qemu-aarch64 || command -v qemu-aarch64-static || true)}
if [ -z "$qemu" ]; then
    echo "aarch64: no emulator: install qemu-user-static (Debian, Ubuntu), or say where it is with QEMU=path" >&2
    exit 1
fi
rustup target list --installed | grep -qx "$target" || rustup target add "$target"

# musl has the functions of libdl in libc, and Rust's copy of it no empty library of that name, which crates ask for.
mkdir -p target/aarch64
printf '!<arch>\n' >target/aarch64/libdl.a
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="-C linker=rust-lld -L $PWD/target/aarch64"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_RUNNER=$qemu

# What starts kprof as a program is left out: the system cannot start it without the emulator.
if [ $# -eq 0 ]; then
    cargo test --locked --target "$target" --lib -- backend:: llm:: pass:: probe:: phase::
    # The whole of GPT-2 takes minutes in an emulator; tiny models go through the same code.
    set -- cpu_ops:: cpu_backend:: passes:: llama:: reference_gpt:: reference_llama:: --skip the_op_flops_of_gpt2
fi
cargo test --locked --target "$target" --test it -- "$@"
