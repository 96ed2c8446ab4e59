/* AVX-512 with VNNI: a vector holds all 16 outputs. */

typedef __m512i simd_bytes;
typedef __m512i simd_weights;
typedef __m512i simd_sums;
typedef __m512 simd_floats;
typedef int8_t simd_activation;

SIMD_INLINE simd_bytes simd_load_bytes(const void *p) { return _mm512_loadu_si512(p); }
SIMD_INLINE simd_bytes simd_low_nibbles(simd_bytes v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
SIMD_INLINE simd_bytes simd_high_nibbles(simd_bytes v) {
    return _mm512_and_si512(_mm512_srli_epi16(v, 4), _mm512_set1_epi8(15));
}
/* Bits [shift, shift + width) of every byte, moved to bit 4. */
SIMD_INLINE simd_bytes simd_upper_bits(simd_bytes v, int shift, int width) {
    const __m512i mask = _mm512_set1_epi8((char)((1 << width) - 1));
    return _mm512_slli_epi16(_mm512_and_si512(_mm512_srli_epi16(v, (unsigned)shift), mask), 4);
}
SIMD_INLINE simd_bytes simd_or(simd_bytes a, simd_bytes b) { return _mm512_or_si512(a, b); }
SIMD_INLINE simd_weights simd_prepare(simd_bytes v) { return v; }

SIMD_INLINE simd_sums simd_none(void) { return _mm512_setzero_si512(); }
/* *value >> shift for every output. */
SIMD_INLINE simd_sums simd_start(const int32_t *value, int shift) {
    return _mm512_srai_epi32(_mm512_set1_epi32(*value), (unsigned)shift);
}
/* (*value - *part) >> shift */
SIMD_INLINE simd_sums simd_start_rest(const int32_t *value, const int32_t *part, int shift) {
    return _mm512_srai_epi32(_mm512_sub_epi32(_mm512_set1_epi32(*value), _mm512_set1_epi32(*part)), (unsigned)shift);
}
/* Adds, per output, the products of four weights with four activations. */
SIMD_INLINE simd_sums simd_dot(simd_sums sums, simd_weights w, const simd_activation *x) {
    int32_t four;
    memcpy(&four, x, 4);
    return _mm512_dpbusd_epi32(sums, w, _mm512_set1_epi32(four));
}
SIMD_INLINE simd_floats simd_finish(simd_sums sums) { return _mm512_cvtepi32_ps(sums); }

SIMD_INLINE simd_floats simd_zero(void) { return _mm512_setzero_ps(); }
SIMD_INLINE simd_floats simd_load(const float *p) { return _mm512_loadu_ps(p); }
SIMD_INLINE void simd_store(float *p, simd_floats v) { _mm512_storeu_ps(p, v); }
SIMD_INLINE simd_floats simd_load_halves(const void *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
/* The first or the second of 16 pairs of BF16. */
SIMD_INLINE simd_floats simd_load_bfloats(const void *p, int second) {
    const __m512i pairs = _mm512_loadu_si512(p);
    return _mm512_castsi512_ps(second ? _mm512_and_si512(pairs, _mm512_set1_epi32((int)0xFFFF0000u))
                                      : _mm512_slli_epi32(pairs, 16));
}
#ifdef __AVX512BF16__
/* sums + both products of 16 pairs of weights with the pair at `x`. */
SIMD_INLINE simd_floats simd_dot_pairs(simd_floats sums, simd_bytes weights, const void *x) {
    int32_t pair;
    memcpy(&pair, x, 4);
    return _mm512_dpbf16_ps(sums, (__m512bh)weights, (__m512bh)_mm512_set1_epi32(pair));
}
#endif
SIMD_INLINE simd_floats simd_load_unsigned(const void *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
SIMD_INLINE simd_floats simd_load_signed(const void *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
SIMD_INLINE simd_floats simd_scale(simd_floats v, float s) { return _mm512_mul_ps(v, _mm512_set1_ps(s)); }
SIMD_INLINE simd_floats simd_mul(simd_floats a, simd_floats b) { return _mm512_mul_ps(a, b); }
/* a * b + c */
SIMD_INLINE simd_floats simd_fma(simd_floats a, simd_floats b, simd_floats c) { return _mm512_fmadd_ps(a, b, c); }
SIMD_INLINE simd_floats simd_fma_scalar(simd_floats a, float b, simd_floats c) {
    return _mm512_fmadd_ps(a, _mm512_set1_ps(b), c);
}
SIMD_INLINE simd_floats simd_sub(simd_floats a, simd_floats b) { return _mm512_sub_ps(a, b); }
SIMD_INLINE simd_floats simd_splat(float s) { return _mm512_set1_ps(s); }
/* Byte `index` of every output's four, as floats. */
SIMD_INLINE simd_floats simd_byte(simd_bytes v, int index) {
    const __m512i byte = _mm512_and_si512(_mm512_srli_epi32(v, (unsigned)(8 * index)), _mm512_set1_epi32(255));
    return _mm512_cvtepi32_ps(byte);
}
/* The sum of all lanes, always as the same tree: halves are added until one is left. */
SIMD_INLINE float simd_sum(simd_floats v) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
SIMD_INLINE simd_floats simd_add(simd_floats a, simd_floats b) { return _mm512_add_ps(a, b); }
SIMD_INLINE simd_floats simd_div(simd_floats a, simd_floats b) { return _mm512_div_ps(a, b); }
/* The larger and the smaller; where either is NaN, b. */
SIMD_INLINE simd_floats simd_max(simd_floats a, simd_floats b) { return _mm512_max_ps(a, b); }
SIMD_INLINE simd_floats simd_min(simd_floats a, simd_floats b) { return _mm512_min_ps(a, b); }
/* v where x >= limit or x is NaN, else 0. */
SIMD_INLINE simd_floats simd_unless_below(simd_floats x, float limit, simd_floats v) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(limit), _CMP_NLT_UQ), v);
}
/* 2^n for whole numbers from -126 to 128, which gives infinity. */
SIMD_INLINE simd_floats simd_power_of_two(simd_floats n) {
    const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
}
SIMD_INLINE float simd_largest(simd_floats v) { return _mm512_reduce_max_ps(v); }
SIMD_INLINE float simd_first(simd_floats v) { return _mm512_cvtss_f32(v); }
SIMD_INLINE float simd_half(const void *p) {
    uint16_t bits;
    memcpy(&bits, p, 2);
    return _cvtsh_ss(bits);
}
