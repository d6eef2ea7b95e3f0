#!/bin/sh
# How often `kprof compare` and `kprof regress` cry wolf, and how often they miss: N comparisons of two runs of the same
# program (A/A), and the same with every step of the second run made 10 % slower. Prints the counts of verdicts and the rates.
#
#   scripts/false-alarms.sh [N] [kprof phase flags…]
#       default: 200 --preset tiny --version v1 -p 16 -n 8 -r 100 --processes 10
#
# Each run is one `kprof phase`, measured after the other: nothing of them is interleaved. Environment: THRESHOLD (5%),
# KPROF (target/release/kprof), KEEP (a folder for the verdicts, one line each; existing ones are added to).
# Runs are kept in a temporary folder and removed. Needs python3.
set -eu

count=${1:-200}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- --preset tiny --version v1 -p 16 -n 8 -r 100 --processes 10
kprof=${KPROF:-$(dirname "$0")/../target/release/kprof}
threshold=${THRESHOLD:-5%}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
verdicts=${KEEP:-$folder}/verdicts
mkdir -p "$(dirname "$verdicts")"

i=0
while [ "$i" -lt "$count" ]; do
    for side in a b; do
        "$kprof" phase "$@" -q --no-ceilings --no-telemetry --output "$folder/$i-$side.jsonl" > "$folder/log" 2>&1 ||
            { cat "$folder/log"; exit 1; }
    done
    # The planted slowdown: every time of the second run times 1.1.
    python3 - "$folder/$i-b.jsonl" "$folder/$i-slow.jsonl" << 'PYTHON'
import json, sys
with open(sys.argv[1]) as source, open(sys.argv[2], "w") as out:
    for line in source:
        record = json.loads(line)
        for key in ("time_s", "op_start_s", "op_time_s"):
            if record["type"] == "step" and key in record:
                value = record[key]
                record[key] = [v * 1.1 for v in value] if isinstance(value, list) else value * 1.1
        out.write(json.dumps(record, separators=(",", ":")) + "\n")
PYTHON
    for kind in b slow; do
        "$kprof" compare "$folder/$i-a.jsonl" "$folder/$i-$kind.jsonl" --threshold "$threshold" --export-csv - 2> "$folder/log" \
            | awk -F, -v kind="$kind" '$4 == "time" { print kind, $5, $12 }' >> "$verdicts"
    done
    rm -f "$folder/$i"-*
    i=$((i + 1))
done
echo "verdicts of $count comparisons, threshold $threshold: b is the same program, slow has 10 % planted"
sort "$verdicts" | uniq -c
awk '$1 == "b" { all++; if ($3 == "faster" || $3 == "slower") false_alarm++ }
     $1 == "slow" { planted++; if ($3 == "slower") found++ }
     END { printf "false alarms: %.1f %% of %d; planted slowdown found: %.1f %% of %d\n",
           100 * false_alarm / all, all, 100 * found / planted, planted }' "$verdicts"
