// What both attention kernels take: queries, and K and V in a cache or among the activations.
#pragma once
#include "device.cuh"

// Storage as the host numbers it.
enum { STORED_F32 = 0, STORED_BF16 = 1, STORED_F16 = 2, STORED_INT8 = 3 };

struct AttentionArgs {
    const void* q;  // [rows, q_stride], heads side by side
    const void* k;
    const void* v;
    const void* k_scale;  // f16 of [batch, kv_heads, capacity], INT8 only
    const void* v_scale;
    void* y;           // [rows, heads x head_dim]
    float* partial;    // split decode: [rows, heads, splits, head_dim + 2]
    u32* arrived;      // split decode: zeros, and again zeros afterwards
    const int* step;   // first position, context
    u64 batch_stride;  // of K and V, in elements: sequence to sequence
    u64 head_stride;
    u64 token_stride;
    u64 scale_stride;  // head to head of the scales: the capacity
    int q_stride;
    int heads;
    int kv_heads;
    int head_dim;
    int new_tokens;
    int window;  // how many of the latest tokens are seen; 0 is all
    int splits;
    int dtype;  // of q and y, as STORED_
    int storage;  // of K and V, as STORED_
    float scale;  // 1 / sqrt(head_dim)
};
