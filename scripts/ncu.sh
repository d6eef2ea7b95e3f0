#!/usr/bin/env bash
# Profiles a program under Nsight Compute with what a roofline needs, and writes a CSV that kprof reads.
#
#   scripts/ncu.sh OUT.csv PROGRAM [ARGS…]         then: kprof roofline OUT.csv
#
# NCU_FLAGS adds flags, e.g. NCU_FLAGS='-k regex:gemm -c 20'. The few metrics need fewer replays than --set full:
# time, DRAM bytes, FLOPs of the vector units by precision; the tensor metrics differ by chip and are asked for by
# compute capability (Nsight Compute's own roofline sections).
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0"
    exit 2
fi
out=$1
shift
command -v ncu >/dev/null || { echo 'ncu is not on the PATH: install Nsight Compute, or add its folder' >&2; exit 1; }

metrics=gpu__time_duration.sum,dram__bytes.sum
for precision in d f h; do
    for kind in add mul fma; do
        metrics+=,sm__sass_thread_inst_executed_op_$precision${kind}_pred_on.sum
    done
done
capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 || true)
tensor() {
    for type in "$@"; do metrics+=,sm__ops_path_tensor_src_$type.sum; done
}
case $capability in
    7.0) tensor fp16_dst_fp16 fp16_dst_fp32 ;;
    7.5) tensor fp16_dst_fp16 fp16_bf16_tf32_dst_fp32 ;;
    8.*) for s in off on; do
            tensor bf16_dst_fp32_sparsity_$s fp16_dst_fp16_sparsity_$s fp16_dst_fp32_sparsity_$s tf32_dst_fp32_sparsity_$s
            [ "$capability" = 8.9 ] && tensor fp8_sparsity_$s
         done
         [ "$capability" = 8.0 ] && tensor fp64 ;;
    9.0) tensor bf16_dst_fp32 fp16 tf32_dst_fp32 fp64 fp8_sparsity_off fp8_sparsity_on ;;
    10.*) tensor bf16 fp16 tf32 fp64 fp4_dst_fp32 fp4_fp6_fp8_dst_fp16 fp4_fp6_fp8_dst_fp32 ;;
    *) echo "compute capability '${capability:-unknown}': no tensor metrics are asked for; kprof will say so" >&2 ;;
esac

# shellcheck disable=SC2086 # NCU_FLAGS is meant to be split.
ncu --csv --page raw --print-units base --clock-control none --log-file "$out" --metrics "$metrics" ${NCU_FLAGS:-} "$@"
# ncu exits with 0 when nothing was profiled, so its log is read.
if grep -q -e '^==ERROR==' -e 'No kernels were profiled' "$out"; then
    grep -e '^==ERROR==' -e '^==WARNING==' "$out" >&2
    exit 1
fi
echo "wrote $out; now: kprof roofline $out" >&2
