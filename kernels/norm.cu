// Layer norm and RMS norm of rows, the RMS norm of heads, and their fusion with the residual before them.
//
// Floor, R rows of H elements of b bytes: 8 H R FLOPs (layer) or 4 H R (RMS), H R more with a residual; reads H R b and
// the gain (and bias), 2 H R b with a residual, writes H R b, 2 H R b with a residual.
//
// A row per block; the row is read three times (mean, variance, result) and lies in L1 after the first.
#include "device.cuh"

struct NormArgs {
    const void* x;
    const void* branch;  // may be null: then x itself is normed
    void* sum;           // where x + branch goes
    const void* gain;
    const void* bias;  // may be null
    void* y;
    int width;
    int every;  // row r of the result is row (r + 1) * every - 1 of x
    int kind;
    float eps;
};

template <class T>
DEVICE void norm(const NormArgs& a) {
    size_t from = (((size_t)blockIdx.x + 1) * a.every - 1) * a.width;
    const T* row = (const T*)a.x + from;
    if (a.branch) {
        T* sum = (T*)a.sum + from;
        for (int c = threadIdx.x * 8; c < a.width; c += blockDim.x * 8) {
            float x[8], y[8];
            load_wide(row + c, x);
            load_wide((const T*)a.branch + from + c, y);
            for (int i = 0; i < 8; i++) x[i] += y[i];
            store_rounded(sum + c, x);
        }
        // Each thread reads below only what it wrote itself.
        row = sum;
    }
    T* y = (T*)a.y + (size_t)blockIdx.x * a.width;
    normalise(row, y, (const T*)a.gain, (const T*)a.bias, a.width, a.kind, a.eps);
}

KERNEL(kprof_norm_f32, 256, NormArgs, norm<float>)
KERNEL(kprof_norm_bf16, 256, NormArgs, norm<bf16>)
KERNEL(kprof_norm_f16, 256, NormArgs, norm<f16>)

struct HeadNormArgs {
    void* x;
    const void* gain;
    int stride;  // elements from row to row
    int first_column;
    int heads;
    int head_dim;
    int items;  // rows x heads
    float eps;
};

// A warp per head of a row, in place.
template <class T>
DEVICE void head_norm(const HeadNormArgs& a) {
    int item = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (item >= a.items) return;
    T* x = (T*)a.x + (size_t)(item / a.heads) * a.stride + a.first_column + item % a.heads * a.head_dim;
    float squares = 0.0f;
    for (int c = lane; c < a.head_dim; c += 32) squares += to_float(x[c]) * to_float(x[c]);
    float scale = 1.0f / sqrtf(warp_sum(squares) / a.head_dim + a.eps);
    for (int c = lane; c < a.head_dim; c += 32) x[c] = rounded<T>(to_float(x[c]) * scale * to_float(((const T*)a.gain)[c]));
}

KERNEL(kprof_head_norm_f32, 128, HeadNormArgs, head_norm<float>)
KERNEL(kprof_head_norm_bf16, 128, HeadNormArgs, head_norm<bf16>)
KERNEL(kprof_head_norm_f16, 128, HeadNormArgs, head_norm<f16>)
