// Ops of one element at a time: GELU, the gate of a gated MLP, the residual, rotary positions.
//
// Floors, N results of b bytes: gelu 8 N FLOPs, reads N b; gate (nonlinearity + 1) N, reads 2 N b; residual N, reads
// 2 N b; all write N b. Rope turns N channels: 3 N FLOPs, reads N b and 8 B per pair and position, writes N b.
//
// Eight elements per thread; the grid covers the tensor, so that short ones end at once and long ones fill the chip.
#include "device.cuh"

struct PointwiseArgs {
    const void* x;
    const void* other;  // residual: the branch
    void* y;
    int rows;
    int width;  // of the result; what gate reads is twice as wide
    int activation;
    int reserved;
};

template <class T>
DEVICE void activation(const PointwiseArgs& a) {
    size_t at = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * 8;
    if (at >= (size_t)a.rows * a.width) return;
    float x[8];
    load_wide((const T*)a.x + at, x);
    for (int i = 0; i < 8; i++) x[i] = activate(x[i], a.activation);
    store_rounded((T*)a.y + at, x);
}

template <class T>
DEVICE void gate(const PointwiseArgs& a) {
    size_t at = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * 8;
    if (at >= (size_t)a.rows * a.width) return;
    const T* row = (const T*)a.x + at / a.width * 2 * a.width + at % a.width;
    float x[8], up[8];
    load_wide(row, x);
    load_wide(row + a.width, up);
    for (int i = 0; i < 8; i++) x[i] = activate(x[i], a.activation) * up[i];
    store_rounded((T*)a.y + at, x);
}

template <class T>
DEVICE void residual(const PointwiseArgs& a) {
    size_t at = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * 8;
    if (at >= (size_t)a.rows * a.width) return;
    float x[8], branch[8];
    load_wide((const T*)a.x + at, x);
    load_wide((const T*)a.other + at, branch);
    for (int i = 0; i < 8; i++) x[i] += branch[i];
    store_rounded((T*)a.y + at, x);
}

KERNEL(kprof_activation_f32, 256, PointwiseArgs, activation<float>)
KERNEL(kprof_activation_bf16, 256, PointwiseArgs, activation<bf16>)
KERNEL(kprof_activation_f16, 256, PointwiseArgs, activation<f16>)
KERNEL(kprof_gate_f32, 256, PointwiseArgs, gate<float>)
KERNEL(kprof_gate_bf16, 256, PointwiseArgs, gate<bf16>)
KERNEL(kprof_gate_f16, 256, PointwiseArgs, gate<f16>)
KERNEL(kprof_residual_f32, 256, PointwiseArgs, residual<float>)
KERNEL(kprof_residual_bf16, 256, PointwiseArgs, residual<bf16>)
KERNEL(kprof_residual_f16, 256, PointwiseArgs, residual<f16>)

struct RopeArgs {
    void* x;
    const float* cos;  // [positions, pairs]
    const float* sin;
    const int* step;  // first position, context
    int stride;       // elements from row to row
    int new_tokens;
    int heads;
    int head_dim;
    int pairs;
    int items;  // rows x heads x pairs
};

// A thread per pair, in place: channel i of a head with channel i + pairs.
template <class T>
DEVICE void rope(const RopeArgs& a) {
    int item = blockIdx.x * blockDim.x + threadIdx.x;
    if (item >= a.items) return;
    int pair = item % a.pairs, head = item / a.pairs % a.heads, row = item / a.pairs / a.heads;
    int angle = (a.step[0] + row % a.new_tokens) * a.pairs + pair;
    float c = a.cos[angle], s = a.sin[angle];
    T* x = (T*)a.x + (size_t)row * a.stride + head * a.head_dim + pair;
    float first = to_float(x[0]), second = to_float(x[a.pairs]);
    x[0] = rounded<T>(first * c - second * s);
    x[a.pairs] = rounded<T>(second * c + first * s);
}

KERNEL(kprof_rope_f32, 256, RopeArgs, rope<float>)
KERNEL(kprof_rope_bf16, 256, RopeArgs, rope<bf16>)
KERNEL(kprof_rope_f16, 256, RopeArgs, rope<f16>)
