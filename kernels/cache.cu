// Appending K and V to a cache in its storage type, quantised on the way where that is INT8.
//
// Floor, E = 2 x rows x kv_heads x head_dim elements of b bytes: reads E b, writes the cache's bytes of them (with one f16
// scale per token and head for INT8); 4 E FLOPs where quantised.
//
// A cache is [batch, kv_heads, capacity, head_dim], K and V apart, and [batch, kv_heads, capacity] scales: the tokens of a
// head lie side by side, so that decode reads one run of memory per head.
#include "device.cuh"

struct AppendArgs {
    const void* qkv;  // [rows, stride], K and V columns from first_column on
    void* k;
    void* v;
    void* k_scale;  // f16, INT8 only
    void* v_scale;
    const int* step;  // first position, context
    int stride;
    int first_column;
    int new_tokens;
    int kv_heads;
    int head_dim;
    int capacity;
    int items;  // 2 x rows x kv_heads
    int reserved;
};

template <class T, class C>
DEVICE void append_head(const T* from, C* to, f16*, int head_dim, int lane) {
    for (int c = lane; c < head_dim; c += 32) to[c] = rounded<C>(to_float(from[c]));
}

// Symmetric: scale = max |x| / 127 rounded to f16, code = x / scale rounded to nearest, halves away from zero. The codes use
// the rounded scale, which is what reading multiplies by; the smallest positive f16 stands in for 0.
template <class T>
DEVICE void append_head(const T* from, i8* to, f16* scale, int head_dim, int lane) {
    float largest = 0.0f;
    for (int c = lane; c < head_dim; c += 32) largest = fmaxf(largest, fabsf(to_float(from[c])));
    largest = warp_max(largest);
    const f16 stored = rounded<f16>(fmaxf(largest * (1.0f / 127.0f), 5.9604645e-8f));
    const float step = to_float(stored);
    for (int c = lane; c < head_dim; c += 32)
        to[c] = (i8)fminf(fmaxf(roundf(to_float(from[c]) / step), -127.0f), 127.0f);
    if (lane == 0) *scale = stored;
}

// A warp per K or V head of a token.
template <class T, class C>
DEVICE void append(const AppendArgs& a) {
    const int item = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (item >= a.items) return;
    const int head = item % a.kv_heads, is_v = item / a.kv_heads % 2, row = item / a.kv_heads / 2;
    const int position = a.step[0] + row % a.new_tokens;
    if (position >= a.capacity) return;
    const int column = a.first_column + (is_v * a.kv_heads + head) * a.head_dim;
    const T* from = (const T*)a.qkv + (size_t)row * a.stride + column;
    const size_t token = ((size_t)(row / a.new_tokens) * a.kv_heads + head) * a.capacity + position;
    f16* scales = (f16*)(is_v ? a.v_scale : a.k_scale);
    append_head(from, (C*)(is_v ? a.v : a.k) + token * a.head_dim, scales + token, a.head_dim, lane);
}

#define APPEND(T, name)                                                                                                \
    DEVICE void append_##name##_as_f32(const AppendArgs& a) { append<T, float>(a); }                                   \
    DEVICE void append_##name##_as_bf16(const AppendArgs& a) { append<T, bf16>(a); }                                   \
    DEVICE void append_##name##_as_f16(const AppendArgs& a) { append<T, f16>(a); }                                     \
    DEVICE void append_##name##_as_int8(const AppendArgs& a) { append<T, i8>(a); }                                     \
    KERNEL(kprof_append_##name##_f32, 128, AppendArgs, append_##name##_as_f32)                                         \
    KERNEL(kprof_append_##name##_bf16, 128, AppendArgs, append_##name##_as_bf16)                                       \
    KERNEL(kprof_append_##name##_f16, 128, AppendArgs, append_##name##_as_f16)                                         \
    KERNEL(kprof_append_##name##_int8, 128, AppendArgs, append_##name##_as_int8)

APPEND(float, f32)
APPEND(bf16, bf16)
APPEND(f16, f16)
