/* The steps between matrix products, each a single pass over memory.
 *
 * Compiled once per machine by kernels.py with whatever C compiler is there; without one the same
 * steps run through torch (decoder.py, decode.py), only slower. bfloat16 in, float32 inside, bfloat16 out, or
 * float32 throughout (elements.h).
 * Letters: B sequences, H heads, G key-value heads, D head dimension, T cache capacity in tokens,
 * d hidden size, I intermediate size, V vocabulary.
 */
#include "elements.h"

/* x (B, d) += delta (B, d) where given; out = x / rms(x) * weight. */
void add_norm(element *x, const element *delta, const element *weight, element *out, int64_t B, int64_t d, float eps, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int64_t b = 0; b < B; b++) {
        element *row = x + b * d;
        float sum = 0;
        if (delta)
            for (int64_t i = 0; i < d; i++) row[i] = narrow(wide(row[i]) + wide(delta[b * d + i]));
        for (int64_t i = 0; i < d; i++) sum += wide(row[i]) * wide(row[i]);
        float scale = 1.0f / sqrtf(sum / d + eps);
        for (int64_t i = 0; i < d; i++) out[b * d + i] = narrow(wide(narrow(wide(row[i]) * scale)) * wide(weight[i]));
    }
}

/* out = x / rms(x) * weight, rows of x (B, d) ``stride`` apart; scale (B) keeps 1 / rms(x) for the backward pass. */
void norm(const element *x, const element *weight, element *out, float *scale, int64_t B, int64_t d, int64_t stride, float eps, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int64_t b = 0; b < B; b++) {
        const element *row = x + b * stride;
        float sum = 0;
        for (int64_t i = 0; i < d; i++) sum += wide(row[i]) * wide(row[i]);
        scale[b] = 1.0f / sqrtf(sum / d + eps);
        for (int64_t i = 0; i < d; i++) out[b * d + i] = narrow(wide(narrow(wide(row[i]) * scale[b])) * wide(weight[i]));
    }
}

/* d_x = scale (g - n mean(g n)) with n = x scale and g = d_out weight; d_out and d_x (B, d) without gaps. */
void norm_backward(const element *d_out, const element *x, const element *weight, const float *scale, element *d_x, int64_t B, int64_t d,
                   int64_t stride, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int64_t b = 0; b < B; b++) {
        const element *row = x + b * stride, *grad = d_out + b * d;
        float inner = 0, s = scale[b];
        for (int64_t i = 0; i < d; i++) inner += wide(grad[i]) * wide(weight[i]) * wide(row[i]);
        inner *= s * s / d;
        for (int64_t i = 0; i < d; i++) d_x[b * d + i] = narrow(s * (wide(grad[i]) * wide(weight[i]) - wide(row[i]) * inner));
    }
}

/* Rotary embedding of x (N, heads, D), rows ``stride`` apart, by cos and sin (N, D); sign -1 turns back. */
void rotate(const element *x, const element *cos, const element *sin, element *out, int64_t N, int64_t heads, int64_t D, int64_t stride,
            float sign, int threads) {
    int64_t half = D / 2;
#pragma omp parallel for num_threads(threads)
    for (int64_t n = 0; n < N; n++) {
        const element *c = cos + n * D, *s = sin + n * D;
        for (int64_t h = 0; h < heads; h++) {
            const element *in = x + n * stride + h * D;
            element *to = out + (n * heads + h) * D;
#pragma GCC ivdep
            for (int64_t i = 0; i < half; i++) {
                float a = wide(in[i]), b = wide(in[i + half]);
                to[i] = narrow(a * wide(c[i]) - sign * b * wide(s[i]));
                to[i + half] = narrow(b * wide(c[i + half]) + sign * a * wide(s[i + half]));
            }
        }
    }
}

/* The gradient of swiglu: d_gate_up (B, 2 I) of d_out (B, I). */
void swiglu_backward(const element *d_out, const element *gate_up, element *d_gate_up, int64_t B, int64_t I, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int64_t b = 0; b < B; b++) {
        const element *gate = gate_up + b * 2 * I, *up = gate + I, *grad = d_out + b * I;
        element *d_gate = d_gate_up + b * 2 * I, *d_up = d_gate + I;
        for (int64_t i = 0; i < I; i++) {
            float x = wide(gate[i]), g = wide(grad[i]);
            float sigmoid = 1.0f / (1.0f + fast_exp(-x));
            d_up[i] = narrow(g * x * sigmoid);
            d_gate[i] = narrow(g * wide(up[i]) * sigmoid * (1.0f + x * (1.0f - sigmoid)));
        }
    }
}

/* out (B, I) = silu(gate) * up, gate_up (B, 2 I). */
void swiglu(const element *gate_up, element *out, int64_t B, int64_t I, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int64_t b = 0; b < B; b++) {
        const element *gate = gate_up + b * 2 * I, *up = gate + I;
        for (int64_t i = 0; i < I; i++) {
            float g = wide(gate[i]);
            out[b * I + i] = narrow(wide(narrow(g / (1.0f + fast_exp(-g)))) * wide(up[i]));
        }
    }
}

/* Rotary embedding of one head x (D), normalised before where ``norm`` is not null. The test stands outside of the loops: in one it
 * would become loads that are masked out, which from a null pointer take hundreds of cycles each. */
static inline void turn(const element *x, const element *cos, const element *sin, const element *norm, float eps, element *out, int64_t D) {
    int64_t half = D / 2;
    float head[D], sum = 0;
    for (int64_t i = 0; i < D; i++) head[i] = wide(x[i]);
    if (norm) {
        for (int64_t i = 0; i < D; i++) sum += head[i] * head[i];
        float scale = 1.0f / sqrtf(sum / D + eps);
        for (int64_t i = 0; i < D; i++) head[i] *= scale * wide(norm[i]);
    }
#pragma GCC ivdep
    for (int64_t i = 0; i < half; i++) {
        float a = head[i], b = head[i + half];
        out[i] = narrow(a * wide(cos[i]) - b * wide(sin[i]));
        out[i + half] = narrow(b * wide(cos[i + half]) + a * wide(sin[i + half]));
    }
}

#define TILE 32 /* tokens whose keys lie side by side */
#define MOST (LANES == 16 ? 8 : 4) /* query heads at once: as many as have their sums in registers */

/* dot (Q, n) = q (Q, D) . keys (n tokens in tiles of (D, 32)). Fills whole tiles: weights has room for them. */
static inline __attribute__((always_inline)) void score(const int Q, const factor *q, const element *keys, float *weights,
                                                        int64_t n, int64_t D, int64_t room) {
    for (int64_t t = 0; t < n; t += 2 * LANES) {
        const element *tile = keys + t / TILE * TILE * D + t % TILE;
        lanes dot[2 * MOST] = {0};
        for (int64_t i = 0; i < D; i += TOGETHER) {
            __builtin_prefetch(tile + (D + i) * TILE); /* the same line of the next tile */
            columns k = load_columns(tile + i * TILE, tile + (i + 1) * TILE);
            for (int h = 0; h < Q; h++) multiply_add(dot + 2 * h, q + h * D + i, k);
        }
        for (int h = 0; h < Q; h++) store_columns(weights + h * room + t, dot + 2 * h);
    }
}

/* mixed (Q, 2 LANES) += weights (Q, n) @ 2 LANES columns of values (n, D). */
static inline __attribute__((always_inline)) void mix(const int Q, const factor *weights, const element *values, lanes *mixed,
                                                      int64_t n, int64_t D, int64_t room) {
    int64_t stride = room * sizeof(float) / sizeof(factor), t = 0;
    for (; t + TOGETHER <= n; t += TOGETHER) {
        columns v = load_columns(values + t * D, values + (t + 1) * D);
        for (int h = 0; h < Q; h++) multiply_add(mixed + 2 * h, weights + h * stride + t, v);
    }
    if (t < n) {
        columns v = load_columns(values + t * D, NULL);
        for (int h = 0; h < Q; h++) multiply_add(mixed + 2 * h, weights + h * stride + t, v);
    }
}

/* w (n) becomes exp(scale (w - its largest)), as factors in its own place; returns 1 over their sum. */
static inline float exponentials(float *w, int64_t n, float scale) {
    float top = largest_float(w, n), sum = 0;
    for (int64_t t = 0; t < n; t++) w[t] = fast_exp((w[t] - top) * scale), sum += w[t];
    as_factors(w, n);
    return 1.0f / sum;
}

/* ``attend`` with min(left, MOST) heads, which it gets as a constant. */
#define HEADS(left, attend, ...) \
    switch (left) { \
    case 1: attend(1, __VA_ARGS__); break; \
    case 2: attend(2, __VA_ARGS__); break; \
    case 3: attend(3, __VA_ARGS__); break; \
    case 4: attend(4, __VA_ARGS__); break; \
    case 5: attend(MOST < 5 ? 4 : 5, __VA_ARGS__); break; \
    case 6: attend(MOST < 6 ? 4 : 6, __VA_ARGS__); break; \
    case 7: attend(MOST < 7 ? 4 : 7, __VA_ARGS__); break; \
    default: attend(MOST, __VA_ARGS__); \
    }

/* Keys and values of one key-value head: the first n tokens of (T / 32, D, 32) and (T, D). */
typedef struct { const element *keys, *values; int64_t n; } segment;

/* out (Q, D), columns i to i + 2 LANES: what was mixed, times each head's share. */
static inline __attribute__((always_inline)) void write_mixed(const int Q, const lanes *mixed, const float *shares, element *out, int64_t i,
                                                              int64_t D) {
    for (int h = 0; h < Q; h++) {
        float wide_out[2 * LANES];
        store_columns(wide_out, mixed + 2 * h);
        for (int j = 0; j < 2 * LANES; j++) out[h * D + i + j] = narrow(wide_out[j] * shares[h]);
    }
}

/* Q query heads that share a key-value head attend to a prompt and then to the reply so far. Called with
 * constant Q, so that sums stay in registers. q (Q, D); weights (Q, room) is room to work in. */
static inline __attribute__((always_inline)) void attend(const int Q, const factor *q, segment prompt, segment reply, float *weights,
                                                         element *out, int64_t D, int64_t room, float scale) {
    int64_t n = prompt.n + reply.n;
    float shares[MOST];
    score(Q, q, prompt.keys, weights, prompt.n, D, room);
    score(Q, q, reply.keys, weights + prompt.n, reply.n, D, room);
    for (int h = 0; h < Q; h++) shares[h] = exponentials(weights + h * room, n, scale);
    for (int64_t i = 0; i < D; i += 2 * LANES) {
        lanes mixed[2 * MOST] = {0};
        mix(Q, (factor *)weights, prompt.values + i, mixed, prompt.n, D, room);
        mix(Q, (factor *)weights + prompt.n, reply.values + i, mixed, reply.n, D, room);
        write_mixed(Q, mixed, shares, out, i, D);
    }
}

/* Rotates q and k of qkv (B, (H + 2 G) D), appends k and v to the reply's cache, then attends to prompt
 * and reply: out (B, H D). Sequence b has prompts[b] prompt tokens, kept once for all its samples in row
 * groups[b] of the prompt caches, and its new token is number positions[b] of prompt and reply together.
 * Keys are stored in transposed tiles, prompt_keys (N, G, P / 32, D, 32) and keys (B, G, T / 32, D, 32),
 * values (N, G, P, D) and (B, G, T, D) as they are, so that both products run along memory. P, T and D
 * are multiples of 32. q_norm and k_norm (D) may be null. */
void rotate_attend(const element *qkv, const element *cos, const element *sin, const element *q_norm, const element *k_norm, float eps,
                   const element *prompt_keys, const element *prompt_values, element *keys, element *values, const int64_t *groups,
                   const int64_t *prompts, const int64_t *positions, element *out, int64_t B, int64_t H, int64_t G,
                   int64_t D, int64_t P, int64_t T, float scale, int threads) {
    int64_t Q = H / G, room = P + T + TILE;
#pragma omp parallel num_threads(threads)
    {
        float *weights = malloc(sizeof(float) * MOST * room);
        factor *q = malloc(sizeof(factor) * Q * D);
        element *turned = malloc(sizeof(element) * D);
#pragma omp for collapse(2) schedule(static)
        for (int64_t b = 0; b < B; b++)
            for (int64_t g = 0; g < G; g++) {
                const element *row = qkv + b * (H + 2 * G) * D, *c = cos + b * D, *s = sin + b * D;
                element *k = keys + (b * G + g) * T * D, *v = values + (b * G + g) * T * D;
                int64_t at = positions[b] - prompts[b], shared = (groups[b] * G + g) * P * D;
                turn(row + (H + g) * D, c, s, k_norm, eps, turned, D);
                for (int64_t i = 0; i < D; i++) k[(at / 32 * D + i) * 32 + at % 32] = turned[i];
                memcpy(v + at * D, row + (H + G + g) * D, D * sizeof(element));
                for (int64_t h = 0; h < Q; h++) {
                    turn(row + (g * Q + h) * D, c, s, q_norm, eps, turned, D);
                    for (int64_t i = 0; i < D; i++) q[h * D + i] = as_factor(turned[i]);
                }
                segment prompt = {prompt_keys + shared, prompt_values + shared, prompts[b]}, reply = {k, v, at + 1};
                element *o = out + (b * H + g * Q) * D;
                int64_t h = 0;
                for (; h < Q; h += MOST) {
                    const factor *of = q + h * D;
                    HEADS(Q - h, attend, of, prompt, reply, weights, o + h * D, D, room, scale);
                }
            }
        free(weights);
        free(q);
        free(turned);
    }
}

/* Like attend, of one sequence whose n tokens lie in pages of 32: keys (pages, G, D, 32) and values (pages, G, 32, D) of
 * the layer, from key-value head g on; ``table`` names the sequence's pages in order. */
static inline __attribute__((always_inline)) void attend_pages(const int Q, const factor *q, const element *keys, const element *values,
                                                               const int64_t *table, int64_t n, float *weights, element *out,
                                                               int64_t page, int64_t D, int64_t room, float scale) {
    float shares[MOST];
    for (int64_t t = 0; t < n; t += TILE) {
        int64_t here = n - t < TILE ? n - t : TILE;
        score(Q, q, keys + table[t / TILE] * page, weights + t, here, D, room);
    }
    for (int h = 0; h < Q; h++) shares[h] = exponentials(weights + h * room, n, scale);
    for (int64_t i = 0; i < D; i += 2 * LANES) {
        lanes mixed[2 * MOST] = {0};
        for (int64_t t = 0; t < n; t += TILE) {
            int64_t here = n - t < TILE ? n - t : TILE;
            mix(Q, (factor *)weights + t, values + table[t / TILE] * page + i, mixed, here, D, room);
        }
        write_mixed(Q, mixed, shares, out, i, D);
    }
}

/* Rotates q and k of qkv (N, (H + 2 G) D), writes k and v into pages, then attends: out (N, H D). Token i is number
 * positions[i] of its sequence, whose pages are row rows[i] of tables (., M). All tokens are written before any attends, so
 * that several of one sequence, and the first of another that shares its pages, can come in one call. Pages hold 32
 * tokens: keys (pages, G, D, 32) transposed, values (pages, G, 32, D). q_norm and k_norm (D) may be null. */
void paged_attend(const element *qkv, const element *cos, const element *sin, const element *q_norm, const element *k_norm, float eps,
                  element *keys, element *values, const int64_t *tables, const int64_t *rows, const int64_t *positions, element *out,
                  int64_t N, int64_t H, int64_t G, int64_t D, int64_t M, float scale, int threads) {
    int64_t Q = H / G, room = M * TILE + TILE, page = G * D * TILE;
#pragma omp parallel num_threads(threads)
    {
        float *weights = malloc(sizeof(float) * MOST * room);
        factor *q = malloc(sizeof(factor) * Q * D);
        element *turned = malloc(sizeof(element) * D);
#pragma omp for schedule(static)
        for (int64_t b = 0; b < N; b++)
            for (int64_t g = 0; g < G; g++) {
                const element *row = qkv + b * (H + 2 * G) * D;
                int64_t at = positions[b] % TILE, start = tables[rows[b] * M + positions[b] / TILE] * page + g * D * TILE;
                turn(row + (H + g) * D, cos + b * D, sin + b * D, k_norm, eps, turned, D);
                for (int64_t i = 0; i < D; i++) keys[start + i * TILE + at] = turned[i];
                memcpy(values + start + at * D, row + (H + G + g) * D, D * sizeof(element));
            }
#pragma omp for collapse(2) schedule(dynamic, 16)
        for (int64_t b = 0; b < N; b++)
            for (int64_t g = 0; g < G; g++) {
                const element *row = qkv + b * (H + 2 * G) * D, *k = keys + g * D * TILE, *v = values + g * D * TILE;
                const int64_t *table = tables + rows[b] * M;
                for (int64_t h = 0; h < Q; h++) {
                    turn(row + (g * Q + h) * D, cos + b * D, sin + b * D, q_norm, eps, turned, D);
                    for (int64_t i = 0; i < D; i++) q[h * D + i] = as_factor(turned[i]);
                }
                element *o = out + (b * H + g * Q) * D;
                int64_t n = positions[b] + 1, h = 0;
                for (; h < Q; h += MOST) {
                    const factor *of = q + h * D;
                    HEADS(Q - h, attend_pages, of, k, v, table, n, weights, o + h * D, page, D, room, scale);
                }
            }
        free(weights);
        free(q);
        free(turned);
    }
}

/* One draw per row of logits (B, V) by inverting the distribution function at uniform[b] in [0, 1).
 * Two levels: sums over blocks of 256 tokens, then within the chosen block. temperature > 0.
 * Writes the token and its log-probability under softmax(logits / temperature). */
#define BLOCK 256
void draw(const element *logits, const double *uniform, float temperature, int64_t *tokens, float *logprobs, int64_t B, int64_t V, int threads) {
    float inverse = 1.0f / temperature;
#pragma omp parallel for num_threads(threads)
    for (int64_t b = 0; b < B; b++) {
        const element *row = logits + b * V;
        int64_t blocks = (V + BLOCK - 1) / BLOCK;
        float top = largest(row, V), sums[blocks];
        double total = 0;
        for (int64_t k = 0; k < blocks; k++) {
            int64_t start = k * BLOCK, end = start + BLOCK < V ? start + BLOCK : V;
            float sum = 0;
            for (int64_t i = start; i < end; i++) sum += fast_exp((wide(row[i]) - top) * inverse);
            sums[k] = sum;
            total += sum;
        }
        double target = uniform[b] * total, below = 0;
        int64_t k = 0;
        while (k < blocks - 1 && below + sums[k] <= target) below += sums[k++];
        while (k > 0 && sums[k] == 0) below -= sums[--k]; /* rounding must not pick an impossible block */
        int64_t start = k * BLOCK, end = start + BLOCK < V ? start + BLOCK : V, token = -1;
        for (int64_t i = start; i < end; i++) {
            float p = fast_exp((wide(row[i]) - top) * inverse);
            if (p == 0) continue;
            token = i;
            below += p;
            if (below > target) break;
        }
        tokens[b] = token;
        logprobs[b] = (wide(row[token]) - top) * inverse - (float)log(total);
    }
}

/* Of each row of logits (M, V) under softmax(logits / temperature): the logarithm of its sum of exponentials, the target's
 * log-probability, and the entropy where ``entropies`` is not null. */
void logprobs(const element *logits, const int64_t *targets, float temperature, float *normalisers, float *logprobs, float *entropies,
              int64_t M, int64_t V, int threads) {
    float inverse = 1.0f / temperature;
#pragma omp parallel for num_threads(threads)
    for (int64_t m = 0; m < M; m++) {
        const element *row = logits + m * V;
        float top = largest(row, V), sum = 0, weighted = 0;
        if (entropies)
            for (int64_t i = 0; i < V; i++) {
                float x = (wide(row[i]) - top) * inverse, p = fast_exp(x);
                sum += p, weighted += p * x;
            }
        else
            for (int64_t i = 0; i < V; i++) sum += fast_exp((wide(row[i]) - top) * inverse);
        float level = logf(sum);
        normalisers[m] = top * inverse + level;
        logprobs[m] = (wide(row[targets[m]]) - top) * inverse - level;
        if (entropies) entropies[m] = level - weighted / sum;
    }
}

/* The gradient of what ``logprobs`` gives, in the place of logits (M, V): ((i == target) - p[i]) d_logprob
 * - p[i] (log p[i] + entropy) d_entropy, over the temperature. d_entropies and entropies may be null. */
void logprobs_backward(element *logits, const int64_t *targets, float temperature, const float *normalisers, const float *entropies,
                       const float *d_logprobs, const float *d_entropies, int64_t M, int64_t V, int threads) {
    float inverse = 1.0f / temperature;
#pragma omp parallel for num_threads(threads)
    for (int64_t m = 0; m < M; m++) {
        element *row = logits + m * V;
        float chosen = d_logprobs[m] * inverse, level = normalisers[m], target = wide(row[targets[m]]) * inverse - level;
        float spread = d_entropies ? d_entropies[m] * inverse : 0.0f, entropy = d_entropies ? entropies[m] : 0.0f;
        if (d_entropies)
            for (int64_t i = 0; i < V; i++) {
                float x = wide(row[i]) * inverse - level;
                row[i] = narrow(-fast_exp(x) * (chosen + spread * (x + entropy)));
            }
        else
            for (int64_t i = 0; i < V; i++) row[i] = narrow(-fast_exp(wide(row[i]) * inverse - level) * chosen);
        float p = fast_exp(target);
        row[targets[m]] = narrow(chosen - p * (chosen + spread * (target + entropy)));
    }
}
