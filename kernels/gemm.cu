// Prefill linears: y = epilogue(x W^T + b) of many rows, by tensor cores for 16-bit types and by FMAs for f32.
//
// Floor, M rows, K inputs, N outputs of b bytes: 2 M K N FLOPs (+ M N bias, activation, residual); reads K N b of
// weights (+ N b), M K b, M N b of a residual; writes M N b.
//
// 16-bit: tiles of 128 x 128 by eight warps where they fill the chip, of 64 x 64 by four where the rows of a short prompt
// would leave most of it idle, and then also the inputs are cut into `splits` parts, blocks of their own: each leaves its
// sums in memory, and the one that arrives last adds them up, in their order, so that results repeat. 32 inputs at a time, three of them under way by cp.async, so that a tile's products hide
// the next one's loads. Both operands have their inputs side by side, which is what mma's row.col wants: ldmatrix reads
// either without a transposition. 16-byte chunks are swizzled by half the row's number, which keeps the eight rows of a
// matrix, 64 bytes apart, in different banks.
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

#define GEMM_K 32
#define GEMM_STAGES 3

// Where chunk `chunk` of eight elements of row `row` lies in a tile of rows of 32.
DEVICE int gemm_at(int row, int chunk) { return row * GEMM_K + ((chunk ^ (row >> 1)) & 3) * 8; }

// The row of the weights in row `r` of a block's tile. For a gate, every other eight rows are those of the second half,
// so that a thread ends up with both factors of its results.
template <int BN>
DEVICE int weight_row(const GemmArgs& a, int r) {
    if (!a.gate) return blockIdx.y * BN + r;
    const int results = a.outputs / 2, n = blockIdx.y * (BN / 2) + r / 16 * 8 + r % 8;
    return n >= results ? a.outputs : (r / 8 % 2) * results + n;
}

template <class T, int BM, int BN, int THREADS>
DEVICE void gemm_load(const GemmArgs& a, T* tile_x, T* tile_w, int k0) {
    for (int i = threadIdx.x; i < BM * 4; i += THREADS) {
        const int row = i / 4, chunk = i % 4, m = blockIdx.x * BM + row, k = k0 + chunk * 8;
        const bool valid = m < a.rows && k < a.inputs;
        copy_async(tile_x + gemm_at(row, chunk), (const T*)a.x + (valid ? (size_t)m * a.inputs + k : 0), valid);
    }
    for (int i = threadIdx.x; i < BN * 4; i += THREADS) {
        const int row = i / 4, chunk = i % 4, n = weight_row<BN>(a, row), k = k0 + chunk * 8;
        const bool valid = n < a.outputs && k < a.inputs;
        copy_async(tile_w + gemm_at(row, chunk), (const T*)a.weight + (valid ? (size_t)n * a.inputs + k : 0), valid);
    }
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

template <class T, int BM, int BN, int WM, int WN>
DEVICE void gemm(const GemmArgs& a) {
    constexpr int WARPS_N = BN / WN, THREADS = (BM / WM) * WARPS_N * 32;
    constexpr int TILE = (BM + BN) * GEMM_K;
    SHARED __align__(16) T tiles[GEMM_STAGES * TILE];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int wm = warp / WARPS_N * WM, wn = warp % WARPS_N * WN;
    const int all_steps = (a.inputs + GEMM_K - 1) / GEMM_K, per_split = (all_steps + a.splits - 1) / a.splits;
    const int first_step = blockIdx.z * per_split, steps = min(per_split, all_steps - first_step);
    float acc[WM / 16][WN / 8][4];
    UNROLL
    for (int i = 0; i < WM / 16; i++)
        UNROLL
        for (int j = 0; j < WN / 8; j++)
            UNROLL
            for (int e = 0; e < 4; e++) acc[i][j][e] = 0.0f;
    for (int s = 0; s < GEMM_STAGES - 1; s++) {
        if (s < steps) gemm_load<T, BM, BN, THREADS>(a, tiles + s * TILE, tiles + s * TILE + BM * GEMM_K,
                                                      (first_step + s) * GEMM_K);
        copy_commit();
    }
    for (int step = 0; step < steps; step++) {
        copy_wait<GEMM_STAGES - 2>();
        // What was asked for is there for all, and nobody reads the tile any more that is filled next.
        __syncthreads();
        const int next = step + GEMM_STAGES - 1;
        if (next < steps) {
            T* to = tiles + next % GEMM_STAGES * TILE;
            gemm_load<T, BM, BN, THREADS>(a, to, to + BM * GEMM_K, (first_step + next) * GEMM_K);
        }
        copy_commit();
        const T* tile_x = tiles + step % GEMM_STAGES * TILE;
        const T* tile_w = tile_x + BM * GEMM_K;
        UNROLL
        for (int kk = 0; kk < GEMM_K / 16; kk++) {
            u32 fx[WM / 16][4];
            UNROLL
            for (int i = 0; i < WM / 16; i++)
                load_matrices(fx[i], tile_x + gemm_at(wm + i * 16 + lane % 16, kk * 2 + lane / 16));
            UNROLL
            for (int j = 0; j < WN / 16; j++) {
                u32 fw[4];
                const int row = wn + j * 16 + lane / 16 * 8 + lane % 8;
                load_matrices(fw, tile_w + gemm_at(row, kk * 2 + lane / 8 % 2));
                UNROLL
                for (int i = 0; i < WM / 16; i++) {
                    multiply_add(T(), acc[i][2 * j], fx[i], fw[0], fw[1]);
                    multiply_add(T(), acc[i][2 * j + 1], fx[i], fw[2], fw[3]);
                }
            }
        }
    }
    if (a.splits > 1 && !gemm_join<WM / 16, WN / 8, THREADS>(a, acc, (int*)tiles)) return;
    UNROLL
    for (int i = 0; i < WM / 16; i++) {
        UNROLL
        for (int e = 0; e < 4; e++) {
            const int m = blockIdx.x * BM + wm + i * 16 + lane / 4 + e / 2 * 8;
            const int column = 2 * (lane % 4) + e % 2;
            if (a.gate) {
                UNROLL
                for (int j = 0; j < WN / 8; j += 2) {
                    const int n = blockIdx.y * (BN / 2) + (wn / 16 + j / 2) * 8 + column;
                    gemm_store_gated<T>(a, m, n, acc[i][j][e], acc[i][j + 1][e]);
                }
            } else {
                UNROLL
                for (int j = 0; j < WN / 8; j++) gemm_store<T>(a, m, blockIdx.y * BN + wn + j * 8 + column, acc[i][j][e]);
            }
        }
    }
}

#define GEMM(T, name)                                                                                                  \
    DEVICE void gemm_small_##name(const GemmArgs& a) { gemm<T, 64, 64, 32, 32>(a); }                                   \
    DEVICE void gemm_large_##name(const GemmArgs& a) { gemm<T, 128, 128, 64, 32>(a); }                                 \
    KERNEL(kprof_gemm64_##name, 128, GemmArgs, gemm_small_##name)                                                      \
    KERNEL(kprof_gemm128_##name, 256, GemmArgs, gemm_large_##name)

GEMM(bf16, bf16)
GEMM(f16, f16)

// f32: no tensor core keeps 24 bits, so FMAs. 64 x 64 by 256 threads of 4 x 4; the inputs stand transposed in shared
// memory, padded by four, so that a thread reads its four rows and four columns as vectors.
DEVICE void gemm_f32(const GemmArgs& a) {
    SHARED __align__(16) float tile_x[16][68];
    SHARED __align__(16) float tile_w[16][68];
    const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    const int row = threadIdx.x / 4, k = threadIdx.x % 4 * 4;
    const int m = blockIdx.x * 64 + row, n = blockIdx.y * 64 + row;
    float acc[4][4];
    UNROLL
    for (int i = 0; i < 4; i++)
        UNROLL
        for (int j = 0; j < 4; j++) acc[i][j] = 0.0f;
    for (int k0 = 0; k0 < a.inputs; k0 += 16) {
        float4 x = make_float4(0, 0, 0, 0), w = x;
        if (m < a.rows && k0 + k < a.inputs) x = *(const float4*)((const float*)a.x + (size_t)m * a.inputs + k0 + k);
        if (n < a.outputs && k0 + k < a.inputs)
            w = *(const float4*)((const float*)a.weight + (size_t)n * a.inputs + k0 + k);
        __syncthreads();
        tile_x[k][row] = x.x, tile_x[k + 1][row] = x.y, tile_x[k + 2][row] = x.z, tile_x[k + 3][row] = x.w;
        tile_w[k][row] = w.x, tile_w[k + 1][row] = w.y, tile_w[k + 2][row] = w.z, tile_w[k + 3][row] = w.w;
        __syncthreads();
        for (int kk = 0; kk < 16; kk++) {
            const float4 fx = *(const float4*)&tile_x[kk][ty * 4], fw = *(const float4*)&tile_w[kk][tx * 4];
            const float xs[4] = {fx.x, fx.y, fx.z, fx.w}, ws[4] = {fw.x, fw.y, fw.z, fw.w};
            UNROLL
            for (int i = 0; i < 4; i++)
                UNROLL
                for (int j = 0; j < 4; j++) acc[i][j] += xs[i] * ws[j];
        }
    }
    UNROLL
    for (int i = 0; i < 4; i++)
        UNROLL
        for (int j = 0; j < 4; j++) gemm_store<float>(a, blockIdx.x * 64 + ty * 4 + i, blockIdx.y * 64 + tx * 4 + j, acc[i][j]);
}

KERNEL(kprof_gemm64_f32, 256, GemmArgs, gemm_f32)
