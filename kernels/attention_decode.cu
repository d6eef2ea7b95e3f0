// Attention of single queries over a cache, split over its length: decode, and every query where no tensor core serves.
//
// Floor, batch B, H heads on G K/V heads of D channels, n keys: 4 B H D n FLOPs and 5 B H n of softmax; reads K and V of n
// tokens once, 2 B G n (D x element bytes + 2 of a scale), and the queries; writes B H D.
//
// Memory decides: 4 to 16 FLOPs per byte at most. So K and V are read once for all query heads that share them, in runs
// of 16 bytes per lane (8 of codes) that are dequantised in registers; D / 8 lanes hold a key, so that a load of a warp is
// one run of 512 bytes. Up to four keys per lane are under way before the first is used. A sequence is cut into `splits`
// parts, blocks of their own, because one head per block would leave most of the chip idle; the block that arrives last
// joins the parts, in their order, so that results repeat and no second launch is needed. The number of parts follows
// from the cache's capacity, and the keys of each from the context in device memory: one captured graph serves all steps.
#include "attention.cuh"

#define DECODE_WARPS 4

// Eight channels of each of `heads` queries, already times the scale of scores; zeros for the others.
template <class T, int G>
DEVICE void decode_queries(const AttentionArgs& a, size_t at, int heads, bool active, float (&q)[G][8]) {
    UNROLL
    for (int g = 0; g < G; g++) {
        UNROLL
        for (int i = 0; i < 8; i++) q[g][i] = 0.0f;
        if (active && g < heads) load_wide((const T*)a.q + at + g * a.head_dim, q[g]);
        UNROLL
        for (int i = 0; i < 8; i++) q[g][i] *= a.scale * LOG2_E;
    }
}

DEVICE void decode_result(const AttentionArgs& a, size_t at, float y) {
    switch (a.dtype) {
        case STORED_F32: ((float*)a.y)[at] = y; break;
        case STORED_BF16: ((bf16*)a.y)[at] = rounded<bf16>(y); break;
        default: ((f16*)a.y)[at] = rounded<f16>(y); break;
    }
}

template <class C>
struct IsCodes {
    enum { value = 0 };
};
template <>
struct IsCodes<i8> {
    enum { value = 1 };
};

// C: how K and V are stored; G: query heads of one K/V head that a block takes; U: keys per lane under way.
template <class C, int G, int U>
DEVICE void decode(const AttentionArgs& a) {
    float* shared = (float*)shared_memory();  // [warps][G][head_dim + 2]
    SHARED int is_last;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, D = a.head_dim;
    const int group = a.heads / a.kv_heads, parts = (group + G - 1) / G;
    const int kv_head = blockIdx.y / parts, first_head = kv_head * group + blockIdx.y % parts * G;
    const int heads = min(G, (kv_head + 1) * group - first_head);
    const int row = blockIdx.z, position = a.step[0] + row % a.new_tokens;
    const int oldest = a.window > 0 ? max(0, position + 1 - a.window) : 0;
    const int per_split = (position + 1 - oldest + a.splits - 1) / a.splits;
    const int from = oldest + blockIdx.x * per_split, to = min(position + 1, from + per_split);
    int lanes = 1;  // of a key
    while (lanes * 8 < D) lanes *= 2;
    const int keys = 32 / lanes, sub = lane / lanes, d = lane % lanes * 8;
    const bool active = d < D;
    const size_t sequence = row / a.new_tokens;
    const C* k = (const C*)a.k + sequence * a.batch_stride + kv_head * a.head_stride + d;
    const C* v = (const C*)a.v + sequence * a.batch_stride + kv_head * a.head_stride + d;
    const f16* k_scale = (const f16*)a.k_scale + (sequence * a.kv_heads + kv_head) * a.scale_stride;
    const f16* v_scale = (const f16*)a.v_scale + (sequence * a.kv_heads + kv_head) * a.scale_stride;

    float q[G][8], acc[G][8], m[G], l[G];
    const size_t q_at = (size_t)row * a.q_stride + first_head * D + d;
    switch (a.dtype) {
        case STORED_F32: decode_queries<float>(a, q_at, heads, active, q); break;
        case STORED_BF16: decode_queries<bf16>(a, q_at, heads, active, q); break;
        default: decode_queries<f16>(a, q_at, heads, active, q); break;
    }
    UNROLL
    for (int g = 0; g < G; g++) {
        m[g] = -INFINITY_F;
        l[g] = 0.0f;
        UNROLL
        for (int i = 0; i < 8; i++) acc[g][i] = 0.0f;
    }
    for (int t = from + warp * keys; t < to; t += DECODE_WARPS * keys * U) {
        Eight<C> ek[U], ev[U];
        float sk[U], sv[U], s[U][G];
        UNROLL
        for (int u = 0; u < U; u++) {
            const int key = t + u * DECODE_WARPS * keys + sub;
            clear(ek[u]);
            clear(ev[u]);
            sk[u] = sv[u] = 1.0f;
            if (key < to) {
                if (active) {
                    load(ek[u], k + key * a.token_stride);
                    load(ev[u], v + key * a.token_stride);
                }
                if (IsCodes<C>::value) {
                    sk[u] = to_float(k_scale[key]);
                    sv[u] = to_float(v_scale[key]);
                }
            }
        }
        UNROLL
        for (int u = 0; u < U; u++) {
            float f[8];
            widen(ek[u], f);
            const bool seen = t + u * DECODE_WARPS * keys + sub < to;
            UNROLL
            for (int g = 0; g < G; g++) {
                float dot = 0.0f;
                UNROLL
                for (int i = 0; i < 8; i++) dot += q[g][i] * f[i];
                for (int o = lanes / 2; o > 0; o /= 2) dot += __shfl_xor_sync(FULL_WARP, dot, o);
                s[u][g] = seen ? dot * sk[u] : -INFINITY_F;
            }
        }
        UNROLL
        for (int g = 0; g < G; g++) {
            float largest = m[g];
            UNROLL
            for (int u = 0; u < U; u++) largest = fmaxf(largest, s[u][g]);
            // Lanes that have seen no key yet stay at -inf, and -inf - -inf is no number.
            const float shift = largest == -INFINITY_F ? 0.0f : largest;
            const float keep = exp2_fast(m[g] - shift);
            m[g] = largest;
            l[g] *= keep;
            UNROLL
            for (int i = 0; i < 8; i++) acc[g][i] *= keep;
            UNROLL
            for (int u = 0; u < U; u++) {
                s[u][g] = exp2_fast(s[u][g] - shift);
                l[g] += s[u][g];
                s[u][g] *= sv[u];
            }
        }
        UNROLL
        for (int u = 0; u < U; u++) {
            float f[8];
            widen(ev[u], f);
            UNROLL
            for (int g = 0; g < G; g++)
                UNROLL
                for (int i = 0; i < 8; i++) acc[g][i] += s[u][g] * f[i];
        }
    }
    // The lanes of a warp that hold the same channels of different keys.
    UNROLL
    for (int g = 0; g < G; g++) {
        for (int o = lanes; o < 32; o *= 2) {
            const float other = __shfl_xor_sync(FULL_WARP, m[g], o), largest = fmaxf(m[g], other);
            const float shift = largest == -INFINITY_F ? 0.0f : largest;
            const float mine = exp2_fast(m[g] - shift), theirs = exp2_fast(other - shift);
            m[g] = largest;
            l[g] = l[g] * mine + __shfl_xor_sync(FULL_WARP, l[g], o) * theirs;
            UNROLL
            for (int i = 0; i < 8; i++)
                acc[g][i] = acc[g][i] * mine + __shfl_xor_sync(FULL_WARP, acc[g][i], o) * theirs;
        }
        if (sub == 0) {
            float* mine = shared + (warp * G + g) * (D + 2);
            if (active)
                UNROLL
                for (int i = 0; i < 8; i++) mine[d + i] = acc[g][i];
            if (lane == 0) {
                mine[D] = m[g];
                mine[D + 1] = l[g];
            }
        }
    }
    __syncthreads();
    // The warps of the block.
    float* partial = a.partial + ((size_t)row * a.heads + first_head) * a.splits * (D + 2);
    for (int i = threadIdx.x; i < heads * D; i += DECODE_WARPS * 32) {
        const int g = i / D, c = i % D;
        float largest = -INFINITY_F, sum = 0.0f, y = 0.0f;
        for (int w = 0; w < DECODE_WARPS; w++) largest = fmaxf(largest, shared[(w * G + g) * (D + 2) + D]);
        const float shift = largest == -INFINITY_F ? 0.0f : largest;
        for (int w = 0; w < DECODE_WARPS; w++) {
            const float* part = shared + (w * G + g) * (D + 2);
            const float weight = exp2_fast(part[D] - shift);
            sum += part[D + 1] * weight;
            y += part[c] * weight;
        }
        if (a.splits == 1) {
            decode_result(a, ((size_t)row * a.heads + first_head) * D + i, y / sum);
            continue;
        }
        float* part = partial + ((size_t)g * a.splits + blockIdx.x) * (D + 2);
        part[c] = y;
        if (c == 0) {
            part[D] = largest;
            part[D + 1] = sum;
        }
    }
    if (a.splits == 1) return;
    // What this block wrote is seen by whoever sees its arrival.
    __threadfence();
    __syncthreads();
    u32* arrived = a.arrived + (size_t)row * gridDim.y + blockIdx.y;
    if (threadIdx.x == 0) is_last = atomicAdd(arrived, 1u) + 1 == (u32)a.splits;
    __syncthreads();
    if (!is_last) return;
    __threadfence();
    for (int i = threadIdx.x; i < heads * D; i += DECODE_WARPS * 32) {
        const int g = i / D, c = i % D;
        const float* part = partial + (size_t)g * a.splits * (D + 2);
        float largest = -INFINITY_F, sum = 0.0f, y = 0.0f;
#pragma unroll 8
        for (int s = 0; s < a.splits; s++) largest = fmaxf(largest, __ldcg(part + s * (D + 2) + D));
#pragma unroll 8
        for (int s = 0; s < a.splits; s++) {
            const float weight = exp2_fast(__ldcg(part + s * (D + 2) + D) - largest);
            sum += __ldcg(part + s * (D + 2) + D + 1) * weight;
            y += __ldcg(part + s * (D + 2) + c) * weight;
        }
        decode_result(a, ((size_t)row * a.heads + first_head) * D + i, y / sum);
    }
    if (threadIdx.x == 0) *arrived = 0;
}

#define DECODE(C, name)                                                                                                \
    DEVICE void decode1_##name(const AttentionArgs& a) { decode<C, 1, 4>(a); }                                         \
    DEVICE void decode4_##name(const AttentionArgs& a) { decode<C, 4, 4>(a); }                                         \
    DEVICE void decode8_##name(const AttentionArgs& a) { decode<C, 8, 2>(a); }                                         \
    KERNEL(kprof_attend1_##name, 128, AttentionArgs, decode1_##name)                                                   \
    KERNEL(kprof_attend4_##name, 128, AttentionArgs, decode4_##name)                                                   \
    KERNEL(kprof_attend8_##name, 128, AttentionArgs, decode8_##name)

DECODE(float, f32)
DECODE(bf16, bf16)
DECODE(f16, f16)
DECODE(i8, int8)
