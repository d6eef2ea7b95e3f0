#!/usr/bin/env bash
# Records a run under profiles/, where scripts/plots.sh finds it.
#
#   scripts/record.sh NAME [flags of kprof phase…]            profiles/NAME/run.jsonl
#   scripts/record.sh NAME BENCHMARK [its flags…]             profiles/NAME/BENCHMARK.jsonl
#
# BENCHMARK is phase, latency, memory, capacity, crossover or perplexity. NAME is e.g. 2026-01-31-xeon-gpt2. Record on a
# machine that does nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -lt 1 ]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0"
    exit 2
fi
name=$1
shift
benchmark=phase file=run
case ${1:-} in
phase | latency | memory | capacity | crossover | perplexity)
    benchmark=$1 file=$1
    shift
    ;;
esac
# KPROF names another build of it.
[ -n "${KPROF:-}" ] || cargo build --release --locked --quiet
mkdir -p "profiles/$name"
"${KPROF:-target/release/kprof}" "$benchmark" --output "profiles/$name/$file.jsonl" "$@"
rm -f "profiles/$name/$file.phases.svg" "profiles/$name/$file.roofline.svg"
