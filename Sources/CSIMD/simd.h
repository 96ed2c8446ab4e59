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

#endif
