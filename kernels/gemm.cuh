// What both sources of products of many rows share: arguments, which weights a block takes, what stands behind a product.
#pragma once
#include "device.cuh"

struct GemmArgs {
    const void* x;         // [rows, inputs]
    const void* weight;    // [outputs, inputs]
    const void* bias;      // may be null
    const void* residual;  // may be null: [rows, outputs], added last
    void* y;
    float* partial;  // where splits > 1: [tile][split][elements of a tile]
    u32* arrived;    // per tile: zero before and after
    int rows;
    int inputs;
    int outputs;  // rows of the weights; a gate writes half as many
    int activation;
    int gate;  // whether output n is activation(n) x (n + outputs / 2)
    int splits;
};

// The row of the weights in row `r` of a block's tile. For a gate, every other eight rows are those of the second half,
// so that a thread ends up with both factors of its results.
template <int BN>
DEVICE int weight_row(const GemmArgs& a, int r) {
    if (!a.gate) return blockIdx.y * BN + r;
    const int results = a.outputs / 2, n = blockIdx.y * (BN / 2) + r / 16 * 8 + r % 8;
    return n >= results ? a.outputs : (r / 8 % 2) * results + n;
}

// One result and what stands after the product.
template <class T>
DEVICE void gemm_store(const GemmArgs& a, int m, int n, float r) {
    if (m >= a.rows || n >= a.outputs) return;
    const size_t at = (size_t)m * a.outputs + n;
    if (a.bias) r += to_float(((const T*)a.bias)[n]);
    r = activate(r, a.activation);
    if (a.residual) r += to_float(((const T*)a.residual)[at]);
    ((T*)a.y)[at] = rounded<T>(r);
}

template <class T>
DEVICE void gemm_store_gated(const GemmArgs& a, int m, int n, float gate, float up) {
    const int results = a.outputs / 2;
    if (m >= a.rows || n >= results) return;
    if (a.bias) {
        gate += to_float(((const T*)a.bias)[n]);
        up += to_float(((const T*)a.bias)[results + n]);
    }
    ((T*)a.y)[(size_t)m * results + n] = rounded<T>(activate(gate, a.activation) * up);
}

// Inputs are cut into parts for small tiles alone: large ones are taken where they fill the chip.
#define GEMM_JOINS(tile) ((tile) == 64)

// Leaves a block's sums where the others of its tile find them; true in the block that arrives last, with the sums of all.
// `is_last` is shared memory that nobody reads any more once all have come to the barrier.
template <int I, int J, int THREADS>
DEVICE bool gemm_join(const GemmArgs& a, float (&acc)[I][J][4], int* is_last) {
    const int tile = blockIdx.y * gridDim.x + blockIdx.x;
    // Element by element of all threads, so that neighbours write side by side.
    float* partial = a.partial + (size_t)tile * a.splits * (I * J * 4 * THREADS) + threadIdx.x;
    float* mine = partial + (size_t)blockIdx.z * (I * J * 4 * THREADS);
    UNROLL
    for (int i = 0; i < I; i++)
        UNROLL
        for (int j = 0; j < J; j++)
            UNROLL
            for (int e = 0; e < 4; e++) mine[((i * J + j) * 4 + e) * THREADS] = acc[i][j][e];
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) *is_last = atomicAdd(a.arrived + tile, 1u) + 1 == (u32)a.splits;
    __syncthreads();
    if (!*is_last) return false;
    __threadfence();
    UNROLL
    for (int i = 0; i < I; i++)
        UNROLL
        for (int j = 0; j < J; j++)
            UNROLL
            for (int e = 0; e < 4; e++) {
                float sum = 0.0f;
                for (int s = 0; s < a.splits; s++)
                    sum += __ldcg(partial + ((size_t)s * (I * J * 4) + (i * J + j) * 4 + e) * THREADS);
                acc[i][j][e] = sum;
            }
    if (threadIdx.x == 0) a.arrived[tile] = 0;
    return true;
}

// Floats of a row of sums in shared memory: padded so that the rows of a warp's store lie in different banks.
#define SUMS_STRIDE 40

// Bytes of shared memory that the sums of 16 rows of so many warps take.
#define SUMS_BYTES(warps) ((warps) * 16 * SUMS_STRIDE * 4)

// What a warp's sums become, from row `wm` and output `wn` of a block's tile on. They go through shared memory, 16 rows at a
// time, so that lanes write side by side, and so that what stands behind a product is there once in the code.
template <class T, int BM, int BN, int WM, int WN>
DEVICE void gemm_finish(const GemmArgs& a, const float (&acc)[WM / 16][WN / 8][4], int wm, int wn, void* shared) {
    static_assert(WN == 32, "a lane takes one column");
    const int lane = threadIdx.x % 32;
    float* mine = (float*)shared + threadIdx.x / 32 * (16 * SUMS_STRIDE);
    __syncthreads();
    UNROLL
    for (int i = 0; i < WM / 16; i++) {
        UNROLL
        for (int j = 0; j < WN / 8; j++)
            UNROLL
            for (int half = 0; half < 2; half++)
                *(float2*)(mine + (lane / 4 + 8 * half) * SUMS_STRIDE + j * 8 + 2 * (lane % 4)) =
                    make_float2(acc[i][j][2 * half], acc[i][j][2 * half + 1]);
        __syncwarp();
        const int m = blockIdx.x * BM + wm + i * 16;
        if (a.gate) {
            // Sixteen results of two rows; their factors are eight columns apart.
            const int pair = lane / 8 % 2, n = blockIdx.y * (BN / 2) + (wn / 16 + pair) * 8 + lane % 8;
            AS_A_LOOP
            for (int row = lane / 16; row < 16; row += 2) {
                const float* sums = mine + row * SUMS_STRIDE + pair * 16 + lane % 8;
                gemm_store_gated<T>(a, m + row, n, sums[0], sums[8]);
            }
        } else {
            AS_A_LOOP
            for (int row = 0; row < 16; row++)
                gemm_store<T>(a, m + row, blockIdx.y * BN + wn + lane, mine[row * SUMS_STRIDE + lane]);
        }
        __syncwarp();
    }
}
