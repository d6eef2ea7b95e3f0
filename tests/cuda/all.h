// Every kernel of the project in one file, for the CPU.
#define KPROF_EMULATED
#include "device.cuh"
#include "argmax.cu"
#include "attention_decode.cu"
#include "attention_prefill.cu"
#include "cache.cu"
#include "embed.cu"
#include "gemm.cu"
#include "gemv.cu"
#include "norm.cu"
#include "pointwise.cu"
#include "probes.cu"
