// Causal attention of a prompt by tensor cores, without ever storing the scores (Dao et al. 2022; 2023 for the order of
// loops): 16-bit queries, K and V of any storage.
//
// Floor, batch B, H heads on G K/V heads of D channels, p query-key pairs per head, n keys: 4 B H D p FLOPs and 5 B H p of
// softmax; reads the queries and 2 B G n (D x element bytes + 2 of a scale) once, writes B H D per query.
//
// A block takes 64 queries of a head, 16 to a warp, and walks the keys 64 at a time: while one tile is multiplied, the
// next comes by cp.async (two tiles of K and V in shared memory). K and V of another type are widened to the
// activations' type on the way into shared memory, INT8 with its scale. Scores, running maximum and sum stay in
// registers in f32; the exponentials go from the accumulators of the first product straight into the operands of the
// second. Tiles above the diagonal are not visited. The longest rows of blocks start first, as they end last.
#include "flash.cuh"

#define FLASH_KEYS 64

template <class T, class C>
DEVICE void flash_convert(T* to, const C* from, float scale) {
    float x[8];
    load_wide(from, x);
    for (int i = 0; i < 8; i++) x[i] *= scale;
    store_rounded(to, x);
}

template <class T>
struct Stored;
template <>
struct Stored<bf16> {
    enum { value = STORED_BF16 };
};
template <>
struct Stored<f16> {
    enum { value = STORED_F16 };
};

// Keys `first` on of K or of V into a tile, zeros where there are none.
template <class T, int D>
DEVICE void flash_load(const AttentionArgs& a, T* tile, const void* base, const f16* scales, int first, int end) {
    for (int i = threadIdx.x; i < FLASH_KEYS * (D / 8); i += FLASH_THREADS) {
        const int row = i / (D / 8), chunk = i % (D / 8), key = first + row;
        const bool valid = key < end && chunk * 8 < a.head_dim;
        const size_t at = valid ? key * a.token_stride + chunk * 8 : 0;
        T* to = tile + flash_at<D>(row, chunk);
        if (a.storage == Stored<T>::value) {
            copy_async(to, (const T*)base + at, valid);
        } else if (!valid) {
            *(uint4*)to = make_uint4(0, 0, 0, 0);
        } else {
            switch (a.storage) {
                case STORED_F32: flash_convert(to, (const float*)base + at, 1.0f); break;
                case STORED_BF16: flash_convert(to, (const bf16*)base + at, 1.0f); break;
                case STORED_F16: flash_convert(to, (const f16*)base + at, 1.0f); break;
                default: flash_convert(to, (const i8*)base + at, to_float(scales[key])); break;
            }
        }
    }
}

template <class T, int D>
DEVICE void flash(const AttentionArgs& a) {
    T* tile_q = (T*)shared_memory();
    T* tile_k = tile_q + FLASH_QUERIES * D;
    T* tile_v = tile_k + 2 * FLASH_KEYS * D;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const FlashBlock b = flash_block(a, FLASH_KEYS);
    const int tiles = (b.end - b.first_key + FLASH_KEYS - 1) / FLASH_KEYS;

    for (int i = threadIdx.x; i < FLASH_QUERIES * (D / 8); i += FLASH_THREADS) {
        const int row = i / (D / 8), chunk = i % (D / 8), query = b.first_query + row;
        const bool valid = query < a.new_tokens && chunk * 8 < a.head_dim;
        const T* from = (const T*)a.q + (valid ? (b.first_row + query) * a.q_stride + b.head * a.head_dim + chunk * 8 : 0);
        copy_async(tile_q + flash_at<D>(row, chunk), from, valid);
    }
    flash_load<T, D>(a, tile_k, b.k, b.k_scale, b.first_key, b.end);
    flash_load<T, D>(a, tile_v, b.v, b.v_scale, b.first_key, b.end);
    copy_commit();

    u32 fq[D / 16][4];
    float y[D / 8][4], m[2] = {-INFINITY_F, -INFINITY_F}, l[2] = {0.0f, 0.0f};
    UNROLL
    for (int j = 0; j < D / 8; j++)
        UNROLL
        for (int e = 0; e < 4; e++) y[j][e] = 0.0f;
    for (int tile = 0; tile < tiles; tile++) {
        copy_wait<0>();
        // The tile is there for all, and nobody reads the other one any more.
        __syncthreads();
        const int now = tile % 2, k0 = b.first_key + tile * FLASH_KEYS;
        if (tile == 0)
            UNROLL
            for (int kk = 0; kk < D / 16; kk++)
                load_matrices(fq[kk], tile_q + flash_at<D>(warp * 16 + lane % 16, kk * 2 + lane / 16));
        if (tile + 1 < tiles) {
            flash_load<T, D>(a, tile_k + (1 - now) * FLASH_KEYS * D, b.k, b.k_scale, k0 + FLASH_KEYS, b.end);
            flash_load<T, D>(a, tile_v + (1 - now) * FLASH_KEYS * D, b.v, b.v_scale, k0 + FLASH_KEYS, b.end);
        }
        copy_commit();
        float s[FLASH_KEYS / 8][4];
        UNROLL
        for (int j = 0; j < FLASH_KEYS / 8; j++)
            UNROLL
            for (int e = 0; e < 4; e++) s[j][e] = 0.0f;
        UNROLL
        for (int kk = 0; kk < D / 16; kk++) {
            UNROLL
            for (int j = 0; j < FLASH_KEYS / 16; j++) {
                u32 fk[4];
                const int row = j * 16 + lane / 16 * 8 + lane % 8;
                load_matrices(fk, tile_k + now * FLASH_KEYS * D + flash_at<D>(row, kk * 2 + lane / 8 % 2));
                multiply_add(T(), s[2 * j], fq[kk], fk[0], fk[1]);
                multiply_add(T(), s[2 * j + 1], fq[kk], fk[2], fk[3]);
            }
        }
        float keep[2];
        flash_softmax(a, b, k0, s, m, l, keep);
        UNROLL
        for (int j = 0; j < D / 8; j++)
            UNROLL
            for (int e = 0; e < 4; e++) y[j][e] *= keep[e / 2];
        UNROLL
        for (int t = 0; t < FLASH_KEYS / 16; t++) {
            const u32 fp[4] = {pack(T(), s[2 * t][0], s[2 * t][1]), pack(T(), s[2 * t][2], s[2 * t][3]),
                               pack(T(), s[2 * t + 1][0], s[2 * t + 1][1]), pack(T(), s[2 * t + 1][2], s[2 * t + 1][3])};
            UNROLL
            for (int j = 0; j < D / 16; j++) {
                u32 fv[4];
                load_matrices_transposed(
                    fv, tile_v + now * FLASH_KEYS * D + flash_at<D>(t * 16 + lane % 16, j * 2 + lane / 16));
                multiply_add(T(), y[2 * j], fp, fv[0], fv[1]);
                multiply_add(T(), y[2 * j + 1], fp, fv[2], fv[3]);
            }
        }
    }
    UNROLL
    for (int half = 0; half < 2; half++) {
        const float sum = flash_sum(l[half]);
        const int query = b.first_query + warp * 16 + lane / 4 + 8 * half;
        if (query >= a.new_tokens) continue;
        T* to = (T*)a.y + ((b.first_row + query) * a.heads + b.head) * a.head_dim;
        UNROLL
        for (int j = 0; j < D / 8; j++) {
            if (j * 8 >= a.head_dim) continue;
            *(u32*)(to + j * 8 + 2 * (lane % 4)) = pack(T(), y[j][2 * half] / sum, y[j][2 * half + 1] / sum);
        }
    }
}

#define FLASH(T, name)                                                                                                 \
    DEVICE void flash64_##name(const AttentionArgs& a) { flash<T, 64>(a); }                                            \
    DEVICE void flash128_##name(const AttentionArgs& a) { flash<T, 128>(a); }                                          \
    KERNEL(kprof_flash64_##name, 128, AttentionArgs, flash64_##name)                                                   \
    KERNEL(kprof_flash128_##name, 128, AttentionArgs, flash128_##name)

FLASH(bf16, bf16)
FLASH(f16, f16)
