/*
 * The vector operations of the product kernels, for whichever instruction set the importing module is compiled for.
 *
 * A product works on 16 outputs at a time:
 *   simd_bytes    64 bytes: for each of 16 outputs, four consecutive k of unsigned weights
 *   simd_weights  the same, ready to be multiplied
 *   simd_sums     integer sums of 16 outputs, in an order of the instruction set's own
 *   simd_floats   16 floats, in order
 * Activations of one row are signed bytes in groups of four k, stored as simd_activation.
 *
 * No result depends on contraction: it is off, and a fused multiply-add is always written out. Instruction sets without
 * one round the product and the sum apart, so instruction sets may differ from each other.
 */
#ifndef FORETOKEN_SIMD_H
#define FORETOKEN_SIMD_H

#pragma STDC FP_CONTRACT OFF
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define SIMD_INLINE static inline __attribute__((always_inline, unused))

/* Into the second-level cache: the first is for activations. */
SIMD_INLINE void simd_prefetch(const void *address) { _mm_prefetch((const char *)address, _MM_HINT_T1); }

#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
#include "avx512.h"
#elif defined(__AVX2__)
#include "avx2.h"
#else
#include "sse2.h"
#endif

/* Where there is no instruction for it, activations stay floats and nobody calls this but tests. */
#ifndef __AVX512BF16__
SIMD_INLINE simd_floats simd_dot_pairs(simd_floats sums, simd_bytes weights, const void *x) {
    uint32_t pair;
    memcpy(&pair, x, 4);
    const uint32_t bits[2] = { pair << 16, pair & 0xFFFF0000u };
    float two[2];
    memcpy(two, bits, 8);
    const simd_floats first = simd_fma_scalar(simd_load_bfloats(&weights, 0), two[0], sums);
    return simd_fma_scalar(simd_load_bfloats(&weights, 1), two[1], first);
}
#endif

#endif
