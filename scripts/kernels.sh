#!/usr/bin/env bash
# Makes kernels/ptx/*.ptx from kernels/*.cu, and assembles them for every architecture that is supported.
#
#   scripts/kernels.sh           writes kernels/ptx
#   scripts/kernels.sh --check   fails where what is committed differs from what the sources give
#
# No CUDA is installed: the compiler (NVRTC) and the assembler come as Python wheels into a virtual environment under
# target/. Where that cannot be, for want of Python or a network, the script says so and changes nothing.
# PTX is for compute capability 8.0 and CUDA 12.0, so that any driver from 525.60 on takes it (its compiler must not be newer
# than the oldest driver that is to work).
set -euo pipefail
cd "$(dirname "$0")/.."

version=12.0.140
folder=target/kernels-$version
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

skip() {
    echo "SKIPPED: kernels: $1"
    exit 0
}

if [ ! -x "$folder/bin/python" ] || [ ! -e "$folder/complete" ]; then
    command -v python3 >/dev/null || skip 'python3 is not installed'
    python3 -m venv "$folder" >"$out/log" 2>&1 || skip 'python3 makes no virtual environment'
    "$folder/bin/pip" install --quiet "nvidia-cuda-nvrtc-cu12==$version" "nvidia-cuda-nvcc-cu12==$version" \
        >"$out/log" 2>&1 || skip "the CUDA $version wheels cannot be had: $(tail -1 "$out/log")"
    touch "$folder/complete"
fi
nvidia=$(echo "$folder"/lib/python3.*/site-packages/nvidia)

"$folder/bin/python" scripts/kernels.py "$nvidia/cuda_nvrtc/lib/libnvrtc.so.12" kernels "$out/ptx" compute_80

# An array of registers that is indexed by what is only known at run time lives in memory, all of it: no kernel wants that.
if grep -l 'ld\.local' "$out"/ptx/*.ptx; then
    echo 'these keep arrays in local memory: see UNROLL in kernels/device.cuh' >&2
    exit 1
fi
for ptx in "$out"/ptx/*.ptx; do
    for arch in sm_80 sm_86 sm_89 sm_90; do
        "$nvidia/cuda_nvcc/bin/ptxas" --gpu-name "$arch" --output-file "$out/cubin" "$ptx"
    done
done
echo "assembled for sm_80, sm_86, sm_89, sm_90: $(ls "$out"/ptx | wc -l) files"

if [ "${1:-}" = --check ]; then
    diff --recursive --brief kernels/ptx "$out/ptx" || {
        echo 'kernels/ptx is not what kernels/*.cu gives: run scripts/kernels.sh and commit' >&2
        exit 1
    }
    echo 'kernels/ptx is what the sources give'
else
    rm -rf kernels/ptx
    mkdir kernels/ptx
    cp "$out"/ptx/*.ptx kernels/ptx/
fi
