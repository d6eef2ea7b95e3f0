// What every kernel is written in: element types and their conversions, loads of eight elements, reductions, and the
// few instructions that CUDA C++ has no name for. No CUDA header is needed, so that NVRTC alone compiles all of it.
//
// Each kernel takes one struct of arguments by value: `KERNEL(name, threads, Args, body)` makes the entry point, and in
// emulation (emulate.h, which defines KPROF_EMULATED) the line of a table from which the stand-in driver launches it.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char i8;

struct bf16 {
    u16 bits;
};
struct f16 {
    u16 bits;
};

#ifdef KPROF_EMULATED
#include "emulate.h"
#else

#define DEVICE __device__ __forceinline__
#define DEVICE_CALLED __device__ __noinline__
#define SHARED __shared__
#define KERNEL(name, threads, Args, body)                                                                              \
    extern "C" __global__ void __launch_bounds__(threads) name(const Args args) { body(args); }

extern __shared__ __align__(16) u8 dynamic_shared[];
DEVICE u8* shared_memory() { return dynamic_shared; }

DEVICE float to_float(float x) { return x; }
DEVICE float to_float(bf16 x) { return __uint_as_float((u32)x.bits << 16); }
DEVICE float to_float(f16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}

DEVICE void round_to(float& y, float x) { y = x; }
DEVICE void round_to(bf16& y, float x) { asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x)); }
DEVICE void round_to(f16& y, float x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x)); }

DEVICE u32 pack(bf16, float low, float high) {
    u32 both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}
DEVICE u32 pack(f16, float low, float high) {
    u32 both;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

// Weights are read once: they pass L1 by, so that what is read again stays there.
DEVICE uint4 load_streamed(const void* p) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p));
    return v;
}

DEVICE u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

// 16 bytes from global to shared memory without a register between; zeros where `valid` is false.
DEVICE void copy_async(void* to, const void* from, bool valid) {
    u32 bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes));
}
DEVICE void copy_commit() { asm volatile("cp.async.commit_group;"); }
template <int N>
DEVICE void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N));
}

// Four 8 x 8 matrices of 16-bit elements; thread i names row i % 8 of matrix i / 8.
DEVICE void load_matrices(u32 (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row)));
}
DEVICE void load_matrices_transposed(u32 (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row)));
}

// d += a b, 16 x 8 from 16 x 16 and 16 x 8, sums in f32 (PTX ISA, "mma.m16n8k16", for the fragments).
DEVICE void multiply_add(bf16, float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
DEVICE void multiply_add(f16, float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// a b + c of two 16-bit numbers at once.
DEVICE u32 fma_pair(f16, u32 a, u32 b, u32 c) {
    u32 d;
    asm volatile("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}
DEVICE u32 fma_pair(bf16, u32 a, u32 b, u32 c) {
    u32 d;
    asm volatile("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
    return d;
}

DEVICE float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#define INFINITY_F __int_as_float(0x7f800000)
#endif

// 2^x = e^(x / ln 2): scores are multiplied by this once, and then every exponential is one instruction.
#define LOG2_E 1.44269504088896340736f

// Before a loop over an array that must stay in registers: where such an array is indexed by what is known at run time alone,
// all of it lives in memory. scripts/kernels.sh fails where one does.
#define UNROLL _Pragma("unroll")

// Before a loop that is not to be unrolled, or not as a whole: for less code, or fewer registers.
#define AS_A_LOOP _Pragma("unroll 1")
#define UNROLL_TWICE _Pragma("unroll 2")

#define FULL_WARP 0xffffffffu

template <class T>
DEVICE T rounded(float x) {
    T y;
    round_to(y, x);
    return y;
}

DEVICE void unpack(bf16, u32 both, float& low, float& high) {
    low = to_float(bf16{(u16)both});
    high = to_float(bf16{(u16)(both >> 16)});
}
DEVICE void unpack(f16, u32 both, float& low, float& high) {
    low = to_float(f16{(u16)both});
    high = to_float(f16{(u16)(both >> 16)});
}

// Eight neighbouring elements as they lie in memory: 16 bytes, 32 of f32, 8 of codes.
template <class T>
struct Eight {
    uint4 v;
};
template <>
struct Eight<float> {
    uint4 v, w;
};
template <>
struct Eight<i8> {
    uint2 v;
};

template <class T>
DEVICE void load(Eight<T>& e, const T* p) {
    e.v = *(const uint4*)p;
}
DEVICE void load(Eight<float>& e, const float* p) {
    e.v = ((const uint4*)p)[0];
    e.w = ((const uint4*)p)[1];
}
DEVICE void load(Eight<i8>& e, const i8* p) { e.v = *(const uint2*)p; }

template <class T>
DEVICE void load_once(Eight<T>& e, const T* p) {
    e.v = load_streamed(p);
}
DEVICE void load_once(Eight<float>& e, const float* p) {
    e.v = load_streamed(p);
    e.w = load_streamed(p + 4);
}

template <class T>
DEVICE void clear(Eight<T>& e) {
    e.v = make_uint4(0, 0, 0, 0);
}
DEVICE void clear(Eight<float>& e) { e.v = e.w = make_uint4(0, 0, 0, 0); }
DEVICE void clear(Eight<i8>& e) { e.v = make_uint2(0, 0); }

template <class T>
DEVICE void widen(const Eight<T>& e, float (&x)[8]) {
    unpack(T(), e.v.x, x[0], x[1]);
    unpack(T(), e.v.y, x[2], x[3]);
    unpack(T(), e.v.z, x[4], x[5]);
    unpack(T(), e.v.w, x[6], x[7]);
}
DEVICE void widen(const Eight<float>& e, float (&x)[8]) {
    x[0] = __uint_as_float(e.v.x), x[1] = __uint_as_float(e.v.y);
    x[2] = __uint_as_float(e.v.z), x[3] = __uint_as_float(e.v.w);
    x[4] = __uint_as_float(e.w.x), x[5] = __uint_as_float(e.w.y);
    x[6] = __uint_as_float(e.w.z), x[7] = __uint_as_float(e.w.w);
}
DEVICE void widen(const Eight<i8>& e, float (&x)[8]) {
    for (int i = 0; i < 4; i++) {
        x[i] = (float)(i8)(e.v.x >> (8 * i));
        x[i + 4] = (float)(i8)(e.v.y >> (8 * i));
    }
}

template <class T>
DEVICE void narrow(Eight<T>& e, const float (&x)[8]) {
    e.v = make_uint4(pack(T(), x[0], x[1]), pack(T(), x[2], x[3]), pack(T(), x[4], x[5]), pack(T(), x[6], x[7]));
}
DEVICE void narrow(Eight<float>& e, const float (&x)[8]) {
    e.v = make_uint4(__float_as_uint(x[0]), __float_as_uint(x[1]), __float_as_uint(x[2]), __float_as_uint(x[3]));
    e.w = make_uint4(__float_as_uint(x[4]), __float_as_uint(x[5]), __float_as_uint(x[6]), __float_as_uint(x[7]));
}

template <class T>
DEVICE void store(T* p, const Eight<T>& e) {
    *(uint4*)p = e.v;
}
DEVICE void store(float* p, const Eight<float>& e) {
    ((uint4*)p)[0] = e.v;
    ((uint4*)p)[1] = e.w;
}

template <class T>
DEVICE void load_wide(const T* p, float (&x)[8]) {
    Eight<T> e;
    load(e, p);
    widen(e, x);
}
template <class T>
DEVICE void store_rounded(T* p, const float (&x)[8]) {
    Eight<T> e;
    narrow(e, x);
    store(p, e);
}

DEVICE float warp_sum(float x) {
    for (int o = 16; o > 0; o >>= 1) x += __shfl_xor_sync(FULL_WARP, x, o);
    return x;
}
DEVICE float warp_max(float x) {
    for (int o = 16; o > 0; o >>= 1) x = fmaxf(x, __shfl_xor_sync(FULL_WARP, x, o));
    return x;
}

// The sum over a block of up to 32 warps, in every thread, in an order that depends on the block's size alone.
DEVICE float block_sum(float x) {
    SHARED float parts[32];
    x = warp_sum(x);
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = (blockDim.x + 31) / 32;
    __syncthreads();
    if (lane == 0) parts[warp] = x;
    __syncthreads();
    return warp_sum(lane < warps ? parts[lane] : 0.0f);
}

// Kinds as the host numbers them.
enum { NORM_NONE = 0, NORM_LAYER = 1, NORM_RMS = 2 };
enum { ACT_NONE = 0, ACT_GELU_TANH = 1, ACT_GELU = 2, ACT_SILU = 3, ACT_RELU = 4 };

// GELU by tanh (Hendrycks and Gimpel 2016), by the error function, SiLU, ReLU. A function that is called: epilogues run once
// per result, and inlined into each of them it would be half of all code.
DEVICE_CALLED float activate(float x, int kind) {
    switch (kind) {
        case ACT_GELU_TANH: return 0.5f * x * (1.0f + tanhf(0.7978845608028654f * x * (1.0f + 0.044715f * x * x)));
        case ACT_GELU: return 0.5f * x * (1.0f + erff(x * 0.7071067811865475f));
        case ACT_SILU: return x / (1.0f + expf(-x));
        case ACT_RELU: return fmaxf(x, 0.0f);
        default: return x;
    }
}

// Mean and 1 / sqrt(variance + eps) of a row, by the whole block; the mean of an RMS norm is 0.
// Two passes, as the reference makes them: E[x^2] - E[x]^2 would cancel.
template <class T>
DEVICE float2 row_moments(const T* row, int width, int kind, float eps) {
    float mean = 0.0f;
    if (kind == NORM_LAYER) {
        float sum = 0.0f;
        for (int c = threadIdx.x * 8; c < width; c += blockDim.x * 8) {
            float x[8];
            load_wide(row + c, x);
            for (int i = 0; i < 8; i++) sum += x[i];
        }
        mean = block_sum(sum) / width;
    }
    float squares = 0.0f;
    for (int c = threadIdx.x * 8; c < width; c += blockDim.x * 8) {
        float x[8];
        load_wide(row + c, x);
        for (int i = 0; i < 8; i++) squares += (x[i] - mean) * (x[i] - mean);
    }
    return make_float2(mean, 1.0f / sqrtf(block_sum(squares) / width + eps));
}

// Writes the norm of a row to `to`, in the storage type; `bias` may be absent.
template <class T>
DEVICE void normalise(const T* row, T* to, const T* gain, const T* bias, int width, int kind, float eps) {
    float2 moments = row_moments(row, width, kind, eps);
    for (int c = threadIdx.x * 8; c < width; c += blockDim.x * 8) {
        float x[8], g[8], b[8] = {0, 0, 0, 0, 0, 0, 0, 0};
        load_wide(row + c, x);
        load_wide(gain + c, g);
        if (bias) load_wide(bias + c, b);
        for (int i = 0; i < 8; i++) x[i] = (x[i] - moments.x) * moments.y * g[i] + b[i];
        store_rounded(to + c, x);
    }
}
