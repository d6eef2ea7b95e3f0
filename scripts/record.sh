#!/usr/bin/env bash
# Records a run of `kprof phase` under profiles/, where scripts/plots.sh finds it.
#
#   scripts/record.sh NAME [flags of kprof phase…]
#
# NAME becomes profiles/NAME/run.jsonl, e.g. 2026-01-31-xeon-gpt2. Record on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -lt 1 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0"
    exit 2
fi
name=$1
shift
cargo build --release --locked --quiet
target/release/kprof phase --output "profiles/$name/run.jsonl" "$@"
rm -f "profiles/$name/run.phases.svg" "profiles/$name/run.roofline.svg"
