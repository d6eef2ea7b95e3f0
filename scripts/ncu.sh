#!/usr/bin/env bash
# Profiles a program under Nsight Compute with what a roofline needs, by hand: what `kprof ncu` asks for.
#
#   scripts/ncu.sh OUT.ncu-rep PROGRAM [ARGS…]     then: kprof roofline OUT.ncu-rep
#   scripts/ncu.sh OUT.csv PROGRAM [ARGS…]         the same as a table
#
# NCU_FLAGS adds flags, e.g. NCU_FLAGS='-k regex:gemm -c 20'. CHIP=9.0 says the compute capability where nvidia-smi
# does not; NO_CHECK=1 goes on where counters seem to be forbidden. The metrics are those of `kprof ncu --metrics
# roofline`; a test holds the two together. Exit codes are those of `kprof ncu`, too: 1 where the program failed or
# nothing was profiled, 5 where the machine refuses.
set -euo pipefail
if [ $# -lt 2 ]; then
    sed -n '2,10s/^# \{0,1\}//p' "$0"
    exit 2
fi
out=$1
shift
command -v ncu >/dev/null || { echo 'ncu is not on the PATH: install Nsight Compute, or add its folder' >&2; exit 5; }

# The driver's option that keeps counters for administrators: those have CAP_SYS_ADMIN, bit 21.
if [ -z "${NO_CHECK:-}" ] && grep -qs 'RmProfilingAdminOnly: 1' /proc/driver/nvidia/params &&
    ! (((0x$(sed -n 's/^CapEff:\s*//p' /proc/self/status) >> 21) & 1)); then
    echo 'the driver gives counters to administrators only: use sudo, or NVreg_RestrictProfilingToAdminUsers=0' >&2
    exit 5
fi

capability=${CHIP:-$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 || true)}
# Integrated GPUs do not count DRAM.
case $capability in
    7.2|8.7|10.1|11.*|12.1) dram= metrics=gpu__time_duration.sum,lts__t_bytes.sum ;;
    *) dram=yes metrics=gpu__time_duration.sum,dram__bytes.sum ;;
esac
for precision in d f h; do
    for kind in add mul fma; do
        metrics+=,sm__sass_thread_inst_executed_op_$precision${kind}_pred_on.sum
    done
done
tensor() {
    for type in "$@"; do metrics+=,sm__ops_path_tensor_src_$type.sum; done
}
ampere='bf16_dst_fp32 fp16_dst_fp16 fp16_dst_fp32 tf32_dst_fp32'
# shellcheck disable=SC2086 # Lists of words.
case $capability in
    7.0|7.2) tensor fp16_dst_fp16 fp16_dst_fp32 ;;
    7.5) tensor fp16_dst_fp16 fp16_bf16_tf32_dst_fp32 ;;
    8.0) tensor $ampere fp64 ;;
    8.6|8.7) tensor $ampere ;;
    8.9) tensor $ampere fp8 ;;
    9.0) tensor bf16_dst_fp32 fp16 tf32_dst_fp32 fp64 fp8 ;;
    10.0|10.1|11.*) tensor $ampere fp64 fp4_dst_fp32 fp4_fp6_fp8_dst_fp16 fp4_fp6_fp8_dst_fp32 ;;
    10.3) tensor $ampere fp64 fp8_dst_fp16 fp8_dst_fp32 fp4_dst_fp32 fp4_fp6_dst_fp16 fp4_fp6_dst_fp32 ;;
    12.*) tensor $ampere fp8_dst_fp16 fp8_dst_fp32 fp4_dst_fp32 fp4_fp6_dst_fp16 fp4_fp6_dst_fp32 ;;
    *) echo "compute capability '${capability:-unknown}': no tensor metrics are asked for; kprof will say so" >&2 ;;
esac
# What the chip could do at the clock that it had.
metrics+=,sm__cycles_elapsed.avg.per_second,sm__sass_thread_inst_executed_op_ffma_pred_on.sum.peak_sustained
if [ -n "$dram" ]; then metrics+=,dram__cycles_elapsed.avg.per_second,dram__bytes.sum.peak_sustained; fi

case $out in
    *.csv) log=$out; to=(--csv --page raw --print-units base --log-file "$out") ;;
    *) log=${out%.ncu-rep}.log; to=(--force-overwrite --export "$out" --log-file "$log") ;;
esac
said=$(mktemp)
trap 'rm -f "$said"' EXIT
code=0
# stderr goes through tee, stdout past it.
{
    # shellcheck disable=SC2086 # NCU_FLAGS is meant to be split.
    ncu "${to[@]}" --target-processes all --clock-control none --nvtx --metrics "$metrics" ${NCU_FLAGS:-} "$@" \
        2>&1 >&3 3>&- | tee "$said" >&2
} 3>&1 || code=$?
# ncu exits with 0 when nothing was profiled, and says some things on stderr alone, so both are read.
touch "$log"
refused='ERR_NVGPUCTRPERM|Profiling not allowed on VGpu|failed to connect to the CUDA driver|driver resource was unavailable'
if grep -qE "$refused" "$log" "$said"; then
    grep -hE "$refused" "$log" "$said" >&2
    exit 5
fi
if [ $code -ne 0 ] || grep -q -e '^==ERROR==' -e 'No kernels were profiled' "$log"; then
    grep -e '^==ERROR==' -e '^==WARNING==' "$log" >&2 || true
    exit 1
fi
echo "wrote $out; now: kprof roofline $out" >&2
