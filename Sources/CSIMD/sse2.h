/* SSE2, which every x86-64 has: four vectors of 4 outputs. */

typedef struct { __m128i v[4]; } simd_bytes;
typedef struct { __m128i v[8]; } simd_weights; /* 16-bit, two outputs each */
typedef struct { __m128i v[8]; } simd_sums;    /* two partial sums of two outputs each */
typedef struct { __m128 v[4]; } simd_floats;
typedef int16_t simd_activation;

#define SIMD_EACH(type, count, expression) \
    type r; \
    for (int i = 0; i < (count); i++) r.v[i] = (expression); \
    return r

SIMD_INLINE simd_bytes simd_load_bytes(const void *p) {
    SIMD_EACH(simd_bytes, 4, _mm_loadu_si128((const __m128i *)p + i));
}
SIMD_INLINE simd_bytes simd_low_nibbles(simd_bytes v) {
    SIMD_EACH(simd_bytes, 4, _mm_and_si128(v.v[i], _mm_set1_epi8(15)));
}
SIMD_INLINE simd_bytes simd_high_nibbles(simd_bytes v) {
    SIMD_EACH(simd_bytes, 4, _mm_and_si128(_mm_srli_epi16(v.v[i], 4), _mm_set1_epi8(15)));
}
SIMD_INLINE simd_bytes simd_upper_bits(simd_bytes v, int shift, int width) {
    const __m128i mask = _mm_set1_epi8((char)((1 << width) - 1));
    SIMD_EACH(simd_bytes, 4, _mm_slli_epi16(_mm_and_si128(_mm_srli_epi16(v.v[i], shift), mask), 4));
}
SIMD_INLINE simd_bytes simd_or(simd_bytes a, simd_bytes b) { SIMD_EACH(simd_bytes, 4, _mm_or_si128(a.v[i], b.v[i])); }
SIMD_INLINE simd_weights simd_prepare(simd_bytes v) {
    const __m128i zero = _mm_setzero_si128();
    SIMD_EACH(simd_weights, 8,
              i % 2 == 0 ? _mm_unpacklo_epi8(v.v[i / 2], zero) : _mm_unpackhi_epi8(v.v[i / 2], zero));
}
SIMD_INLINE simd_sums simd_same(int32_t value) {
    SIMD_EACH(simd_sums, 8, _mm_set1_epi64x((long long)(uint32_t)value));
}
SIMD_INLINE simd_sums simd_none(void) { return simd_same(0); }
SIMD_INLINE simd_sums simd_start(const int32_t *value, int shift) { return simd_same(*value >> shift); }
SIMD_INLINE simd_sums simd_start_rest(const int32_t *value, const int32_t *part, int shift) {
    return simd_same((*value - *part) >> shift);
}
SIMD_INLINE simd_sums simd_dot(simd_sums s, simd_weights w, const simd_activation *x) {
    long long four;
    memcpy(&four, x, 8);
    const __m128i all = _mm_set1_epi64x(four);
    SIMD_EACH(simd_sums, 8, _mm_add_epi32(s.v[i], _mm_madd_epi16(w.v[i], all)));
}
/* Adds the partial sums of four outputs, in order. */
SIMD_INLINE __m128i simd_pairs(__m128i low, __m128i high) {
    const __m128 l = _mm_castsi128_ps(low), h = _mm_castsi128_ps(high);
    return _mm_add_epi32(_mm_castps_si128(_mm_shuffle_ps(l, h, 0x88)), _mm_castps_si128(_mm_shuffle_ps(l, h, 0xDD)));
}
SIMD_INLINE simd_floats simd_finish(simd_sums s) {
    SIMD_EACH(simd_floats, 4, _mm_cvtepi32_ps(simd_pairs(s.v[2 * i], s.v[2 * i + 1])));
}

SIMD_INLINE simd_floats simd_zero(void) { SIMD_EACH(simd_floats, 4, _mm_setzero_ps()); }
SIMD_INLINE simd_floats simd_load(const float *p) { SIMD_EACH(simd_floats, 4, _mm_loadu_ps(p + 4 * i)); }
SIMD_INLINE void simd_store(float *p, simd_floats v) {
    for (int i = 0; i < 4; i++) _mm_storeu_ps(p + 4 * i, v.v[i]);
}
/* The scaling by 2^112 puts the exponent right and normalises subnormals exactly. */
SIMD_INLINE __m128 simd_widen_halves(__m128i bits) {
    const __m128i magnitude = _mm_slli_epi32(_mm_and_si128(bits, _mm_set1_epi32(0x7FFF)), 13);
    const __m128i sign = _mm_slli_epi32(_mm_and_si128(bits, _mm_set1_epi32(0x8000)), 16);
    const __m128 scaled = _mm_mul_ps(_mm_castsi128_ps(magnitude), _mm_castsi128_ps(_mm_set1_epi32(0x77800000)));
    const __m128i special = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32((0x7C00 << 13) - 1));
    const __m128i ones = _mm_and_si128(special, _mm_set1_epi32(0x7F800000));
    const __m128i value = _mm_or_si128(_mm_or_si128(_mm_and_si128(special, magnitude), ones),
                                       _mm_andnot_si128(special, _mm_castps_si128(scaled)));
    return _mm_castsi128_ps(_mm_or_si128(value, sign));
}
/* Unsigned 16-bit numbers 4i to 4i + 3 as 32-bit ones. */
SIMD_INLINE __m128i simd_words(const void *p, int i) {
    const __m128i eight = _mm_loadu_si128((const __m128i *)p + i / 2);
    const __m128i zero = _mm_setzero_si128();
    return i % 2 == 0 ? _mm_unpacklo_epi16(eight, zero) : _mm_unpackhi_epi16(eight, zero);
}
SIMD_INLINE simd_floats simd_load_halves(const void *p) {
    SIMD_EACH(simd_floats, 4, simd_widen_halves(simd_words(p, i)));
}
SIMD_INLINE __m128 simd_bfloats_4(__m128i pairs, int second) {
    return _mm_castsi128_ps(second ? _mm_and_si128(pairs, _mm_set1_epi32((int)0xFFFF0000u)) : _mm_slli_epi32(pairs, 16));
}
SIMD_INLINE simd_floats simd_load_bfloats(const void *p, int second) {
    SIMD_EACH(simd_floats, 4, simd_bfloats_4(_mm_loadu_si128((const __m128i *)p + i), second));
}
SIMD_INLINE simd_floats simd_load_unsigned(const void *p) {
    const uint8_t *b = (const uint8_t *)p;
    SIMD_EACH(simd_floats, 4,
              _mm_cvtepi32_ps(_mm_set_epi32(b[4 * i + 3], b[4 * i + 2], b[4 * i + 1], b[4 * i])));
}
SIMD_INLINE simd_floats simd_load_signed(const void *p) {
    const int8_t *b = (const int8_t *)p;
    SIMD_EACH(simd_floats, 4,
              _mm_cvtepi32_ps(_mm_set_epi32(b[4 * i + 3], b[4 * i + 2], b[4 * i + 1], b[4 * i])));
}
SIMD_INLINE simd_floats simd_mul(simd_floats a, simd_floats b) { SIMD_EACH(simd_floats, 4, _mm_mul_ps(a.v[i], b.v[i])); }
SIMD_INLINE simd_floats simd_scale(simd_floats v, float s) { SIMD_EACH(simd_floats, 4, _mm_mul_ps(v.v[i], _mm_set1_ps(s))); }
SIMD_INLINE simd_floats simd_fma(simd_floats a, simd_floats b, simd_floats c) {
    SIMD_EACH(simd_floats, 4, _mm_add_ps(_mm_mul_ps(a.v[i], b.v[i]), c.v[i]));
}
SIMD_INLINE simd_floats simd_fma_scalar(simd_floats a, float b, simd_floats c) {
    SIMD_EACH(simd_floats, 4, _mm_add_ps(_mm_mul_ps(a.v[i], _mm_set1_ps(b)), c.v[i]));
}
SIMD_INLINE simd_floats simd_sub(simd_floats a, simd_floats b) { SIMD_EACH(simd_floats, 4, _mm_sub_ps(a.v[i], b.v[i])); }
SIMD_INLINE simd_floats simd_splat(float s) { SIMD_EACH(simd_floats, 4, _mm_set1_ps(s)); }
SIMD_INLINE simd_floats simd_byte(simd_bytes v, int index) {
    SIMD_EACH(simd_floats, 4, _mm_cvtepi32_ps(_mm_and_si128(_mm_srli_epi32(v.v[i], 8 * index), _mm_set1_epi32(255))));
}
SIMD_INLINE float simd_sum(simd_floats v) {
    const __m128 four = _mm_add_ps(_mm_add_ps(v.v[0], v.v[2]), _mm_add_ps(v.v[1], v.v[3]));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}
SIMD_INLINE simd_floats simd_add(simd_floats a, simd_floats b) { SIMD_EACH(simd_floats, 4, _mm_add_ps(a.v[i], b.v[i])); }
SIMD_INLINE simd_floats simd_div(simd_floats a, simd_floats b) { SIMD_EACH(simd_floats, 4, _mm_div_ps(a.v[i], b.v[i])); }
SIMD_INLINE simd_floats simd_max(simd_floats a, simd_floats b) { SIMD_EACH(simd_floats, 4, _mm_max_ps(a.v[i], b.v[i])); }
SIMD_INLINE simd_floats simd_min(simd_floats a, simd_floats b) { SIMD_EACH(simd_floats, 4, _mm_min_ps(a.v[i], b.v[i])); }
SIMD_INLINE simd_floats simd_unless_below(simd_floats x, float limit, simd_floats v) {
    SIMD_EACH(simd_floats, 4, _mm_and_ps(_mm_cmpnlt_ps(x.v[i], _mm_set1_ps(limit)), v.v[i]));
}
SIMD_INLINE simd_floats simd_power_of_two(simd_floats n) {
    SIMD_EACH(simd_floats, 4,
              _mm_castsi128_ps(_mm_slli_epi32(_mm_add_epi32(_mm_cvtps_epi32(n.v[i]), _mm_set1_epi32(127)), 23)));
}
SIMD_INLINE float simd_largest(simd_floats v) {
    const __m128 four = _mm_max_ps(_mm_max_ps(v.v[0], v.v[2]), _mm_max_ps(v.v[1], v.v[3]));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}
SIMD_INLINE float simd_first(simd_floats v) { return _mm_cvtss_f32(v.v[0]); }
SIMD_INLINE float simd_half(const void *p) {
    uint16_t bits;
    memcpy(&bits, p, 2);
    return _mm_cvtss_f32(simd_widen_halves(_mm_cvtsi32_si128(bits)));
}
