#!/usr/bin/env bash
# Holds what kprof knows of cuBLASLt and CUPTI (names, values, layouts: src/backend/cuda/blas, src/backend/cuda/cupti) against
# NVIDIA's own headers and libraries, of several versions. By hand, when a new one appears: about 1.5 GB are downloaded as
# Python wheels into target/, of which nothing is kept in the project. Needs python3, g++, nm and a network.
#
#   scripts/cuda-headers.sh             every version below
#   scripts/cuda-headers.sh --cupti     CUPTI alone, which is small
set -euo pipefail
cd "$(dirname "$0")/.."

root=target/cuda-headers
mkdir -p "$root"
failed=0

# wheel NAME==VERSION: unpacks it once, and prints where.
wheel() {
    local folder=$root/${1//[=]/-}
    if [ ! -e "$folder/complete" ]; then
        rm -rf "$folder"
        python3 -m pip install --quiet --root-user-action=ignore --no-deps --only-binary=:all: --target "$folder" "$1" >&2
        touch "$folder/complete"
    fi
    echo "$folder"
}

# What the headers themselves include: the driver's API, and annotations of CUDA's compiler.
common() {
    local folder
    for name in "$@"; do
        folder=$(wheel "$name")
        find "$folder/nvidia" -mindepth 2 -maxdepth 2 -name include -printf '-I%p '
    done
}
compiler=$(common nvidia-cuda-nvcc-cu12==12.8.93 nvidia-cuda-cccl-cu12==12.8.90)
of_12=$(common nvidia-cuda-runtime-cu12==12.8.90)
of_13=$(common nvidia-cuda-runtime==13.0.96)

# check NAME==VERSION LIBRARY SOURCES FLAGS…: values and layouts by headers.cpp, names by what the library exports.
check() {
    local name=$1 library=$2 sources=$3 folder include lacks driver=$of_12
    case $1 in *==13.*) driver=$of_13 ;; esac
    shift 3
    folder=$(wheel "$name")
    include=$(dirname "$(find "$folder" -name cublasLt.h -o -name cupti_result.h | head -1)")
    # shellcheck disable=SC2086
    g++ -w -fpermissive "$@" "-I$include" $driver $compiler tests/cuda/headers.cpp -o "$root/headers"
    printf '%s: ' "$name"
    "$root/headers" || failed=1
    nm -D --defined-only "$(find "$folder" -name "$library*" | head -1)" | awk '{ sub(/@.*/, "", $3); print $3 }' | sort >"$root/exports"
    # shellcheck disable=SC2086
    lacks=$(grep -ohE '^        (cublasLt|cupti)[A-Za-z]+\(' $sources | tr -d ' (' | sort -u | comm -23 - "$root/exports")
    [ -z "$lacks" ] && return
    case "$*" in
        *-DRANGES* | *-DCUBLASLT*)
            # shellcheck disable=SC2086
            printf '  the library has no %s\n' $lacks
            failed=1
            ;;
        *) echo "  $(wc -w <<<"$lacks") functions came later" ;;
    esac
}

cupti=src/backend/cuda/cupti/sys.rs
for version in cu12==12.0.146 cu12==12.4.127 cu12==12.6.80 cu12==12.8.90 cu12==12.9.79 ==13.0.85 ==13.5.25; do
    name=nvidia-cuda-cupti-$version
    name=${name/-==/==}
    include=$(dirname "$(find "$(wheel "$name")" -name cupti_result.h)")
    kernel=$(grep -ohE 'CUpti_ActivityKernel[0-9]+;' "$include"/cupti_activity*.h | tr -d ';' | sort -V | tail -1)
    ranges=
    [ -e "$include/cupti_range_profiler.h" ] && ranges=-DRANGES
    # shellcheck disable=SC2086
    check "$name" libcupti.so $cupti -DCUPTI "-DKERNEL=$kernel" $ranges
done
if [ "${1:-}" != --cupti ]; then
    for name in nvidia-cublas-cu12==12.8.4.1 nvidia-cublas==13.10.0.20; do
        check "$name" libcublasLt.so src/backend/cuda/blas/library.rs -DCUBLASLT
    done
fi
exit "$failed"
