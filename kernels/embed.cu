// Embedding: rows of the token table, plus rows of learned positions.
//
// Floor, R rows of H elements of b bytes: H R additions with positions, else 0 FLOPs; reads 4 R + H R b (2 H R b with
// positions, of which one row per distinct position), writes H R b.
//
// A row per block, eight elements per thread: all loads are coalesced, and rows of a prefill fill the chip.
#include "device.cuh"

struct EmbedArgs {
    const int* step;  // first position, context, unused, unused, then the ids, sequence by sequence
    const void* tokens;
    const void* positions;  // may be null
    void* y;
    int hidden;
    int new_tokens;
};

template <class T>
DEVICE void embed(const EmbedArgs& a) {
    int row = blockIdx.x;
    const T* token = (const T*)a.tokens + (size_t)a.step[4 + row] * a.hidden;
    const T* position = a.positions ? (const T*)a.positions + (size_t)(a.step[0] + row % a.new_tokens) * a.hidden : 0;
    T* y = (T*)a.y + (size_t)row * a.hidden;
    for (int c = threadIdx.x * 8; c < a.hidden; c += blockDim.x * 8) {
        float x[8], p[8];
        load_wide(token + c, x);
        if (position) {
            load_wide(position + c, p);
            for (int i = 0; i < 8; i++) x[i] += p[i];
        }
        store_rounded(y + c, x);
    }
}

KERNEL(kprof_embed_f32, 256, EmbedArgs, embed<float>)
KERNEL(kprof_embed_bf16, 256, EmbedArgs, embed<bf16>)
KERNEL(kprof_embed_f16, 256, EmbedArgs, embed<f16>)
