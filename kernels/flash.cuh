// What both kernels for prompts share: a block's place in the work, how tiles lie, and the softmax as keys come.
//
// A block takes 64 queries of a head, 16 to a warp, and walks the keys that they see, a tile at a time. A warp's scores are as
// mma leaves them: a lane has rows lane / 4 and lane / 4 + 8 of the sixteen, two neighbouring keys of every eight.
#pragma once
#include "attention.cuh"

#define FLASH_QUERIES 64
#define FLASH_THREADS 128

// Where chunk `chunk` of eight elements of row `row` lies in a tile of rows of D: the eight rows of a matrix in different
// banks.
template <int D>
DEVICE int flash_at(int row, int chunk) {
    return row * D + (chunk ^ (row & 7)) * 8;
}

DEVICE size_t element_bytes(int storage) { return storage == STORED_F32 ? 4 : storage == STORED_INT8 ? 1 : 2; }

// What a block works on.
struct FlashBlock {
    const u8* k;
    const u8* v;
    const f16* k_scale;
    const f16* v_scale;
    size_t first_row;    // of the sequence, among rows of queries
    int head;
    int first_query;     // in the sequence's part of this step
    int first_position;  // of that query
    int end;             // keys from here on are seen by none
    int first_key;       // of the first tile
};

// The longest rows of blocks start first, as they end last; tiles before every window are not visited.
DEVICE FlashBlock flash_block(const AttentionArgs& a, int keys) {
    FlashBlock b;
    const size_t sequence = blockIdx.z;
    b.first_row = sequence * a.new_tokens;
    b.head = blockIdx.y;
    b.first_query = (gridDim.x - 1 - blockIdx.x) * FLASH_QUERIES;
    const int kv_head = b.head / (a.heads / a.kv_heads);
    const size_t kv_at = (sequence * a.batch_stride + kv_head * a.head_stride) * element_bytes(a.storage);
    b.k = (const u8*)a.k + kv_at;
    b.v = (const u8*)a.v + kv_at;
    const size_t scales_at = (sequence * a.kv_heads + kv_head) * a.scale_stride;
    b.k_scale = (const f16*)a.k_scale + scales_at;
    b.v_scale = (const f16*)a.v_scale + scales_at;
    b.first_position = a.step[0] + b.first_query;
    b.end = min(a.step[0] + a.new_tokens, b.first_position + FLASH_QUERIES);
    const int oldest = a.window > 0 ? max(0, b.first_position + 1 - a.window) : 0;
    b.first_key = oldest / keys * keys;
    return b;
}

// Scores of 8 N keys from `k0` on become weights against the largest score so far; running maxima `m` and sums `l` follow, and
// `keep` is what everything of before is to be multiplied by.
template <int N>
DEVICE void flash_softmax(const AttentionArgs& a, const FlashBlock& b, int k0, float (&s)[N][4], float (&m)[2], float (&l)[2],
                          float (&keep)[2]) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    UNROLL
    for (int half = 0; half < 2; half++) {
        const int position = b.first_position + warp * 16 + lane / 4 + 8 * half;
        float largest = m[half];
        UNROLL
        for (int j = 0; j < N; j++) {
            UNROLL
            for (int e = 0; e < 2; e++) {
                const int key = k0 + j * 8 + 2 * (lane % 4) + e;
                const bool seen = key <= position && key < b.end && (a.window == 0 || key + a.window > position);
                float& score = s[j][2 * half + e];
                score = seen ? score * (a.scale * LOG2_E) : -INFINITY_F;
                largest = fmaxf(largest, score);
            }
        }
        for (int o = 1; o < 4; o *= 2) largest = fmaxf(largest, __shfl_xor_sync(FULL_WARP, largest, o));
        const float shift = largest == -INFINITY_F ? 0.0f : largest;
        keep[half] = exp2_fast(m[half] - shift);
        m[half] = largest;
        l[half] *= keep[half];
        UNROLL
        for (int j = 0; j < N; j++) {
            UNROLL
            for (int e = 0; e < 2; e++) {
                float& score = s[j][2 * half + e];
                score = exp2_fast(score - shift);
                l[half] += score;
            }
        }
    }
}

// A query's sum of weights, which four lanes have parts of.
DEVICE float flash_sum(float l) {
    for (int o = 1; o < 4; o *= 2) l += __shfl_xor_sync(FULL_WARP, l, o);
    return l;
}
