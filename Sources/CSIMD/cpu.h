/* What the processor and the operating system offer, from CPUID and XGETBV alone: emulators answer both. */
#ifndef FORETOKEN_CPU_H
#define FORETOKEN_CPU_H

#include <cpuid.h>
#include <stdint.h>

/* Levels of the product kernels; each includes those before it. */
enum { CPU_PORTABLE = 0, CPU_AVX2 = 1, CPU_AVX_VNNI = 2, CPU_AVX512_VNNI = 3, CPU_AVX512_BF16 = 4 };

static inline uint64_t cpu_xgetbv(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Whether the processor has the 256-bit products of unsigned and signed bytes; meaningful where AVX2 is usable. */
static inline int cpu_has_avx_vnni(void) {
    uint32_t a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || a < 1) return 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}

/* Whether the processor has the 512-bit products of BF16; meaningful where AVX-512 is usable. */
static inline int cpu_has_avx512_bf16(void) {
    uint32_t a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || a < 1) return 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 5);
}

/* The level that this machine supports. AVX-512 does not need AVX-VNNI, which is the 256-bit form of the same. */
static inline int cpu_level(void) {
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return CPU_PORTABLE;
    const uint32_t wanted = 1u << 12 /* FMA */ | 1u << 27 /* OSXSAVE */ | 1u << 28 /* AVX */ | 1u << 29 /* F16C */;
    if ((c & wanted) != wanted) return CPU_PORTABLE;
    const uint64_t state = cpu_xgetbv();
    if ((state & 0x6) != 0x6) return CPU_PORTABLE;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & 1u << 5 /* AVX2 */)) return CPU_PORTABLE;
    const uint32_t f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    if ((b & f_dq_bw_vl) == f_dq_bw_vl && (c & 1u << 11 /* VNNI */) && (state & 0xE6) == 0xE6) {
        return cpu_has_avx512_bf16() ? CPU_AVX512_BF16 : CPU_AVX512_VNNI;
    }
    return cpu_has_avx_vnni() ? CPU_AVX_VNNI : CPU_AVX2;
}

#endif
