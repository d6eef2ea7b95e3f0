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
#include "attention.cuh"

#define FLASH_QUERIES 64
#define FLASH_KEYS 64
#define FLASH_THREADS 128

// Where chunk `chunk` of eight elements of row `row` lies in a tile of rows of D: the eight rows of a matrix in different
// banks.
template <int D>
DEVICE int flash_at(int row, int chunk) {
    return row * D + (chunk ^ (row & 7)) * 8;
}

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

DEVICE size_t element_bytes(int storage) { return storage == STORED_F32 ? 4 : storage == STORED_INT8 ? 1 : 2; }

template <class T, int D>
DEVICE void flash(const AttentionArgs& a) {
    T* tile_q = (T*)shared_memory();
    T* tile_k = tile_q + FLASH_QUERIES * D;
    T* tile_v = tile_k + 2 * FLASH_KEYS * D;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int first_query = (gridDim.x - 1 - blockIdx.x) * FLASH_QUERIES;
    const int head = blockIdx.y, kv_head = head / (a.heads / a.kv_heads);
    const size_t sequence = blockIdx.z, first_row = sequence * a.new_tokens;
    const size_t kv_at = (sequence * a.batch_stride + kv_head * a.head_stride) * element_bytes(a.storage);
    const u8* k = (const u8*)a.k + kv_at;
    const u8* v = (const u8*)a.v + kv_at;
    const size_t scales_at = (sequence * a.kv_heads + kv_head) * a.scale_stride;
    const f16* k_scale = (const f16*)a.k_scale + scales_at;
    const f16* v_scale = (const f16*)a.v_scale + scales_at;
    const int first_position = a.step[0] + first_query;
    const int end = min(a.step[0] + a.new_tokens, first_position + FLASH_QUERIES);
    const int oldest = a.window > 0 ? max(0, first_position + 1 - a.window) : 0;
    const int first_key = oldest / FLASH_KEYS * FLASH_KEYS, tiles = (end - first_key + FLASH_KEYS - 1) / FLASH_KEYS;

    for (int i = threadIdx.x; i < FLASH_QUERIES * (D / 8); i += FLASH_THREADS) {
        const int row = i / (D / 8), chunk = i % (D / 8), query = first_query + row;
        const bool valid = query < a.new_tokens && chunk * 8 < a.head_dim;
        const T* from = (const T*)a.q + (valid ? (first_row + query) * a.q_stride + head * a.head_dim + chunk * 8 : 0);
        copy_async(tile_q + flash_at<D>(row, chunk), from, valid);
    }
    flash_load<T, D>(a, tile_k, k, k_scale, first_key, end);
    flash_load<T, D>(a, tile_v, v, v_scale, first_key, end);
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
        const int now = tile % 2, k0 = first_key + tile * FLASH_KEYS;
        if (tile == 0)
            UNROLL
            for (int kk = 0; kk < D / 16; kk++)
                load_matrices(fq[kk], tile_q + flash_at<D>(warp * 16 + lane % 16, kk * 2 + lane / 16));
        if (tile + 1 < tiles) {
            flash_load<T, D>(a, tile_k + (1 - now) * FLASH_KEYS * D, k, k_scale, k0 + FLASH_KEYS, end);
            flash_load<T, D>(a, tile_v + (1 - now) * FLASH_KEYS * D, v, v_scale, k0 + FLASH_KEYS, end);
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
        // Rows lane / 4 (e = 0, 1) and lane / 4 + 8 (e = 2, 3) of the warp's sixteen.
        UNROLL
        for (int half = 0; half < 2; half++) {
            const int position = first_position + warp * 16 + lane / 4 + 8 * half;
            float largest = m[half];
            UNROLL
            for (int j = 0; j < FLASH_KEYS / 8; j++) {
                UNROLL
                for (int e = 0; e < 2; e++) {
                    const int key = k0 + j * 8 + 2 * (lane % 4) + e;
                    const bool seen = key <= position && key < end && (a.window == 0 || key + a.window > position);
                    float& score = s[j][2 * half + e];
                    score = seen ? score * (a.scale * LOG2_E) : -INFINITY_F;
                    largest = fmaxf(largest, score);
                }
            }
            for (int o = 1; o < 4; o *= 2) largest = fmaxf(largest, __shfl_xor_sync(FULL_WARP, largest, o));
            const float shift = largest == -INFINITY_F ? 0.0f : largest;
            const float keep = exp2_fast(m[half] - shift);
            m[half] = largest;
            l[half] *= keep;
            UNROLL
            for (int j = 0; j < D / 8; j++) {
                y[j][2 * half] *= keep;
                y[j][2 * half + 1] *= keep;
            }
            UNROLL
            for (int j = 0; j < FLASH_KEYS / 8; j++) {
                UNROLL
                for (int e = 0; e < 2; e++) {
                    float& score = s[j][2 * half + e];
                    score = exp2_fast(score - shift);
                    l[half] += score;
                }
            }
        }
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
        float sum = l[half];
        for (int o = 1; o < 4; o *= 2) sum += __shfl_xor_sync(FULL_WARP, sum, o);
        const int query = first_query + warp * 16 + lane / 4 + 8 * half;
        if (query >= a.new_tokens) continue;
        T* to = (T*)a.y + ((first_row + query) * a.heads + head) * a.head_dim;
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
