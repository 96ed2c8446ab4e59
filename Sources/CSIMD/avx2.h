/* AVX2 with FMA and F16C, and AVX-VNNI where the module is compiled for it: two vectors of 8 outputs. */

/* Swift imports no struct of stricter alignment than 16, hence the unaligned forms. */
typedef struct { __m256i_u a, b; } simd_bytes;
typedef struct { __m256_u a, b; } simd_floats;

SIMD_INLINE simd_bytes simd_load_bytes(const void *p) {
    const __m256i *v = (const __m256i *)p;
    simd_bytes r = { _mm256_loadu_si256(v), _mm256_loadu_si256(v + 1) };
    return r;
}
SIMD_INLINE simd_bytes simd_low_nibbles(simd_bytes v) {
    const __m256i mask = _mm256_set1_epi8(15);
    simd_bytes r = { _mm256_and_si256(v.a, mask), _mm256_and_si256(v.b, mask) };
    return r;
}
SIMD_INLINE simd_bytes simd_high_nibbles(simd_bytes v) {
    const __m256i mask = _mm256_set1_epi8(15);
    simd_bytes r = { _mm256_and_si256(_mm256_srli_epi16(v.a, 4), mask),
                     _mm256_and_si256(_mm256_srli_epi16(v.b, 4), mask) };
    return r;
}
SIMD_INLINE simd_bytes simd_upper_bits(simd_bytes v, int shift, int width) {
    const __m256i mask = _mm256_set1_epi8((char)((1 << width) - 1));
    simd_bytes r = { _mm256_slli_epi16(_mm256_and_si256(_mm256_srli_epi16(v.a, shift), mask), 4),
                     _mm256_slli_epi16(_mm256_and_si256(_mm256_srli_epi16(v.b, shift), mask), 4) };
    return r;
}
SIMD_INLINE simd_bytes simd_or(simd_bytes a, simd_bytes b) {
    simd_bytes r = { _mm256_or_si256(a.a, b.a), _mm256_or_si256(a.b, b.b) };
    return r;
}

#ifdef __AVXVNNI__

typedef simd_bytes simd_weights;
typedef struct { __m256i_u a, b; } simd_sums;
typedef int8_t simd_activation;

SIMD_INLINE simd_weights simd_prepare(simd_bytes v) { return v; }
SIMD_INLINE simd_sums simd_same(int32_t value) {
    simd_sums r = { _mm256_set1_epi32(value), _mm256_set1_epi32(value) };
    return r;
}
SIMD_INLINE simd_sums simd_dot(simd_sums sums, simd_weights w, const simd_activation *x) {
    int32_t four;
    memcpy(&four, x, 4);
    const __m256i all = _mm256_set1_epi32(four);
    simd_sums r = { _mm256_dpbusd_avx_epi32(sums.a, w.a, all), _mm256_dpbusd_avx_epi32(sums.b, w.b, all) };
    return r;
}
SIMD_INLINE simd_floats simd_finish(simd_sums sums) {
    simd_floats r = { _mm256_cvtepi32_ps(sums.a), _mm256_cvtepi32_ps(sums.b) };
    return r;
}

#else

/* There is no product of unsigned and signed bytes that cannot saturate: everything is widened to 16 bits, four vectors
 * of 4 outputs. A sum holds two partial sums for each output. */
typedef struct { __m256i_u a, b, c, d; } simd_weights;
typedef struct { __m256i_u a, b, c, d; } simd_sums;
typedef int16_t simd_activation;

SIMD_INLINE simd_weights simd_prepare(simd_bytes v) {
    simd_weights r = { _mm256_cvtepu8_epi16(_mm256_castsi256_si128(v.a)),
                       _mm256_cvtepu8_epi16(_mm256_extracti128_si256(v.a, 1)),
                       _mm256_cvtepu8_epi16(_mm256_castsi256_si128(v.b)),
                       _mm256_cvtepu8_epi16(_mm256_extracti128_si256(v.b, 1)) };
    return r;
}
SIMD_INLINE simd_sums simd_same(int32_t value) {
    /* In the first of the two partial sums. */
    const __m256i v = _mm256_set1_epi64x((long long)(uint32_t)value);
    simd_sums r = { v, v, v, v };
    return r;
}
SIMD_INLINE simd_sums simd_dot(simd_sums s, simd_weights w, const simd_activation *x) {
    long long four;
    memcpy(&four, x, 8);
    const __m256i all = _mm256_set1_epi64x(four);
    simd_sums r = { _mm256_add_epi32(s.a, _mm256_madd_epi16(w.a, all)),
                    _mm256_add_epi32(s.b, _mm256_madd_epi16(w.b, all)),
                    _mm256_add_epi32(s.c, _mm256_madd_epi16(w.c, all)),
                    _mm256_add_epi32(s.d, _mm256_madd_epi16(w.d, all)) };
    return r;
}
/* Adds the partial sums of outputs 0-3 (low) and 4-7 (high), in order. */
SIMD_INLINE __m256i simd_pairs(__m256i low, __m256i high) {
    return _mm256_permute4x64_epi64(_mm256_hadd_epi32(low, high), 0xD8);
}
SIMD_INLINE simd_floats simd_finish(simd_sums s) {
    simd_floats r = { _mm256_cvtepi32_ps(simd_pairs(s.a, s.b)), _mm256_cvtepi32_ps(simd_pairs(s.c, s.d)) };
    return r;
}

#endif

SIMD_INLINE simd_sums simd_none(void) { return simd_same(0); }
SIMD_INLINE simd_sums simd_start(const int32_t *value, int shift) { return simd_same(*value >> shift); }
SIMD_INLINE simd_sums simd_start_rest(const int32_t *value, const int32_t *part, int shift) {
    return simd_same((*value - *part) >> shift);
}

SIMD_INLINE simd_floats simd_zero(void) {
    simd_floats r = { _mm256_setzero_ps(), _mm256_setzero_ps() };
    return r;
}
SIMD_INLINE simd_floats simd_load(const float *p) {
    simd_floats r = { _mm256_loadu_ps(p), _mm256_loadu_ps(p + 8) };
    return r;
}
SIMD_INLINE void simd_store(float *p, simd_floats v) {
    _mm256_storeu_ps(p, v.a);
    _mm256_storeu_ps(p + 8, v.b);
}
SIMD_INLINE simd_floats simd_load_halves(const void *p) {
    const __m128i *v = (const __m128i *)p;
    simd_floats r = { _mm256_cvtph_ps(_mm_loadu_si128(v)), _mm256_cvtph_ps(_mm_loadu_si128(v + 1)) };
    return r;
}
SIMD_INLINE __m256 simd_bfloats_8(__m256i pairs, int second) {
    return _mm256_castsi256_ps(second ? _mm256_and_si256(pairs, _mm256_set1_epi32((int)0xFFFF0000u))
                                      : _mm256_slli_epi32(pairs, 16));
}
SIMD_INLINE simd_floats simd_load_bfloats(const void *p, int second) {
    const __m256i *v = (const __m256i *)p;
    simd_floats r = { simd_bfloats_8(_mm256_loadu_si256(v), second), simd_bfloats_8(_mm256_loadu_si256(v + 1), second) };
    return r;
}
SIMD_INLINE simd_floats simd_load_unsigned(const void *p) {
    const __m128i v = _mm_loadu_si128((const __m128i *)p);
    simd_floats r = { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(v)),
                      _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(v, 8))) };
    return r;
}
SIMD_INLINE simd_floats simd_load_signed(const void *p) {
    const __m128i v = _mm_loadu_si128((const __m128i *)p);
    simd_floats r = { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v)),
                      _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(v, 8))) };
    return r;
}
SIMD_INLINE simd_floats simd_mul(simd_floats a, simd_floats b) {
    simd_floats r = { _mm256_mul_ps(a.a, b.a), _mm256_mul_ps(a.b, b.b) };
    return r;
}
SIMD_INLINE simd_floats simd_scale(simd_floats v, float s) {
    simd_floats r = { _mm256_mul_ps(v.a, _mm256_set1_ps(s)), _mm256_mul_ps(v.b, _mm256_set1_ps(s)) };
    return r;
}
SIMD_INLINE simd_floats simd_fma(simd_floats a, simd_floats b, simd_floats c) {
    simd_floats r = { _mm256_fmadd_ps(a.a, b.a, c.a), _mm256_fmadd_ps(a.b, b.b, c.b) };
    return r;
}
SIMD_INLINE simd_floats simd_fma_scalar(simd_floats a, float b, simd_floats c) {
    simd_floats r = { _mm256_fmadd_ps(a.a, _mm256_set1_ps(b), c.a), _mm256_fmadd_ps(a.b, _mm256_set1_ps(b), c.b) };
    return r;
}
SIMD_INLINE simd_floats simd_sub(simd_floats a, simd_floats b) {
    simd_floats r = { _mm256_sub_ps(a.a, b.a), _mm256_sub_ps(a.b, b.b) };
    return r;
}
SIMD_INLINE simd_floats simd_splat(float s) {
    simd_floats r = { _mm256_set1_ps(s), _mm256_set1_ps(s) };
    return r;
}
SIMD_INLINE simd_floats simd_byte(simd_bytes v, int index) {
    const __m256i mask = _mm256_set1_epi32(255);
    simd_floats r = { _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(v.a, 8 * index), mask)),
                      _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(v.b, 8 * index), mask)) };
    return r;
}
SIMD_INLINE float simd_sum(simd_floats v) {
    const __m256 eight = _mm256_add_ps(v.a, v.b);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
SIMD_INLINE simd_floats simd_add(simd_floats a, simd_floats b) {
    simd_floats r = { _mm256_add_ps(a.a, b.a), _mm256_add_ps(a.b, b.b) };
    return r;
}
SIMD_INLINE simd_floats simd_div(simd_floats a, simd_floats b) {
    simd_floats r = { _mm256_div_ps(a.a, b.a), _mm256_div_ps(a.b, b.b) };
    return r;
}
SIMD_INLINE simd_floats simd_max(simd_floats a, simd_floats b) {
    simd_floats r = { _mm256_max_ps(a.a, b.a), _mm256_max_ps(a.b, b.b) };
    return r;
}
SIMD_INLINE simd_floats simd_min(simd_floats a, simd_floats b) {
    simd_floats r = { _mm256_min_ps(a.a, b.a), _mm256_min_ps(a.b, b.b) };
    return r;
}
SIMD_INLINE simd_floats simd_unless_below(simd_floats x, float limit, simd_floats v) {
    const __m256 all = _mm256_set1_ps(limit);
    simd_floats r = { _mm256_and_ps(_mm256_cmp_ps(x.a, all, _CMP_NLT_UQ), v.a),
                      _mm256_and_ps(_mm256_cmp_ps(x.b, all, _CMP_NLT_UQ), v.b) };
    return r;
}
SIMD_INLINE __m256 simd_power_of_two_8(__m256 n) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}
SIMD_INLINE simd_floats simd_power_of_two(simd_floats n) {
    simd_floats r = { simd_power_of_two_8(n.a), simd_power_of_two_8(n.b) };
    return r;
}
SIMD_INLINE float simd_largest(simd_floats v) {
    const __m256 eight = _mm256_max_ps(v.a, v.b);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}
SIMD_INLINE float simd_first(simd_floats v) { return _mm256_cvtss_f32(v.a); }
SIMD_INLINE float simd_half(const void *p) {
    uint16_t bits;
    memcpy(&bits, p, 2);
    return _cvtsh_ss(bits);
}
