// The index of the largest logit of each row; of equal ones the first.
//
// Floor, R rows of V logits of b bytes: no FLOPs (comparisons count nothing); reads R V b, writes 4 R.
//
// Several blocks share a row, as one multiprocessor alone would need longer for a vocabulary than the head itself. They
// meet in one 64-bit maximum per row: the logit in an order that integers have, above the complement of its index. The
// block that arrives last writes the result and leaves the scratch as it was.
#include "device.cuh"

struct ArgmaxArgs {
    const void* logits;
    int* ids;
    u64* best;     // per row: zero before and after
    u32* arrived;  // per row: zero before and after
    int vocab;
    int reserved;
};

// Larger floats as larger integers, whatever the sign.
DEVICE u32 ordered(float x) {
    const u32 bits = __float_as_uint(x);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

template <class T>
DEVICE void argmax(const ArgmaxArgs& a) {
    SHARED u64 parts[32];
    const int row = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const T* logits = (const T*)a.logits + (size_t)row * a.vocab;
    u64 best = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < a.vocab; i += gridDim.x * blockDim.x) {
        const u64 key = (u64)ordered(to_float(logits[i])) << 32 | (0xffffffffu - (u32)i);
        best = key > best ? key : best;
    }
    for (int o = 16; o > 0; o >>= 1) {
        const u64 other = __shfl_xor_sync(FULL_WARP, best, o);
        best = other > best ? other : best;
    }
    if (lane == 0) parts[warp] = best;
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int w = 1; w < (int)blockDim.x / 32; w++) best = parts[w] > best ? parts[w] : best;
    atomicMax(a.best + row, best);
    __threadfence();
    if (atomicAdd(a.arrived + row, 1u) + 1 != gridDim.x) return;
    __threadfence();
    best = atomicExch(a.best + row, 0ull);
    a.ids[row] = (int)(0xffffffffu - (u32)best);
    a.arrived[row] = 0;
}

KERNEL(kprof_argmax_f32, 256, ArgmaxArgs, argmax<float>)
KERNEL(kprof_argmax_bf16, 256, ArgmaxArgs, argmax<bf16>)
KERNEL(kprof_argmax_f16, 256, ArgmaxArgs, argmax<f16>)
