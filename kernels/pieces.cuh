// f32 on tensor cores: a number as the sum of three bfloat16 pieces, a product as six products of pieces.
//
// A number's first piece is its bfloat16, the next that of what is missing, and so once more: 8 bits each are all 24, so
// that the three are the number exactly; the second is at most 2^-8 of it, the third 2^-17 (Henry, Tang and Heinecke 2019).
// Of the nine products of pieces six are summed: what is left out is 2^-24 of a product (twice 2^-8 x 2^-17), one rounding
// of f32. Each product is exact: 16 bits.
//
// Why not three products of TF32 (Ootomo and Yokota 2022, CUTLASS's OpMultiplyAddFastF32)? They cost the same, tensor cores
// being half as fast for TF32 as for bfloat16 (A100 156 and 312 TFLOP/s, H100 495 and 989: 52 and 165 for f32 either way,
// beside 19.5 and 67 of FMAs), and leave out 2^-22 of a product and the last bit of a number whose second piece is long. A piece
// of bfloat16 is half a register, so that an operand in pieces takes 1.5 registers a number and not 2, and ldmatrix, which
// transposes 16-bit elements alone, serves V too.
//
// Tensor cores cut sums off, toward zero, and not to nearest (Fasi et al. 2021): over a long sum that is a bias that f32 does
// not have. So every 16 inputs are summed from zero, smallest products first, and added to the sums by an ordinary addition
// (Ootomo and Yokota 2022).
//
// Range: that of f32, but that pieces below 2^-133, the smallest bfloat16, are lost, which is a part of numbers below 2^-110;
// and numbers from 2^128 - 2^119 on (3.39e38) round to an infinite piece. What is infinite, or NaN, or so large, makes every
// sum that it is in NaN.
#pragma once
#include "device.cuh"

#define PIECES 3

// Two numbers in pieces, as mma and ldmatrix hold neighbours.
DEVICE void split_pair(float low, float high, u32 (&pieces)[PIECES]) {
    UNROLL
    for (int p = 0; p < PIECES; p++) {
        pieces[p] = pack(bf16(), low, high);
        float l, h;
        unpack(bf16(), pieces[p], l, h);
        low -= l;
        high -= h;
    }
}

// Eight numbers into tiles of their pieces, `tile` elements from one to the next.
DEVICE void split_eight(const float (&x)[8], bf16* to, int tile) {
    u32 pairs[4][PIECES];
    UNROLL
    for (int i = 0; i < 4; i++) split_pair(x[2 * i], x[2 * i + 1], pairs[i]);
    UNROLL
    for (int p = 0; p < PIECES; p++)
        *(uint4*)(to + p * tile) = make_uint4(pairs[0][p], pairs[1][p], pairs[2][p], pairs[3][p]);
}

// d += a b over 16 inputs: I times 16 rows of a, J times 8 columns of b, each in pieces. Products that do not wait for each
// other stand side by side.
template <int I, int J>
DEVICE void multiply_add_pieces(float (&d)[I][J][4], const u32 (&a)[I][PIECES][4], const u32 (&b)[J][PIECES][2]) {
    float sums[I][J][4];
    UNROLL
    for (int i = 0; i < I; i++)
        UNROLL
        for (int j = 0; j < J; j++)
            UNROLL
            for (int e = 0; e < 4; e++) sums[i][j][e] = 0.0f;
    // By size, from the smallest on: pieces of a and b that add up to 2, to 1, to 0.
    UNROLL
    for (int size = PIECES - 1; size >= 0; size--)
        UNROLL
        for (int p = 0; p <= size; p++)
            UNROLL
            for (int i = 0; i < I; i++)
                UNROLL
                for (int j = 0; j < J; j++) multiply_add(bf16(), sums[i][j], a[i][p], b[j][size - p][0], b[j][size - p][1]);
    UNROLL
    for (int i = 0; i < I; i++)
        UNROLL
        for (int j = 0; j < J; j++)
            UNROLL
            for (int e = 0; e < 4; e++) d[i][j][e] += sums[i][j][e];
}
