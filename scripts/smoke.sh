#!/usr/bin/env bash
# Runs the commands of a built kprof once each, in an empty folder: tests run a debug build, and people a release build.
#
#   scripts/smoke.sh [BINARY]     default: target/release/kprof
#
# Needs no GPU, no network and about ten seconds. Fails at the first command that does not succeed, with what it said.
set -euo pipefail
kprof=$(realpath "${1:-target/release/kprof}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

try() {
    if ! "$kprof" "$@" >said.txt 2>&1; then
        printf 'kprof %s failed:\n' "$*" >&2
        cat said.txt >&2
        exit 1
    fi
}

# Every command's help, by the names that the program itself lists.
for command in $("$kprof" --help | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p'); do
    try "$command" --help
done

quick=(--preset tiny --quick -q)
try phase --version v1 v2 "${quick[@]}" -o old.jsonl
try phase --version v1 v2 "${quick[@]}" -o new.jsonl
try phase --load old.jsonl --export-json old.json
try latency --version v0 v1 "${quick[@]}" -o latency.jsonl
try memory --version v1 "${quick[@]}" -o memory.jsonl
try capacity --version v1 "${quick[@]}" --search account -o capacity.jsonl
try crossover v1 v2 "${quick[@]}" -o crossover.jsonl
try perplexity --version v1 v2 --quick -q -o perplexity.jsonl
try run phase memory "${quick[@]}" --output-dir all
try compare old.jsonl new.jsonl
try roofline old.jsonl
try history old.jsonl new.jsonl
try plot old.jsonl --figure all --out figures
try report old.jsonl latency.jsonl -o report.html
try versions
try estimate --model gpt2 --device h100-sxm
try devices
try doctor
try ceilings --quick
try schema
try logits --preset tiny --ids 1,2,3 --out logits.safetensors
try completions bash
try man
echo "the commands that need no other program ran"
