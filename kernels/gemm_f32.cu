// Prefill linears in f32: y = epilogue(x W^T + b) of many rows, by tensor cores with numbers in pieces (pieces.cuh), or by FMAs.
//
// Floor, M rows, K inputs, N outputs: 2 M K N FLOPs (+ M N bias, activation, residual), on tensor cores six times the products
// of bfloat16; reads 4 K N bytes of weights (+ 4 N), 4 M K, 4 M N of a residual; writes 4 M N.
//
// Which: tensor cores where six products of theirs take less time than one of FMAs. Products of an SM in a cycle, of
// bfloat16 over 6 and of FMAs (CUDA C++ Programming Guide, "Arithmetic Instructions"; data sheets): 171 and 64 on
// sm_80, 341 and 128 on sm_90, but 85 (GeForce: 43) and 128 on sm_86 and sm_89, where the FMAs stay.
//
// Tiles, parts of the inputs and epilogues are those of gemm.cu. 16 inputs at a time: while a tile is multiplied, each thread
// holds eight numbers of x and eight of W of the next in registers, then cuts them into pieces on the way into the other
// of two tiles (24 and 48 KiB of shared memory), once for all warps that read them. Chunks of 16 bytes are swizzled by a quarter
// of the row's number, which keeps the eight rows of a matrix, 32 bytes apart, in different banks.
#include "gemm.cuh"
#include "pieces.cuh"

#define SPLIT_K 16

// Where chunk `chunk` of eight elements of row `row` lies in a tile of rows of 16.
DEVICE int split_at(int row, int chunk) { return row * SPLIT_K + (chunk ^ (row >> 2 & 1)) * 8; }

// The eight numbers of a matrix that a thread brings for each tile.
struct GemmChunk {
    const float* from;
    int input;   // of the first of them, in the tile
    bool there;  // whether the matrix has such a row
};

DEVICE void load_chunk(const GemmArgs& a, const GemmChunk& chunk, int k0, Eight<float>& to) {
    if (chunk.there && k0 + chunk.input < a.inputs)
        load(to, chunk.from + k0);
    else
        clear(to);
}

DEVICE void split_chunk(const Eight<float>& from, bf16* to, int tile) {
    float x[8];
    widen(from, x);
    split_eight(x, to, tile);
}

template <int B, int WM, int WN>
DEVICE void gemm_split(const GemmArgs& a) {
    constexpr int WARPS_N = B / WN, THREADS = (B / WM) * WARPS_N * 32, TILE = B * SPLIT_K;
    static_assert(THREADS == 2 * B, "a thread brings half a row of each matrix");
    SHARED __align__(16) bf16 tiles[2][2][PIECES * TILE];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int wm = warp / WARPS_N * WM, wn = warp % WARPS_N * WN;
    const int row = threadIdx.x / 2, m = blockIdx.x * B + row, n = weight_row<B>(a, row), input = threadIdx.x % 2 * 8;
    const GemmChunk of_x = {(const float*)a.x + (size_t)(m < a.rows ? m : 0) * a.inputs + input, input, m < a.rows};
    const GemmChunk of_w = {(const float*)a.weight + (size_t)(n < a.outputs ? n : 0) * a.inputs + input, input, n < a.outputs};
    const int to = split_at(row, threadIdx.x % 2);
    const int all_steps = (a.inputs + SPLIT_K - 1) / SPLIT_K, per_split = (all_steps + a.splits - 1) / a.splits;
    const int first_step = blockIdx.z * per_split, steps = min(per_split, all_steps - first_step);
    float acc[WM / 16][WN / 8][4];
    UNROLL
    for (int i = 0; i < WM / 16; i++)
        UNROLL
        for (int j = 0; j < WN / 8; j++)
            UNROLL
            for (int e = 0; e < 4; e++) acc[i][j][e] = 0.0f;
    Eight<float> x, w;
    load_chunk(a, of_x, first_step * SPLIT_K, x);
    load_chunk(a, of_w, first_step * SPLIT_K, w);
    split_chunk(x, tiles[0][0] + to, TILE);
    split_chunk(w, tiles[0][1] + to, TILE);
    for (int step = 0; step < steps; step++) {
        // The tile is there for all, and nobody reads the other one any more.
        __syncthreads();
        const int k_next = (first_step + step + 1) * SPLIT_K;
        const bool more = step + 1 < steps;
        if (more) {
            load_chunk(a, of_x, k_next, x);
            load_chunk(a, of_w, k_next, w);
        }
        const bf16* tile_x = tiles[step % 2][0];
        const bf16* tile_w = tiles[step % 2][1];
        u32 fx[WM / 16][PIECES][4];
        UNROLL
        for (int i = 0; i < WM / 16; i++)
            UNROLL
            for (int p = 0; p < PIECES; p++)
                load_matrices(fx[i][p], tile_x + p * TILE + split_at(wm + i * 16 + lane % 16, lane / 16));
        UNROLL
        for (int j = 0; j < WN / 8; j += 2) {
            u32 fw[2][PIECES][2];
            UNROLL
            for (int p = 0; p < PIECES; p++) {
                u32 both[4];
                const int weight = wn + j * 8 + lane / 16 * 8 + lane % 8;
                load_matrices(both, tile_w + p * TILE + split_at(weight, lane / 8 % 2));
                fw[0][p][0] = both[0], fw[0][p][1] = both[1], fw[1][p][0] = both[2], fw[1][p][1] = both[3];
            }
            float sums[WM / 16][2][4];
            UNROLL
            for (int i = 0; i < WM / 16; i++)
                UNROLL
                for (int e = 0; e < 8; e++) sums[i][e / 4][e % 4] = acc[i][j + e / 4][e % 4];
            multiply_add_pieces(sums, fx, fw);
            UNROLL
            for (int i = 0; i < WM / 16; i++)
                UNROLL
                for (int e = 0; e < 8; e++) acc[i][j + e / 4][e % 4] = sums[i][e / 4][e % 4];
        }
        if (more) {
            split_chunk(x, tiles[1 - step % 2][0] + to, TILE);
            split_chunk(w, tiles[1 - step % 2][1] + to, TILE);
        }
    }
    if (GEMM_JOINS(B) && a.splits > 1 && !gemm_join<WM / 16, WN / 8, THREADS>(a, acc, (int*)tiles)) return;
    static_assert(sizeof tiles >= SUMS_BYTES(THREADS / 32), "sums fit where tiles were");
    gemm_finish<float, B, B, WM, WN>(a, acc, wm, wn, tiles);
}

DEVICE void gemm_split_small(const GemmArgs& a) { gemm_split<64, 32, 32>(a); }
DEVICE void gemm_split_large(const GemmArgs& a) { gemm_split<128, 64, 32>(a); }
KERNEL(kprof_gemm64_f32, 128, GemmArgs, gemm_split_small)
KERNEL(kprof_gemm128_f32, 256, GemmArgs, gemm_split_large)

// By FMAs: 64 x 64 by 256 threads of 4 x 4; the inputs stand transposed in shared memory, padded by four, so that a thread
// reads its four rows and four columns as vectors. It has no gate.
DEVICE void gemm_fma(const GemmArgs& a) {
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

KERNEL(kprof_gemm_fma_f32, 256, GemmArgs, gemm_fma)
