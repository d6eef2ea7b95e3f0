// Probes of what the device can do: bandwidth (read, copy, triad; of DRAM or, over a small buffer again and again, of L2),
// FMAs per type, tensor cores per type, and nothing at all, for what a launch takes.
//
// Each kernel's bytes or FLOPs are exact: read n x 16 B per pass, copy twice that, triad three times; FMA probes 2 x
// chains x rounds per thread (4 for pairs), tensor probes 4096 x chains x rounds per warp.
#include "device.cuh"

struct ProbeArgs {
    uint4* a;
    const uint4* b;
    const uint4* c;
    float* out;
    u64 vectors;  // of 16 bytes
    int passes;
    int rounds;
    u32 operand;  // 0 at run time: the compiler cannot know
    int reserved;
};

#define PROBE_UNROLL 4

// Sums all it reads, so that nothing is read for nothing; writes only what cannot be.
DEVICE void probe_read(const ProbeArgs& p) {
    u32 sum = 0;
    const u64 hop = (u64)gridDim.x * blockDim.x;
    for (int pass = 0; pass < p.passes; pass++) {
        for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < p.vectors; i += hop * PROBE_UNROLL) {
            uint4 v[PROBE_UNROLL];
            for (int u = 0; u < PROBE_UNROLL; u++) v[u] = load_streamed(p.b + (i + u * hop < p.vectors ? i + u * hop : i));
            for (int u = 0; u < PROBE_UNROLL; u++) sum += v[u].x ^ v[u].y ^ v[u].z ^ v[u].w;
        }
    }
    if (sum == 0x9e3779b9u && p.operand) p.out[0] = (float)sum;
}

DEVICE void probe_copy(const ProbeArgs& p) {
    const u64 hop = (u64)gridDim.x * blockDim.x;
    for (int pass = 0; pass < p.passes; pass++) {
        for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < p.vectors; i += hop * PROBE_UNROLL) {
            uint4 v[PROBE_UNROLL];
            for (int u = 0; u < PROBE_UNROLL; u++)
                if (i + u * hop < p.vectors) v[u] = load_streamed(p.b + i + u * hop);
            for (int u = 0; u < PROBE_UNROLL; u++)
                if (i + u * hop < p.vectors) p.a[i + u * hop] = v[u];
        }
    }
}

// a = b + 3 c (McCalpin's STREAM).
DEVICE void probe_triad(const ProbeArgs& p) {
    const u64 hop = (u64)gridDim.x * blockDim.x;
    for (int pass = 0; pass < p.passes; pass++) {
        for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < p.vectors; i += hop * 2) {
            uint4 b[2], c[2];
            for (int u = 0; u < 2; u++)
                if (i + u * hop < p.vectors) {
                    b[u] = load_streamed(p.b + i + u * hop);
                    c[u] = load_streamed(p.c + i + u * hop);
                }
            for (int u = 0; u < 2; u++)
                if (i + u * hop < p.vectors) {
                    const float x = __uint_as_float(b[u].x) + 3.0f * __uint_as_float(c[u].x);
                    const float y = __uint_as_float(b[u].y) + 3.0f * __uint_as_float(c[u].y);
                    const float z = __uint_as_float(b[u].z) + 3.0f * __uint_as_float(c[u].z);
                    const float w = __uint_as_float(b[u].w) + 3.0f * __uint_as_float(c[u].w);
                    p.a[i + u * hop] =
                        make_uint4(__float_as_uint(x), __float_as_uint(y), __float_as_uint(z), __float_as_uint(w));
                }
        }
    }
}

// Eight chains that do not wait for each other: more than an FMA's latency of four cycles needs.
#define PROBE_CHAINS 8

DEVICE void probe_fma_f32(const ProbeArgs& p) {
    float x[PROBE_CHAINS];
    const float m = __uint_as_float(p.operand), c = (float)threadIdx.x;
    for (int i = 0; i < PROBE_CHAINS; i++) x[i] = c + i;
    for (int r = 0; r < p.rounds; r++)
        for (int i = 0; i < PROBE_CHAINS; i++) x[i] = x[i] * m + c;
    float sum = 0.0f;
    for (int i = 0; i < PROBE_CHAINS; i++) sum += x[i];
    if (p.operand) p.out[threadIdx.x] = sum;
}

template <class T>
DEVICE void probe_fma_pairs(const ProbeArgs& p) {
    u32 x[PROBE_CHAINS];
    for (int i = 0; i < PROBE_CHAINS; i++) x[i] = pack(T(), (float)i, (float)(threadIdx.x % 32));
    const u32 m = p.operand, c = pack(T(), 1.0f, 2.0f);
    for (int r = 0; r < p.rounds; r++)
        for (int i = 0; i < PROBE_CHAINS; i++) x[i] = fma_pair(T(), x[i], m, c);
    u32 sum = 0;
    for (int i = 0; i < PROBE_CHAINS; i++) sum ^= x[i];
    if (p.operand) p.out[threadIdx.x] = (float)sum;
}

template <class T>
DEVICE void probe_tensor(const ProbeArgs& p) {
    float d[PROBE_CHAINS][4];
    const u32 one = p.operand, a[4] = {one, one, one, one};
    for (int i = 0; i < PROBE_CHAINS; i++)
        for (int e = 0; e < 4; e++) d[i][e] = 0.0f;
    for (int r = 0; r < p.rounds; r++)
        for (int i = 0; i < PROBE_CHAINS; i++) multiply_add(T(), d[i], a, one, one);
    float sum = 0.0f;
    for (int i = 0; i < PROBE_CHAINS; i++)
        for (int e = 0; e < 4; e++) sum += d[i][e];
    if (p.operand) p.out[threadIdx.x] = sum;
}

DEVICE void probe_nothing(const ProbeArgs& p) {}

KERNEL(kprof_probe_read, 256, ProbeArgs, probe_read)
KERNEL(kprof_probe_copy, 256, ProbeArgs, probe_copy)
KERNEL(kprof_probe_triad, 256, ProbeArgs, probe_triad)
KERNEL(kprof_probe_fma_f32, 256, ProbeArgs, probe_fma_f32)
KERNEL(kprof_probe_fma_bf16, 256, ProbeArgs, probe_fma_pairs<bf16>)
KERNEL(kprof_probe_fma_f16, 256, ProbeArgs, probe_fma_pairs<f16>)
KERNEL(kprof_probe_tensor_bf16, 256, ProbeArgs, probe_tensor<bf16>)
KERNEL(kprof_probe_tensor_f16, 256, ProbeArgs, probe_tensor<f16>)
KERNEL(kprof_probe_nothing, 32, ProbeArgs, probe_nothing)
