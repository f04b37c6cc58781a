/* Causal attention over packed rows and its gradient: no padding, and nothing that sequences share is copied or computed twice.
 *
 * Tokens lie group by group: first the beginning that a group's sequences share (it may be empty), then what is each
 * sequence's own. Such a stretch is a segment. A token attends to the shared segment of its group and to its own, up to
 * itself. Scores are never kept: the backward pass computes them again from q, k and their normaliser, block by block
 * (FlashAttention, arXiv 2205.14135). A block's rows are the heads of some neighbouring tokens that share a key-value head.
 *
 * Everything large is a product whose second factor has been laid out for it. A word is what one lane multiplies at a time:
 * two bfloat16 neighbours along the contraction, or one float32.
 *
 * Letters: N tokens, H heads, G key-value heads, Q = H / G, D head dimension, M rows of a block, W = D / PAIR words.
 */
#include "elements.h"

#define KEYS 32 /* of a tile; every segment's keys start at a whole tile */
#define ROWS 96 /* of a block, where a token has no more heads than that */
#if LANES == 16
#define STRIP 12 /* rows whose sums stay in registers */
#else
#define STRIP 6
#endif

#define INLINE static inline __attribute__((always_inline))

#ifdef ELEMENT_FLOAT32
#define PAIR 1
INLINE word pair(float x, float unused) {
    (void)unused;
    union { float f; word w; } u = {.f = x};
    return u.w;
}
INLINE lanes multiply(lanes sum, word a, words b) {
    union { word w; float f; } u = {.w = a};
    return sum + u.f * (lanes)b;
}
#else
#define PAIR 2
INLINE word pair(float x, float y) { return (word)narrow(x) | (word)narrow(y) << 16; }
#ifdef __AVX512BF16__
#include <immintrin.h>
INLINE lanes multiply(lanes sum, word a, words b) {
    return (lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)a), (__m512bh)b);
}
#else
INLINE lanes multiply(lanes sum, word a, words b) {
    union { word w; float f; } low = {.w = a << 16}, high = {.w = a & 0xffff0000u};
    return sum + low.f * (lanes)(b << 16) + high.f * (lanes)(b & 0xffff0000u);
}
#endif
#endif

INLINE words load_words(const word *x) {
    words w;
    memcpy(&w, x, sizeof w);
    return w;
}

/* R rows of the product below. Called with constant R, so that sums stay in registers. */
INLINE void strip(const int R, float *c, int64_t gap, const word *a, int64_t row, int64_t step, const word *b, int64_t K, int64_t n, int add) {
    for (int64_t at = 0; at < n; at += 2 * LANES) {
        lanes sum[2 * STRIP];
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) {
            if (add) memcpy(sum + 2 * r, c + r * gap + at, 2 * sizeof(lanes));
            else sum[2 * r] = sum[2 * r + 1] = (lanes){0};
        }
        for (int64_t i = 0; i < K; i++) {
            words b0 = load_words(b + i * n + at), b1 = load_words(b + i * n + at + LANES);
#pragma GCC unroll 12
            for (int r = 0; r < R; r++) {
                word x = a[r * row + i * step];
                sum[2 * r] = multiply(sum[2 * r], x, b0), sum[2 * r + 1] = multiply(sum[2 * r + 1], x, b1);
            }
        }
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) memcpy(c + r * gap + at, sum + 2 * r, 2 * sizeof(lanes));
    }
}

/* c (M, n) = or += a (M, K) b (K, n), K counted in words: c's rows lie ``gap`` floats apart, a's entries ``row`` and ``step``
 * words, b's rows without gaps; n is a multiple of 2 LANES. */
static void product(float *c, int64_t gap, const word *a, int64_t row, int64_t step, const word *b, int64_t M, int64_t K, int64_t n, int add) {
    int64_t m = 0;
    for (; m + STRIP <= M; m += STRIP) strip(STRIP, c + m * gap, gap, a + m * row, row, step, b, K, n, add);
    for (; m + 3 <= M; m += 3) strip(3, c + m * gap, gap, a + m * row, row, step, b, K, n, add);
    for (; m < M; m++) strip(1, c + m * gap, gap, a + m * row, row, step, b, K, n, add);
}

/* x, ``rows`` rows of D elements ``stride`` apart -> tiles (W, KEYS) of words: for contraction along D. */
static void lay_across(const element *x, int64_t stride, int64_t rows, int64_t D, word *out) {
    int64_t W = D / PAIR;
    for (int64_t t = 0; t < rows; t++) {
        word *to = out + t / KEYS * W * KEYS + t % KEYS;
        const element *from = x + t * stride;
        for (int64_t i = 0; i < W; i++) memcpy(to + i * KEYS, from + i * PAIR, sizeof(word));
    }
}

/* The same rows -> (rows / PAIR, D) words of rows one above the other: for contraction along rows. */
static void lay_along(const element *x, int64_t stride, int64_t rows, int64_t D, word *out) {
    for (int64_t t = 0; t < rows; t += PAIR) {
        const element *upper = x + t * stride, *lower = t + 1 < rows ? upper + stride : NULL;
        word *to = out + t / PAIR * D;
        if (lower)
            for (int64_t i = 0; i < D; i++) to[i] = pair(wide(upper[i]), wide(lower[i]));
        else
            for (int64_t i = 0; i < D; i++) to[i] = pair(wide(upper[i]), 0.0f);
    }
}

typedef struct { int64_t token, tokens, key; } segment; /* first token, how many, and the place of its first key */

typedef struct {
    int64_t Q, W, tokens; /* tokens of a block */
} shape;

static shape shape_of(int64_t H, int64_t G, int64_t D) {
    int64_t Q = H / G;
    return (shape){Q, D / PAIR, Q < ROWS ? ROWS / Q : 1};
}

static int64_t whole_tiles(int64_t n) { return (n + KEYS - 1) / KEYS * KEYS; }

/* Segments of a group, the shared one first; returns how many keys they fill. */
static int64_t segments_of(const int64_t *starts, int64_t first, int64_t end, segment *out) {
    int64_t key = 0;
    for (int64_t s = first; s < end; s++) {
        out[s - first] = (segment){starts[s], starts[s + 1] - starts[s], key};
        key += whole_tiles(starts[s + 1] - starts[s]);
    }
    return key;
}

typedef struct { int64_t segments, keys, columns; } extent; /* the most of any group: segments, keys, and keys that a token sees */

static extent extent_of(const int64_t *starts, const int64_t *groups, int64_t count) {
    extent most = {0, 0, 0};
    for (int64_t j = 0; j < count; j++) {
        int64_t keys = 0, shared = 0, own = 0;
        for (int64_t s = groups[j]; s < groups[j + 1]; s++) {
            int64_t n = whole_tiles(starts[s + 1] - starts[s]);
            keys += n;
            if (s == groups[j]) shared = n;
            else own = n > own ? n : own;
        }
        if (groups[j + 1] - groups[j] > most.segments) most.segments = groups[j + 1] - groups[j];
        if (keys > most.keys) most.keys = keys;
        if (shared + own > most.columns) most.columns = shared + own;
    }
    return most;
}

/* Some neighbouring tokens of a segment, whose M rows are computed at once. Their columns are keys: those of the shared segment,
 * then from ``from`` on those of their own, which lie from key ``own`` on. */
typedef struct { int64_t first, end, token, M, shared, from, own, columns; } block;

static block block_of(const segment *segments, int64_t s, int64_t first, const shape *z) {
    const segment *its = segments + s;
    int64_t shared = s ? segments[0].tokens : 0, from = whole_tiles(shared);
    int64_t end = first + z->tokens < its->tokens ? first + z->tokens : its->tokens;
    return (block){first, end, its->token + first, (end - first) * z->Q, shared, from, its->key, from + whole_tiles(end)};
}

static void *room(int64_t count, size_t size) { /* zeros: what stands between segments must be finite */
    size_t bytes = ((size_t)count * size + 63) / 64 * 64 + 64;
    void *memory = aligned_alloc(64, bytes);
    if (memory) memset(memory, 0, bytes);
    return memory;
}

/* What ``tokens`` tokens from ``token`` on have in x, ``width`` elements each, side by side: the rows of a block. */
static void take_rows(const element *x, int64_t stride, int64_t token, int64_t tokens, int64_t width, element *out) {
    for (int64_t t = 0; t < tokens; t++) memcpy(out + t * width, x + (token + t) * stride, width * sizeof(element));
}

/* Softmax without the division, in place, over columns [0, shared) and [from, end) of x; zeros elsewhere. Its sum and maximum. */
INLINE float soften(float *x, int64_t shared, int64_t from, int64_t end, int64_t columns, float scale, float *top) {
    float most = largest_float(x + from, end - from), before = shared ? largest_float(x, shared) : most, sum = 0; /* a token sees itself */
    most = before > most ? before : most;
    for (int64_t t = 0; t < shared; t++) x[t] = fast_exp((x[t] - most) * scale), sum += x[t];
    for (int64_t t = from; t < end; t++) x[t] = fast_exp((x[t] - most) * scale), sum += x[t];
    for (int64_t t = shared; t < from; t++) x[t] = 0;
    for (int64_t t = end; t < columns; t++) x[t] = 0;
    *top = most * scale;
    return sum;
}

/* out (N, H, D) and normaliser (N, H), the logarithm of each row's sum of exponentials, of q (N, H, D), k and v (N, G, D) whose
 * tokens lie q_stride, k_stride and v_stride elements apart. Segment s holds tokens starts[s] to starts[s + 1]; group j
 * the segments groups[j] to groups[j + 1]. Returns 0, or 1 where memory ran out. D is a multiple of 32. */
int packed_attend(const element *q, const element *k, const element *v, element *out, float *normaliser, const int64_t *starts,
                  const int64_t *groups, int64_t count, int64_t q_stride, int64_t k_stride, int64_t v_stride, int64_t H, int64_t G,
                  int64_t D, float scale, int threads) {
    const shape z = shape_of(H, G, D);
    const extent most = extent_of(starts, groups, count);
    const int64_t Q = z.Q, W = z.W, rows = z.tokens * Q;
    int failed = 0;
#pragma omp parallel num_threads(threads)
    {
        segment *segments = room(most.segments, sizeof(segment));
        word *keys = room(most.keys * W, sizeof(word)), *values = room(most.keys / PAIR * D, sizeof(word));
        element *queries = room(rows * D, sizeof(element));
        float *scores = room(rows * most.columns, sizeof(float));
        word *chances = room(rows * most.columns / PAIR, sizeof(word));
        float *mixed = room(rows * D, sizeof(float)), *sums = room(rows, sizeof(float));
        int ready = segments && keys && values && queries && scores && chances && mixed && sums;
        if (!ready) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for collapse(2) schedule(dynamic)
        for (int64_t j = 0; j < count; j++)
            for (int64_t g = 0; g < G; g++) {
                if (!ready) continue;
                int64_t n = groups[j + 1] - groups[j], filled = segments_of(starts, groups[j], groups[j + 1], segments);
                memset(keys, 0, filled * W * sizeof(word));
                memset(values, 0, filled / PAIR * D * sizeof(word));
                for (int64_t s = 0; s < n; s++) {
                    lay_across(k + segments[s].token * k_stride + g * D, k_stride, segments[s].tokens, D, keys + segments[s].key * W);
                    lay_along(v + segments[s].token * v_stride + g * D, v_stride, segments[s].tokens, D, values + segments[s].key / PAIR * D);
                }
                for (int64_t s = 0; s < n; s++)
                    for (int64_t first = 0; first < segments[s].tokens; first += z.tokens) {
                        const block b = block_of(segments, s, first, &z);
                        const int64_t across = b.columns / PAIR, shared = b.from / PAIR;
                        take_rows(q + g * Q * D, q_stride, b.token, b.end - first, Q * D, queries);
                        for (int64_t t = 0; t < b.columns; t += KEYS) {
                            int64_t key = t < b.from ? t : b.own + t - b.from;
                            product(scores + t, b.columns, (const word *)queries, W, 1, keys + key * W, b.M, W, KEYS, 0);
                        }
                        for (int64_t m = 0; m < b.M; m++) {
                            float *row = scores + m * b.columns, top;
                            sums[m] = soften(row, b.shared, b.from, b.from + first + m / Q + 1, b.columns, scale, &top);
                            normaliser[(b.token + m / Q) * H + g * Q + m % Q] = top + logf(sums[m]);
                            word *to = chances + m * across;
                            for (int64_t t = 0; t < across; t++) to[t] = pair(row[t * PAIR], row[t * PAIR + PAIR - 1]);
                        }
                        product(mixed, D, chances, across, 1, values, b.M, shared, D, 0);
                        product(mixed, D, chances + shared, across, 1, values + b.own / PAIR * D, b.M, across - shared, D, 1);
                        for (int64_t m = 0; m < b.M; m++) {
                            element *to = out + ((b.token + m / Q) * H + g * Q + m % Q) * D;
                            float share = 1.0f / sums[m];
                            for (int64_t i = 0; i < D; i++) to[i] = narrow(mixed[m * D + i] * share);
                        }
                    }
            }
        free(segments), free(keys), free(values), free(queries), free(scores), free(chances), free(mixed), free(sums);
    }
    return failed;
}

/* p (M, KEYS) of scores, in place: exp(score scale - normaliser) of the keys that a row sees, and 0. Row m is a head of token
 * first + m / Q of its segment; the tile starts at key ``at`` of the segment, or holds shared keys only (last >= 0: that many). */
INLINE void chances_of(float *p, const float *normaliser, int64_t M, int64_t Q, int64_t first, int64_t at, int64_t last, float scale) {
    for (int64_t m = 0; m < M; m++) {
        int64_t seen = last >= 0 ? last : first + m / Q + 1 - at;
        seen = seen < 0 ? 0 : (seen > KEYS ? KEYS : seen);
        for (int64_t t = 0; t < KEYS; t++) {
            float chance = fast_exp(p[m * KEYS + t] * scale - normaliser[m]);
            p[m * KEYS + t] = t < seen ? chance : 0.0f;
        }
    }
}

/* x (M, KEYS) -> words along keys, (M, KEYS / PAIR), and along rows, (M / PAIR, KEYS); M is even where PAIR is 2. */
INLINE void words_along_keys(const float *x, int64_t M, word *out) {
    for (int64_t i = 0; i < M * KEYS / PAIR; i++) out[i] = pair(x[i * PAIR], x[i * PAIR + PAIR - 1]);
}
INLINE void words_along_rows(const float *x, int64_t M, word *out) {
    for (int64_t m = 0; m < M; m += PAIR)
        for (int64_t t = 0; t < KEYS; t++) out[m / PAIR * KEYS + t] = pair(x[m * KEYS + t], x[(m + PAIR - 1) * KEYS + t]);
}

/* d_q (N, H, D), d_k and d_v (N, G, D) without gaps, of d_out (N, H, D) without gaps and of what packed_attend took and gave. */
int packed_attend_backward(const element *d_out, const element *q, const element *k, const element *v, const element *out,
                           const float *normaliser, element *d_q, element *d_k, element *d_v, const int64_t *starts, const int64_t *groups,
                           int64_t count, int64_t q_stride, int64_t k_stride, int64_t v_stride, int64_t H, int64_t G, int64_t D,
                           float scale, int threads) {
    const shape z = shape_of(H, G, D);
    const extent most = extent_of(starts, groups, count);
    const int64_t Q = z.Q, W = z.W, rows = (z.tokens * Q + 1) / 2 * 2;
    int failed = 0;
#pragma omp parallel num_threads(threads)
    {
        segment *segments = room(most.segments, sizeof(segment));
        word *keys = room(most.keys * W, sizeof(word)), *values = room(most.keys * W, sizeof(word)); /* across */
        word *keys_along = room(most.keys / PAIR * D, sizeof(word));
        float *grad_keys = room(most.keys * D, sizeof(float)), *grad_values = room(most.keys * D, sizeof(float));
        element *queries = room(rows * D, sizeof(element)), *grads = room(rows * D, sizeof(element));
        word *queries_along = room(rows / PAIR * D, sizeof(word)), *grads_along = room(rows / PAIR * D, sizeof(word));
        float *p = room(rows * KEYS, sizeof(float)), *d_p = room(rows * KEYS, sizeof(float)), *grad_queries = room(rows * D, sizeof(float));
        word *p_words = room(rows * KEYS, sizeof(word)), *d_words = room(rows * KEYS, sizeof(word)), *d_rows = room(rows * KEYS, sizeof(word));
        float *inner = room(rows, sizeof(float)), *level = room(rows, sizeof(float));
        int ready = segments && keys && values && keys_along && grad_keys && grad_values && queries && grads && queries_along && grads_along &&
                    p && d_p && grad_queries && p_words && d_words && d_rows && inner && level;
        if (!ready) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for collapse(2) schedule(dynamic)
        for (int64_t j = 0; j < count; j++)
            for (int64_t g = 0; g < G; g++) {
                if (!ready) continue;
                int64_t n = groups[j + 1] - groups[j], filled = segments_of(starts, groups[j], groups[j + 1], segments);
                memset(keys, 0, filled * W * sizeof(word));
                memset(values, 0, filled * W * sizeof(word));
                memset(keys_along, 0, filled / PAIR * D * sizeof(word));
                memset(grad_keys, 0, filled * D * sizeof(float));
                memset(grad_values, 0, filled * D * sizeof(float));
                for (int64_t s = 0; s < n; s++) {
                    const element *its_k = k + segments[s].token * k_stride + g * D, *its_v = v + segments[s].token * v_stride + g * D;
                    lay_across(its_k, k_stride, segments[s].tokens, D, keys + segments[s].key * W);
                    lay_across(its_v, v_stride, segments[s].tokens, D, values + segments[s].key * W);
                    lay_along(its_k, k_stride, segments[s].tokens, D, keys_along + segments[s].key / PAIR * D);
                }
                for (int64_t s = 0; s < n; s++)
                    for (int64_t first = 0; first < segments[s].tokens; first += z.tokens) {
                        const block b = block_of(segments, s, first, &z);
                        const int64_t M = b.M, even = (M + PAIR - 1) / PAIR * PAIR, place = b.token * H * D + g * Q * D;
                        memset(queries + M * D, 0, (even - M) * D * sizeof(element));
                        memset(grads + M * D, 0, (even - M) * D * sizeof(element));
                        take_rows(q + g * Q * D, q_stride, b.token, b.end - first, Q * D, queries);
                        take_rows(d_out + g * Q * D, H * D, b.token, b.end - first, Q * D, grads);
                        lay_along(queries, D, even, D, queries_along);
                        lay_along(grads, D, even, D, grads_along);
                        for (int64_t m = 0; m < M; m++) {
                            const element *o = out + place + m / Q * H * D + m % Q * D, *grad = grads + m * D;
                            float sum = 0;
                            for (int64_t i = 0; i < D; i++) sum += wide(o[i]) * wide(grad[i]);
                            inner[m] = sum;
                            level[m] = normaliser[(b.token + m / Q) * H + g * Q + m % Q];
                        }
                        for (int64_t t = 0; t < b.columns; t += KEYS) {
                            int64_t key = t < b.from ? t : b.own + t - b.from, last = t < b.from ? b.shared - t : -1;
                            product(p, KEYS, (const word *)queries, W, 1, keys + key * W, M, W, KEYS, 0);
                            product(d_p, KEYS, (const word *)grads, W, 1, values + key * W, M, W, KEYS, 0);
                            chances_of(p, level, M, Q, first, t - b.from, last, scale);
                            for (int64_t m = 0; m < M; m++)
                                for (int64_t i = 0; i < KEYS; i++) d_p[m * KEYS + i] = p[m * KEYS + i] * (d_p[m * KEYS + i] - inner[m]);
                            memset(p + M * KEYS, 0, (even - M) * KEYS * sizeof(float));
                            memset(d_p + M * KEYS, 0, (even - M) * KEYS * sizeof(float));
                            words_along_rows(p, even, p_words);
                            words_along_rows(d_p, even, d_rows);
                            words_along_keys(d_p, M, d_words);
                            product(grad_values + key * D, D, p_words, 1, KEYS, grads_along, KEYS, even / PAIR, D, 1);
                            product(grad_keys + key * D, D, d_rows, 1, KEYS, queries_along, KEYS, even / PAIR, D, 1);
                            product(grad_queries, D, d_words, KEYS / PAIR, 1, keys_along + key / PAIR * D, M, KEYS / PAIR, D, t > 0);
                        }
                        for (int64_t m = 0; m < M; m++) {
                            element *to = d_q + place + m / Q * H * D + m % Q * D;
                            for (int64_t i = 0; i < D; i++) to[i] = narrow(grad_queries[m * D + i] * scale);
                        }
                    }
                for (int64_t s = 0; s < n; s++)
                    for (int64_t t = 0; t < segments[s].tokens; t++) {
                        int64_t key = (segments[s].key + t) * D, to = ((segments[s].token + t) * G + g) * D;
                        for (int64_t i = 0; i < D; i++) d_k[to + i] = narrow(grad_keys[key + i] * scale), d_v[to + i] = narrow(grad_values[key + i]);
                    }
            }
        free(segments), free(keys), free(values), free(keys_along), free(grad_keys), free(grad_values), free(queries), free(grads);
        free(queries_along), free(grads_along), free(p), free(d_p), free(grad_queries), free(p_words), free(d_words), free(d_rows);
        free(inner), free(level);
    }
    return failed;
}
