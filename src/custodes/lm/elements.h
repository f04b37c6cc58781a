/* What the compiled steps compute with: elements in memory, float32 lanes in registers.
 *
 * bfloat16 in memory; with ELEMENT_FLOAT32 float32, for processors that multiply no bfloat16.
 */
#ifndef CUSTODES_ELEMENTS_H
#define CUSTODES_ELEMENTS_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef ELEMENT_FLOAT32
typedef float element;
static inline float wide(element x) { return x; }
static inline element narrow(float x) { return x; }
#else
typedef uint16_t element;

static inline float wide(element x) {
    union { uint32_t i; float f; } u = {.i = (uint32_t)x << 16};
    return u.f;
}

static inline element narrow(float x) { /* round to nearest, ties to even */
    union { float f; uint32_t i; } u = {.f = x};
    return (element)((u.i + 0x7fffu + ((u.i >> 16) & 1u)) >> 16);
}
#endif

/* exp by 2^n (1 + polynomial): relative error below 2e-7, 0 below -87. Vectorises. */
static inline float fast_exp(float x) {
    float low = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
    float t = low * 1.44269504f;
    float n = nearbyintf(t);
    float r = (low - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union { int32_t i; float f; } u = {.i = ((int32_t)n + 127) << 23};
    return x < -87.0f ? 0.0f : p * u.f;
}

/* One register's lanes at a time: wider vectors than the machine has would live in memory. */
#ifdef __AVX512F__
#define LANES 16
#else
#define LANES 8
#endif
typedef uint32_t word;
typedef float lanes __attribute__((vector_size(LANES * 4)));
typedef word words __attribute__((vector_size(LANES * 4)));
#ifdef ELEMENT_FLOAT32
static inline __attribute__((always_inline)) lanes load(const element *x) {
    lanes f;
    memcpy(&f, x, sizeof f);
    return f;
}
#else
typedef uint16_t halves __attribute__((vector_size(LANES * 2)));

static inline __attribute__((always_inline)) lanes load(const element *x) {
    halves h;
    memcpy(&h, x, sizeof h);
    words w = __builtin_convertvector(h, words) << 16;
    lanes f;
    memcpy(&f, &w, sizeof f);
    return f;
}
#endif

/* The largest of x (n). A maximum of each lane: one maximum for all would wait for itself at every element. */
#define LARGEST(name, type, as_float) \
    static inline float name(const type *x, int64_t n) { \
        float tops[4 * LANES], top = as_float(x[0]); \
        for (int j = 0; j < 4 * LANES; j++) tops[j] = top; \
        int64_t i = 0; \
        for (; i + 4 * LANES <= n; i += 4 * LANES) \
            for (int j = 0; j < 4 * LANES; j++) { \
                float at = as_float(x[i + j]); \
                tops[j] = at > tops[j] ? at : tops[j]; \
            } \
        for (; i < n; i++) top = as_float(x[i]) > top ? as_float(x[i]) : top; \
        for (int j = 0; j < 4 * LANES; j++) top = tops[j] > top ? tops[j] : top; \
        return top; \
    }
#define ITSELF(x) (x)
LARGEST(largest, element, wide)
LARGEST(largest_float, float, ITSELF)

/* Two registers of columns, times factors. Where the processor has products of pairs of bfloat16, the columns of two rows are
 * taken together, at half the instructions; they lie in an order of their own until store_columns puts them back. */
#if defined(__AVX512BF16__) && !defined(ELEMENT_FLOAT32)
#include <immintrin.h>
#define TOGETHER 2
typedef element factor;
typedef struct { __m512i low, high; } columns;
static inline factor as_factor(element x) { return x; }

/* w (n) as factors in its own place, and a 0 behind them, since they are taken in pairs. Works on whole registers: w has room. */
static inline void as_factors(float *w, int64_t n) {
    for (int64_t t = 0; t < n; t += LANES) {
        __m256bh sixteen = _mm512_cvtneps_pbh(_mm512_loadu_ps(w + t));
        memcpy((char *)w + t * sizeof(factor), &sixteen, sizeof sixteen);
    }
    memset((char *)w + n * sizeof(factor), 0, sizeof(factor));
}

static inline __attribute__((always_inline)) columns load_columns(const element *x, const element *next) {
    __m512i a = _mm512_loadu_si512(x), b = next ? _mm512_loadu_si512(next) : _mm512_setzero_si512();
    return (columns){_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b)};
}

/* sums (2 registers) += the factors at f, one for each row, times the columns. */
static inline __attribute__((always_inline)) void multiply_add(lanes *sums, const factor *f, columns c) {
    int32_t two;
    memcpy(&two, f, sizeof two);
    __m512bh pair = (__m512bh)_mm512_set1_epi32(two);
    sums[0] = (lanes)_mm512_dpbf16_ps((__m512)sums[0], (__m512bh)c.low, pair);
    sums[1] = (lanes)_mm512_dpbf16_ps((__m512)sums[1], (__m512bh)c.high, pair);
}

static inline __attribute__((always_inline)) void store_columns(float *to, const lanes *sums) {
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    _mm512_storeu_ps(to, _mm512_permutex2var_ps((__m512)sums[0], first, (__m512)sums[1]));
    _mm512_storeu_ps(to + LANES, _mm512_permutex2var_ps((__m512)sums[0], second, (__m512)sums[1]));
}
#else
#define TOGETHER 1
typedef float factor;
typedef struct { lanes low, high; } columns;
static inline factor as_factor(element x) { return wide(x); }
static inline void as_factors(float *w, int64_t n) { (void)w, (void)n; }

static inline __attribute__((always_inline)) columns load_columns(const element *x, const element *next) {
    (void)next;
    return (columns){load(x), load(x + LANES)};
}

static inline __attribute__((always_inline)) void multiply_add(lanes *sums, const factor *f, columns c) {
    sums[0] += *f * c.low, sums[1] += *f * c.high;
}

static inline __attribute__((always_inline)) void store_columns(float *to, const lanes *sums) { memcpy(to, sums, 2 * sizeof(lanes)); }
#endif

#endif
