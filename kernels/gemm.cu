// Prefill linears: y = epilogue(x W^T + b) of many rows of 16-bit types, by tensor cores (f32: gemm_f32.cu).
//
// Floor, M rows, K inputs, N outputs of b bytes: 2 M K N FLOPs (+ M N bias, activation, residual); reads K N b of
// weights (+ N b), M K b, M N b of a residual; writes M N b.
//
// Tiles of 128 x 128 by eight warps where they fill the chip, of 64 x 64 by four where the rows of a short prompt would leave
// most of it idle, and then also the inputs are cut into `splits` parts, blocks of their own: each leaves its sums in memory,
// and the one that arrives last adds them up, in their order, so that results repeat. 32 inputs at a time, three of them
// under way by cp.async, so that a tile's products hide the next one's loads. Both operands have their inputs side by side,
// which is what mma's row.col wants: ldmatrix reads either without a transposition. 16-byte chunks are swizzled by half the
// row's number, which keeps the eight rows of a matrix, 64 bytes apart, in different banks.
#include "gemm.cuh"

#define GEMM_K 32
#define GEMM_STAGES 3

// Where chunk `chunk` of eight elements of row `row` lies in a tile of rows of 32.
DEVICE int gemm_at(int row, int chunk) { return row * GEMM_K + ((chunk ^ (row >> 1)) & 3) * 8; }

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
    if (GEMM_JOINS(BM) && a.splits > 1 && !gemm_join<WM / 16, WN / 8, THREADS>(a, acc, (int*)tiles)) return;
    static_assert(sizeof tiles >= SUMS_BYTES(THREADS / 32), "sums fit where tiles were");
    gemm_finish<T, BM, BN, WM, WN>(a, acc, wm, wn, tiles);
}

#define GEMM(T, name)                                                                                                  \
    DEVICE void gemm_small_##name(const GemmArgs& a) { gemm<T, 64, 64, 32, 32>(a); }                                   \
    DEVICE void gemm_large_##name(const GemmArgs& a) { gemm<T, 128, 128, 64, 32>(a); }                                 \
    KERNEL(kprof_gemm64_##name, 128, GemmArgs, gemm_small_##name)                                                      \
    KERNEL(kprof_gemm128_##name, 256, GemmArgs, gemm_large_##name)

GEMM(bf16, bf16)
GEMM(f16, f16)
