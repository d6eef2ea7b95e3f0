#!/usr/bin/env bash
# Looks for vector instructions that became calls in a release build: a closure of a kernel that the compiler left as a function of
# its own has not the instructions of its caller, and each operation in it is a call then (src/backend/cpu/simd/mod.rs,
# `Kernel`). No result is wrong by it, and everything is several times slower.
#
#   scripts/inlined.sh [BINARY]     default: target/release/kprof
#
# Skipped, and says so, where there is no nm or the program is not one of x86-64.
set -euo pipefail
kprof=${1:-target/release/kprof}
if ! command -v nm >/dev/null 2>&1 || [ "$(uname -m)" != x86_64 ]; then
    echo "skipped: vector instructions are looked for on x86-64, by nm"
    exit 0
fi

symbols=$(mktemp)
trap 'rm -f "$symbols"' EXIT
nm -C "$kprof" >"$symbols"
# Without names there would be nothing to find.
if ! grep -q 'kprof::backend::cpu' "$symbols"; then
    echo "$kprof has no names of functions: it was stripped" >&2
    exit 1
fi

# What other crates have of their own: candle's bfloat16, which has no kernel of ours in it, and searches for bytes.
theirs='_mm256_(cvtneps_pbh|cvtpbh_ps|loadu_ps|storeu_ps|loadu_si256)$'
calls=$(grep -oE 'core_arch::x86::avx[a-z0-9_]*::_mm[0-9a-z_]*' "$symbols" | sort -u | grep -vE "$theirs" || true)
if [ -n "$calls" ]; then
    printf 'these vector instructions are calls somewhere in %s (objdump -d --no-show-raw-insn -C shows where):\n%s\n' \
        "$kprof" "$calls" >&2
    exit 1
fi
echo "no vector instruction of a kernel is a call"
