#!/usr/bin/env bash
# What a GPU should run first: everything that tests without one cannot say. Needs a driver, bash, and the kprof binary; no
# Rust, no CUDA toolkit, no network.
#
#   scripts/gpu-check.sh KPROF FOLDER     KPROF: the binary; FOLDER: a new folder for what it writes, for profiles/
#
# Steps that need what is not there (torch, ncu, compute-sanitizer) are skipped by name. A step that fails is noted and the
# rest goes on; the exit code is the number of failed steps. KPROF_GPU_CHECK_QUICK=1 is for trying the script itself.
set -uo pipefail

kprof=$(realpath "${1:?the kprof binary}")
out=${2:?a folder for the results}
mkdir -p "$out"
out=$(realpath "$out")
here=$(cd "$(dirname "$0")" && pwd)
failed=0
code_of_step=0

models="gpt2 gpt2-medium"
shape="-p 128 -n 64 -b 1"
schedule="-r 10 --warmup 2 --max-time 60s"
prompt=1000
counted=128
room="--context 1024"
if [ -n "${KPROF_GPU_CHECK_QUICK:-}" ]; then
    models=tiny
    shape="-p 9 -n 4 -b 1"
    schedule="-r 1 --warmup 1 --no-telemetry"
    prompt=20
    room="--context 16 --budget 1MiB"
    counted=20
fi

# step NAME COMMAND…: its output in NAME.txt, a line about it in summary.txt.
step() {
    local name=$1 began=$SECONDS code=0
    shift
    printf '== %s\n' "$name"
    (cd "$out" && timeout 900 "$@") >"$out/$name.txt" 2>&1 || code=$?
    code_of_step=$code
    if [ "$code" = 0 ]; then
        printf 'ok      %4d s  %s\n' $((SECONDS - began)) "$name" >>"$out/summary.txt"
    else
        failed=$((failed + 1))
        printf 'FAILED  %4d s  %s: exit code %d: %s\n' $((SECONDS - began)) "$name" "$code" \
            "$(tail -1 "$out/$name.txt" | cut -c1-300)" >>"$out/summary.txt"
        tail -3 "$out/$name.txt"
    fi
}

# try NAME COMMAND…: the same, but what the machine refuses (exit code 5: no library, no permission) is skipped, with its reason.
try() {
    local name=$1
    step "$@"
    if [ "$code_of_step" = 5 ]; then
        failed=$((failed - 1))
        sed -i "s/^FAILED  \(.*  $name: \)exit code 5: /SKIPPED \1/" "$out/summary.txt"
    fi
}

skip() {
    printf 'SKIPPED         %s: %s\n' "$1" "$2" | tee -a "$out/summary.txt"
}

: >"$out/summary.txt"
{
    date -u +%Y-%m-%dT%H:%M:%SZ
    "$kprof" --version
    nvidia-smi -L
} >>"$out/summary.txt" 2>&1

command -v nvidia-smi >/dev/null && step nvidia-smi nvidia-smi -q
step doctor "$kprof" doctor
step devices "$kprof" devices

# Is it right? Every kernel against f64, then whole passes against the CPU, all versions.
step kernels "$kprof" kernels --all
for model in tiny tiny-llama $models; do
    step "agree-$model" "$kprof" kernels --preset "$model"
done

# How fast may it be?
step ceilings "$kprof" ceilings --device cuda --export-json ceilings.json --export-csv ceilings.csv

# How fast is it? Every version, both ways to launch.
for model in $models; do
    for exec in eager graph; do
        run=$model-bf16-$exec
        # shellcheck disable=SC2086
        step "phase-$run" "$kprof" phase --device cuda --preset "$model" --dtype bf16 --exec $exec --version v0-v4 $shape \
            $schedule -q -o "$run.jsonl" --export-json "$run.json" --export-markdown "$run.md"
    done
done
# The same with L2 emptied before every step, launch by launch and as graphs.
for exec in eager graph; do
    # shellcheck disable=SC2086
    step "cold-$exec" "$kprof" phase --device cuda --preset "${models%% *}" --dtype bf16 --exec $exec --version v1-v2 --cache cold \
        $shape $schedule -q -o "cold-$exec.jsonl" --export-markdown "cold-$exec.md"
done
if [ -z "${KPROF_GPU_CHECK_QUICK:-}" ]; then
    # Decode at batch 1 of a model whose weights are far larger than L2, and long contexts, where caches are.
    step phase-qwen2.5-1.5b "$kprof" phase --device cuda --preset qwen2.5-1.5b --dtype bf16 --exec graph --version v1-v2 -p 128 \
        -n 64 -r 10 -q -o qwen2.5-1.5b-bf16-graph.jsonl --export-markdown qwen2.5-1.5b-bf16-graph.md
    step phase-long "$kprof" phase --device cuda --preset llama-2-7b --layers 4 --dtype bf16 --exec graph --version v1-v4 \
        -p 3968 -n 64 -b 8 -r 5 -q -o long-bf16-graph.jsonl --export-markdown long-bf16-graph.md
fi

# How much fits? The budget is what the GPU has free; the driver says when it has no more.
for model in $models; do
    # shellcheck disable=SC2086
    step "capacity-$model" "$kprof" capacity --device cuda --preset "$model" --dtype bf16 --version v0-v4 $room -q \
        -o "capacity-$model.jsonl" --export-markdown "capacity-$model.md"
done

# Products of prompts by cuBLASLt, against f64 and the CPU first, and by our own kernel at the same shapes.
# In f32 the library has FMAs, and our own kernel bfloat16 pieces on tensor cores where these are the faster ones.
gemms=own
try cublaslt "$kprof" kernels --gemm cublaslt --preset tiny,tiny-llama
if [ "$code_of_step" = 0 ]; then gemms="cublaslt own"; fi
for model in $models; do
    for dtype in bf16 f32; do
        for gemm in $gemms; do
            run=prompt-$model-$dtype-$gemm
            # shellcheck disable=SC2086
            step "$run" "$kprof" phase --device cuda --preset "$model" --dtype $dtype --version v1 --gemm $gemm -p $prompt -n 2 \
                $schedule -q -o "$run.jsonl" --export-json "$run.json"
        done
    done
    # shellcheck disable=SC2086
    step "phase-$model-f32" "$kprof" phase --device cuda --preset "$model" --dtype f32 --version v0-v4 $shape $schedule -q \
        -o "$model-f32.jsonl" --export-markdown "$model-f32.md"
done

# Kernels and counters in process.
for model in $models; do
    for counters in kernels cupti; do
        # shellcheck disable=SC2086
        try "$counters-$model" "$kprof" phase --device cuda --preset "$model" --dtype bf16 --version v0-v4 --counters $counters \
            $shape -r 1 --warmup 1 --no-telemetry -q -o "$counters-$model.jsonl"
        if [ "$code_of_step" = 0 ]; then
            step "roofline-$counters-$model" "$kprof" roofline "$counters-$model.jsonl"
        fi
    done
done

# Several GPUs: a rank on each, side by side, as a launcher would start them.
gpus=$("$kprof" devices --json 2>/dev/null | grep -c '"device": "cuda:')
if [ "$gpus" -gt 1 ]; then
    # shellcheck disable=SC2016
    step ranks env gpus="$gpus" kprof="$kprof" args="--preset ${models%% *} --dtype bf16 --version v1 $shape $schedule" bash -c '
        for ((rank = 0; rank < gpus; rank++)); do
            RANK=$rank LOCAL_RANK=$rank WORLD_SIZE=$gpus "$kprof" phase --exec graph $args -q -o ranks.jsonl >"ranks.$rank.txt" 2>&1 &
        done
        wait
        "$kprof" merge ranks.rank*.jsonl -o ranks.jsonl'
else
    skip ranks "$gpus GPU is visible"
fi

# The same in candle, where it was built in.
"$kprof" logits --preset tiny --ids 1 -o /dev/null --device cuda --implementation candle >/dev/null 2>&1
if [ $? = 2 ]; then
    skip candle 'kprof was built without the feature candle-cuda'
else
    for model in $models; do
        # shellcheck disable=SC2086
        step "candle-$model" "$kprof" phase --device cuda --implementation candle --preset "$model" --dtype bf16 --version v1 \
            $shape $schedule -q -o "candle-$model.jsonl"
    done
fi

# The same shapes in PyTorch.
if python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    for model in $models; do
        step "torch-$model" python3 "$here/gpu_torch.py" "$model" "$out/torch-$model.json"
    done
else
    skip torch 'python3 has no torch with CUDA'
fi

# Memory errors and races of the kernels, on their small shapes.
if sanitizer=$(command -v compute-sanitizer); then
    for tool in memcheck racecheck initcheck synccheck; do
        step "sanitizer-$tool" "$sanitizer" --tool "$tool" --error-exitcode 1 "$kprof" kernels
    done
else
    skip sanitizer 'compute-sanitizer is not found'
fi

# Counters of one prefill and one decode step of each version.
if command -v ncu >/dev/null; then
    for model in $models; do
        for version in v0 v1 v2 v3 v4; do
            for stage in prefill decode; do
                try "ncu-$model-$version-$stage" "$kprof" ncu --output "ncu-$model-$version-$stage" -- phase --device cuda \
                    --preset "$model" --dtype bf16 --version "$version" -p $counted -n 3 -r 1 --warmup 1 -q --no-telemetry \
                    --profile-step=$stage -o "ncu-$model-$version-$stage.jsonl"
            done
        done
    done
else
    skip ncu 'Nsight Compute is not found'
fi

printf '\n'
cat "$out/summary.txt"
exit "$failed"
