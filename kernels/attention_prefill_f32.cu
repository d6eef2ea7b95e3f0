// Causal attention of a prompt in f32 by tensor cores, without ever storing the scores: queries in f32, K and V of any
// storage, every number in bfloat16 pieces (pieces.cuh).
//
// Floor, batch B, H heads on G K/V heads of D channels, p query-key pairs per head, n keys: 4 B H D p FLOPs, on tensor cores six
// times the products of bfloat16, and 5 B H p of softmax; reads the queries and 2 B G n (D x element bytes + 2 of a scale) once,
// writes 4 B H D bytes per query.
//
// The loops are those of attention_prefill.cu, over 32 keys at a time: a tile of K and one of V in pieces are 12 bytes a
// number, so that with the queries (in f32: each is cut into pieces as it is read, by the one warp that needs it) a block takes
// what that kernel's takes, 40 KiB for heads of up to 64 channels and 80 KiB for up to 128: one on every SM that is served, two
// on sm_80 and sm_90. The next tile of V is on its way in registers while K is multiplied, the next of K while V is, as many bytes
// of it as its storage has; it is widened and cut where it is written to shared memory, once for all warps. Weights go from the
// accumulators of the first product into pieces in registers. A tile's part of the result is summed from zero, as in
// pieces.cuh.
//
// Slots of a tile without a key are zeros. A V that is infinite or NaN makes all queries NaN that have it in a tile, also those
// in front of it (0 x infinity); a K only those that see it.
//
// On GeForce and the sm_86 and sm_89 of workstations, where FMAs outrun six products (gemm_f32.cu), this still is the kernel:
// the other one, a query at a time, reads K and V from L1 for every FMA.
#include "flash.cuh"
#include "pieces.cuh"

#define FLASH_KEYS_F32 32

// What a thread brings of a tile: chunks of eight channels of keys `first` on as their storage has them, the scale of codes
// behind them, zeros where there are none.
template <int D>
DEVICE void bring(const AttentionArgs& a, Eight<float> (&to)[FLASH_KEYS_F32 * (D / 8) / FLASH_THREADS], const void* base,
                  const f16* scales, int first, int end) {
    UNROLL
    for (int c = 0; c < FLASH_KEYS_F32 * (D / 8) / FLASH_THREADS; c++) {
        const int i = c * FLASH_THREADS + threadIdx.x, key = first + i / (D / 8), channel = i % (D / 8) * 8;
        clear(to[c]);
        if (key >= end || channel >= a.head_dim) continue;
        const size_t at = key * a.token_stride + channel;
        if (a.storage == STORED_F32) {
            load(to[c], (const float*)base + at);
        } else if (a.storage == STORED_INT8) {
            const uint2 codes = *(const uint2*)((const i8*)base + at);
            to[c].v.x = codes.x, to[c].v.y = codes.y;
            to[c].w.x = __float_as_uint(to_float(scales[key]));
        } else {
            to[c].v = *(const uint4*)((const u16*)base + at);
        }
    }
}

// Cuts it into pieces in shared memory.
template <int D>
DEVICE void settle(int storage, const Eight<float> (&from)[FLASH_KEYS_F32 * (D / 8) / FLASH_THREADS], bf16* tile) {
    UNROLL
    for (int c = 0; c < FLASH_KEYS_F32 * (D / 8) / FLASH_THREADS; c++) {
        const int i = c * FLASH_THREADS + threadIdx.x;
        float x[8];
        if (storage == STORED_F32) {
            widen(from[c], x);
        } else if (storage == STORED_INT8) {
            widen(Eight<i8>{make_uint2(from[c].v.x, from[c].v.y)}, x);
            UNROLL
            for (int n = 0; n < 8; n++) x[n] *= __uint_as_float(from[c].w.x);
        } else if (storage == STORED_BF16) {
            widen(Eight<bf16>{from[c].v}, x);
        } else {
            widen(Eight<f16>{from[c].v}, x);
        }
        split_eight(x, tile + flash_at<D>(i / (D / 8), i % (D / 8)), FLASH_KEYS_F32 * D);
    }
}

// A warp's sixteen queries, channels 16 `kk` on, in pieces.
template <int D>
DEVICE void query_pieces(const float* tile_q, int kk, u32 (&f)[1][PIECES][4]) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    UNROLL
    for (int r = 0; r < 4; r++) {
        const int row = warp * 16 + lane / 4 + r % 2 * 8;
        const float2 x = *(const float2*)(tile_q + flash_at<D>(row, kk * 2 + r / 2) + 2 * (lane % 4));
        u32 pieces[PIECES];
        split_pair(x.x, x.y, pieces);
        UNROLL
        for (int p = 0; p < PIECES; p++) f[0][p][r] = pieces[p];
    }
}

template <int D>
DEVICE void flash_f32(const AttentionArgs& a) {
    constexpr int TILE = FLASH_KEYS_F32 * D;
    float* tile_q = (float*)shared_memory();
    bf16* tile_k = (bf16*)(tile_q + FLASH_QUERIES * D);
    bf16* tile_v = tile_k + PIECES * TILE;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const FlashBlock b = flash_block(a, FLASH_KEYS_F32);
    const int tiles = (b.end - b.first_key + FLASH_KEYS_F32 - 1) / FLASH_KEYS_F32;

    for (int i = threadIdx.x; i < FLASH_QUERIES * (D / 8); i += FLASH_THREADS) {
        const int row = i / (D / 8), chunk = i % (D / 8), query = b.first_query + row;
        const bool valid = query < a.new_tokens && chunk * 8 < a.head_dim;
        const float* from = (const float*)a.q + (valid ? (b.first_row + query) * a.q_stride + b.head * a.head_dim + chunk * 8 : 0);
        copy_async(tile_q + flash_at<D>(row, chunk), from, valid);
        copy_async(tile_q + flash_at<D>(row, chunk) + 4, from + (valid ? 4 : 0), valid);
    }
    copy_commit();
    Eight<float> next[TILE / 8 / FLASH_THREADS];
    bring<D>(a, next, b.k, b.k_scale, b.first_key, b.end);
    settle<D>(a.storage, next, tile_k);
    bring<D>(a, next, b.v, b.v_scale, b.first_key, b.end);
    copy_wait<0>();

    float y[D / 8][4], m[2] = {-INFINITY_F, -INFINITY_F}, l[2] = {0.0f, 0.0f};
    UNROLL
    for (int j = 0; j < D / 8; j++)
        UNROLL
        for (int e = 0; e < 4; e++) y[j][e] = 0.0f;
    for (int tile = 0; tile < tiles; tile++) {
        const int k0 = b.first_key + tile * FLASH_KEYS_F32;
        // K is there for all, and nobody reads V any more.
        __syncthreads();
        float s[1][FLASH_KEYS_F32 / 8][4];
        UNROLL
        for (int j = 0; j < FLASH_KEYS_F32 / 8; j++)
            UNROLL
            for (int e = 0; e < 4; e++) s[0][j][e] = 0.0f;
        AS_A_LOOP
        for (int kk = 0; kk < D / 16; kk++) {
            u32 fq[1][PIECES][4], fk[FLASH_KEYS_F32 / 8][PIECES][2];
            query_pieces<D>(tile_q, kk, fq);
            UNROLL
            for (int j = 0; j < FLASH_KEYS_F32 / 16; j++) {
                UNROLL
                for (int p = 0; p < PIECES; p++) {
                    u32 both[4];
                    const int row = j * 16 + lane / 16 * 8 + lane % 8;
                    load_matrices(both, tile_k + p * TILE + flash_at<D>(row, kk * 2 + lane / 8 % 2));
                    fk[2 * j][p][0] = both[0], fk[2 * j][p][1] = both[1];
                    fk[2 * j + 1][p][0] = both[2], fk[2 * j + 1][p][1] = both[3];
                }
            }
            multiply_add_pieces(s, fq, fk);
        }
        float keep[2];
        flash_softmax(a, b, k0, s[0], m, l, keep);
        settle<D>(a.storage, next, tile_v);
        // V is there for all, and nobody reads K any more.
        __syncthreads();
        const bool more = tile + 1 < tiles;
        if (more) bring<D>(a, next, b.k, b.k_scale, k0 + FLASH_KEYS_F32, b.end);
        UNROLL
        for (int j = 0; j < D / 8; j++)
            UNROLL
            for (int e = 0; e < 4; e++) y[j][e] *= keep[e / 2];
        // A loop, so that what it needs at once stays in registers; its weights are chosen, as no array of registers has an index.
        AS_A_LOOP
        for (int t = 0; t < 2; t++) {
            u32 fp[1][PIECES][4];
            UNROLL
            for (int r = 0; r < 4; r++) {
                u32 pieces[PIECES];
                const float(&early)[4] = s[0][r / 2];
                const float(&late)[4] = s[0][2 + r / 2];
                const int e = r % 2 * 2;
                split_pair(t ? late[e] : early[e], t ? late[e + 1] : early[e + 1], pieces);
                UNROLL
                for (int p = 0; p < PIECES; p++) fp[0][p][r] = pieces[p];
            }
            UNROLL
            for (int j = 0; j < D / 8; j += 4) {
                u32 fv[4][PIECES][2];
                float part[1][4][4];
                UNROLL
                for (int c = 0; c < 4; c += 2) {
                    UNROLL
                    for (int p = 0; p < PIECES; p++) {
                        u32 both[4];
                        load_matrices_transposed(
                            both, tile_v + p * TILE + flash_at<D>(t * 16 + lane % 16, j + c + lane / 16));
                        fv[c][p][0] = both[0], fv[c][p][1] = both[1];
                        fv[c + 1][p][0] = both[2], fv[c + 1][p][1] = both[3];
                    }
                }
                UNROLL
                for (int e = 0; e < 16; e++) part[0][e / 4][e % 4] = y[j + e / 4][e % 4];
                multiply_add_pieces(part, fp, fv);
                UNROLL
                for (int e = 0; e < 16; e++) y[j + e / 4][e % 4] = part[0][e / 4][e % 4];
            }
        }
        if (more) {
            settle<D>(a.storage, next, tile_k);
            bring<D>(a, next, b.v, b.v_scale, k0 + FLASH_KEYS_F32, b.end);
        }
    }
    UNROLL
    for (int half = 0; half < 2; half++) {
        const float sum = flash_sum(l[half]);
        const int query = b.first_query + warp * 16 + lane / 4 + 8 * half;
        if (query >= a.new_tokens) continue;
        float* to = (float*)a.y + ((b.first_row + query) * a.heads + b.head) * a.head_dim;
        UNROLL
        for (int j = 0; j < D / 8; j++) {
            if (j * 8 >= a.head_dim) continue;
            *(float2*)(to + j * 8 + 2 * (lane % 4)) = make_float2(y[j][2 * half] / sum, y[j][2 * half + 1] / sum);
        }
    }
}

DEVICE void flash64_f32(const AttentionArgs& a) { flash_f32<64>(a); }
DEVICE void flash128_f32(const AttentionArgs& a) { flash_f32<128>(a); }
KERNEL(kprof_flash64_f32, 128, AttentionArgs, flash64_f32)
KERNEL(kprof_flash128_f32, 128, AttentionArgs, flash128_f32)
