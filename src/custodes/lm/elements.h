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

#endif
