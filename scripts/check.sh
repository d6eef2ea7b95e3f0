#!/usr/bin/env bash
# Everything that CI checks, in the same order: run it before a commit.
#
#   scripts/check.sh              all of it
#   scripts/check.sh --no-clone   without the last steps, which try the commands of the README and of the release build on a clean clone
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}

step() {
    printf '\n== %s\n' "$1"
    shift
    "$@"
}

# A step whose cargo subcommand is not installed is skipped, and says so.
step_if_installed() {
    local component=$1 probe=$2
    shift 2
    if cargo "$probe" --version >/dev/null 2>&1; then
        step "$@"
    else
        printf '\n== %s: SKIPPED, %s is not installed (rustup component add %s)\n' "$1" "$component" "$component"
    fi
}

doc() {
    RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --locked
}

# The kernels that are carried are those of the sources; skipped by name where the compiler's wheels cannot be had. Its compiler
# takes one core for a minute, and cargo the others.
kernels=$(mktemp)
scripts/kernels.sh --check >"$kernels" 2>&1 &
kernels_job=$!
trap 'kill "$kernels_job" 2>/dev/null || true; rm -f "$kernels"' EXIT
kernels_result() {
    local code=0
    wait "$kernels_job" || code=$?
    cat "$kernels"
    return "$code"
}

# One style, so that a diff shows what changed.
step_if_installed rustfmt fmt 'format' cargo fmt --check
# No warning survives, in tests and benches either.
step_if_installed clippy clippy 'lints' cargo clippy --all-targets --locked -- -D warnings
# Links in the documentation lead somewhere.
step 'documentation' doc
# The tests, with whatever is not committed yet; where that is nothing, the clone's are the same ones.
if [ "${1:-}" = --no-clone ] || [ -n "$(git status --porcelain)" ]; then
    step 'tests' cargo test --locked
fi
step 'kernels: PTX' kernels_result
# What the default build leaves out still builds, and writes files that can be read.
step 'feature parquet: lints' cargo clippy --all-targets --locked --features parquet -- -D warnings
step 'feature parquet: tests' cargo test --locked --features parquet --lib parquet

if [ "${1:-}" = --no-clone ]; then
    exit 0
fi

# What a stranger types after a clone. The target folder is shared: dependencies are not built again.
clone=$(mktemp -d)
trap 'rm -rf "$clone" "$kernels"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
if ! git diff-index --quiet HEAD -- 2>/dev/null; then
    printf '\nnote: the working tree differs from HEAD; the clone has what is committed\n'
fi
step 'clean clone of HEAD' git clone --quiet "$root" "$clone/kprof"
cd "$clone/kprof"
step 'README: phase' cargo run --release --locked -- phase --version v0 v1
# Tests run a debug build, people the one that was just built.
step 'vector instructions of the release build' "$root/scripts/inlined.sh" "$CARGO_TARGET_DIR/release/kprof"
step 'every command of the release build' scripts/smoke.sh "$CARGO_TARGET_DIR/release/kprof"
step 'README: test' cargo test --locked
