// Decode linears: y = epilogue(norm(x) W^T + b) of up to eight rows, and the head among them.
//
// Floor, M rows, K inputs, N outputs of b bytes: 2 M K N FLOPs (+ M N bias, norm, activation, residual); reads the
// weights K N b (+ N b), M K b, and M N b of a residual; writes M N b. At small M the weights are all there is.
//
// A warp computes two outputs, so that an x that was read serves twice, and asks for 16 bytes of weights per lane and
// load with two loads of each output under way: four times 16 B x 32 lanes a warp, some 32 KB per block, more than an
// H100's bandwidth x latency per multiprocessor (25 KB at 3.35 TB/s and 1 us). Where outputs are few, `split` warps share
// a pair of outputs, so that even 768 of them keep every multiprocessor busy. A norm before the product is computed by
// every block for itself into shared memory: its input is L2-resident and far smaller than the weights of a block, and a
// launch less is worth more.
#include "device.cuh"

struct GemvArgs {
    const void* x;
    const void* weight;     // [outputs, inputs]
    const void* bias;       // may be null
    const void* residual;   // may be null: [rows, outputs], added last
    const void* gain;       // of the norm
    const void* norm_bias;  // may be null
    void* y;
    int rows;
    int inputs;
    int outputs;  // rows of the weights; a gate writes half as many
    int every;    // row r is row (r + 1) * every - 1 of x
    int norm;
    float eps;
    int activation;
    int gate;   // whether output n is activation(n) x (n + outputs / 2)
    int split;  // warps that share a pair of outputs: 1, 2, 4, 8
    int reserved;
};

#define GEMV_WARPS 8
#define GEMV_UNROLL 2

template <class T, int M>
DEVICE void gemv(const GemvArgs& a) {
    SHARED float partial[GEMV_WARPS][2 * M];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int K = a.inputs;
    const T* x = (const T*)a.x + (size_t)(a.every - 1) * K;
    size_t x_stride = (size_t)a.every * K;
    if (a.norm != NORM_NONE) {
        T* normed = (T*)shared_memory();
        for (int m = 0; m < a.rows; m++) {
            const T* row = x + m * x_stride;
            normalise(row, normed + m * K, (const T*)a.gain, (const T*)a.norm_bias, K, a.norm, a.eps);
        }
        __syncthreads();
        x = normed;
        x_stride = K;
    }
    const int results = a.gate ? a.outputs / 2 : a.outputs;
    const int pairs = a.gate ? results : (results + 1) / 2;
    const int per_block = GEMV_WARPS / a.split, part = warp % a.split;
    for (int first = blockIdx.x * per_block; first < pairs; first += gridDim.x * per_block) {
        const int pair = first + warp / a.split;
        const int n0 = a.gate ? pair : 2 * pair;
        const int n1 = a.gate ? pair + results : 2 * pair + 1;
        float sum[2][M];
        UNROLL
        for (int m = 0; m < M; m++) sum[0][m] = sum[1][m] = 0.0f;
        if (pair < pairs) {
            const T* w0 = (const T*)a.weight + (size_t)n0 * K;
            // The last of an odd number of outputs has no partner: it is computed twice, and written once.
            const T* w1 = n1 < a.outputs ? (const T*)a.weight + (size_t)n1 * K : w0;
            const int hop = 32 * 8 * a.split;
            for (int k = (part * 32 + lane) * 8; k < K; k += hop * GEMV_UNROLL) {
                Eight<T> e0[GEMV_UNROLL], e1[GEMV_UNROLL];
                UNROLL
                for (int u = 0; u < GEMV_UNROLL; u++) {
                    if (k + u * hop < K) {
                        load_once(e0[u], w0 + k + u * hop);
                        load_once(e1[u], w1 + k + u * hop);
                    } else {
                        clear(e0[u]);
                        clear(e1[u]);
                    }
                }
                UNROLL
                for (int u = 0; u < GEMV_UNROLL; u++) {
                    const int at = k + u * hop < K ? k + u * hop : k;
                    float f0[8], f1[8];
                    widen(e0[u], f0);
                    widen(e1[u], f1);
                    UNROLL
                    for (int m = 0; m < M; m++) {
                        if (m < a.rows) {
                            float f[8];
                            load_wide(x + m * x_stride + at, f);
                            UNROLL
                            for (int i = 0; i < 8; i++) {
                                sum[0][m] += f0[i] * f[i];
                                sum[1][m] += f1[i] * f[i];
                            }
                        }
                    }
                }
            }
        }
        UNROLL
        for (int m = 0; m < M; m++) {
            sum[0][m] = warp_sum(sum[0][m]);
            sum[1][m] = warp_sum(sum[1][m]);
        }
        if (a.split > 1) {
            __syncthreads();
            UNROLL
            for (int m = 0; m < M; m++) {
                if (lane == 0) {
                    partial[warp][2 * m] = sum[0][m];
                    partial[warp][2 * m + 1] = sum[1][m];
                }
            }
            __syncthreads();
            UNROLL
            for (int m = 0; m < M; m++) {
                sum[0][m] = sum[1][m] = 0.0f;
                for (int p = 0; p < a.split; p++) {
                    sum[0][m] += partial[warp - part + p][2 * m];
                    sum[1][m] += partial[warp - part + p][2 * m + 1];
                }
            }
        }
        if (pair < pairs && part == 0 && lane == 0) {
            const T* bias = (const T*)a.bias;
            UNROLL
            for (int m = 0; m < M; m++) {
                if (m >= a.rows) continue;
                float r0 = sum[0][m] + (bias ? to_float(bias[n0]) : 0.0f);
                float r1 = sum[1][m] + (bias && n1 < a.outputs ? to_float(bias[n1]) : 0.0f);
                const size_t to = (size_t)m * results + n0;
                T* y = (T*)a.y;
                const T* residual = (const T*)a.residual;
                if (a.gate) {
                    y[to] = rounded<T>(activate(r0, a.activation) * r1);
                    continue;
                }
                r0 = activate(r0, a.activation) + (residual ? to_float(residual[to]) : 0.0f);
                y[to] = rounded<T>(r0);
                if (n1 < a.outputs) {
                    r1 = activate(r1, a.activation) + (residual ? to_float(residual[to + 1]) : 0.0f);
                    y[to + 1] = rounded<T>(r1);
                }
            }
        }
    }
}

#define GEMV(T, name)                                                                                                  \
    DEVICE void gemv1_##name(const GemvArgs& a) { gemv<T, 1>(a); }                                                     \
    DEVICE void gemv2_##name(const GemvArgs& a) { gemv<T, 2>(a); }                                                     \
    DEVICE void gemv4_##name(const GemvArgs& a) { gemv<T, 4>(a); }                                                     \
    DEVICE void gemv8_##name(const GemvArgs& a) { gemv<T, 8>(a); }                                                     \
    KERNEL(kprof_gemv1_##name, 256, GemvArgs, gemv1_##name)                                                            \
    KERNEL(kprof_gemv2_##name, 256, GemvArgs, gemv2_##name)                                                            \
    KERNEL(kprof_gemv4_##name, 256, GemvArgs, gemv4_##name)                                                            \
    KERNEL(kprof_gemv8_##name, 256, GemvArgs, gemv8_##name)

GEMV(float, f32)
GEMV(bf16, bf16)
GEMV(f16, f16)
