#!/usr/bin/env bash
# Measures kprof's cpu implementation next to its candle baseline, llama.cpp and PyTorch, interleaved in one run, and writes
# docs/performance.md.
#
#   scripts/compare-peers.sh [--llama-bench PATH] [--python PATH] [--rounds N] [--hogs N] [--no-doc] …
#
# PATH of --llama-bench is a built llama-bench, of --python a Python that has torch; either peer is left out without it.
# Nothing is downloaded, and nothing but the document is left behind. --help has all flags.
set -euo pipefail
cd "$(dirname "$0")/.."
case " $* " in
*" --help "* | *" -h "*) ;;
*) cargo build --release --locked --quiet ;;
esac
exec python3 scripts/peers/compare.py "$@"
