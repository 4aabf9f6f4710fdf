/* The 9/7 synthesis (ISO/IEC 15444-1, F.3), a row at a time: rows are lifted while the cache still holds
 * them.
 *
 * Every sum is OpenJPEG's: rows before columns, (left + right) * weight added to the sample, its constants,
 * and no product joined with a sum. Beyond a border lies the neighbour on the other side.
 */

#include <string.h>

#include "lifting.h"

static const float ALPHA = 1.586134342f, BETA = 0.052980118f, GAMMA = -0.882911075f, DELTA = -0.443506852f;
static const float LOW_GAIN = 1.230174105f, HIGH_GAIN = 1.625732422f;

size_t bitdose_lifting_floats(int width) { return (2 * KEPT + 1) * pitch(width); }

FOR_EACH_PROCESSOR
void bitdose_scale(const int32_t *restrict samples, int n, float step, float *restrict out)
{
    for (int x = 0; x < n; x++)
        out[x] = (float)samples[x] * step;
}

/* Put a row together from its low and its high half, (n + 1) / 2 and n / 2 samples; `from` may be `low`
 * itself. */
FOR_EACH_PROCESSOR
static void join_row(const float *from, float *low, float *restrict high, int n, float gain,
                     float *restrict out)
{
    int n_low = (n + 1) / 2, n_high = n / 2, n_inner = n_low - 1;
    if (n == 1) {
        out[0] = from[0] * gain;
        return;
    }
    for (int x = 0; x < n_low; x++)
        low[x] = from[x] * LOW_GAIN;
    for (int x = 0; x < n_high; x++)
        high[x] *= HIGH_GAIN;
    const float weights[2][2] = {{DELTA, GAMMA}, {BETA, ALPHA}};
    for (int round = 0; round < 2; round++) {
        float even = weights[round][0], odd = weights[round][1];
        low[0] += (high[0] + high[0]) * even;
        lift(low + 1, high, high + 1, n_high - 1, even);
        if (n_low > n_high)
            low[n_low - 1] += (high[n_high - 1] + high[n_high - 1]) * even;
        lift(high, low, low + 1, n_inner, odd);
        if (n_high > n_inner)
            high[n_high - 1] += (low[n_low - 1] + low[n_low - 1]) * odd;
    }
    for (int x = 0; x < n_high; x++) {
        out[2 * x] = low[x] * gain;
        out[2 * x + 1] = high[x] * gain;
    }
    if (n_low > n_high)
        out[n - 1] = low[n_low - 1] * gain;
}

FOR_EACH_PROCESSOR
void bitdose_lift_row(float *restrict to, const float *left, const float *right, int n, float weight)
{
    lift(to, left, right, n, weight);
}

/* All four steps at once, away from the borders: each sample is read and written once. */
FOR_EACH_PROCESSOR
static void lift_rows(float *restrict low, float *restrict low_1, const float *restrict low_2,
                      const float *restrict high, float *restrict high_1, float *restrict high_2, int n)
{
    for (int x = 0; x < n; x++) {
        float l0 = low[x] + (high_1[x] + high[x]) * DELTA;
        float h1 = high_1[x] + (low_1[x] + l0) * GAMMA;
        float l1 = low_1[x] + (high_2[x] + h1) * BETA;
        low[x] = l0;
        high_1[x] = h1;
        low_1[x] = l1;
        high_2[x] += (low_2[x] + l1) * ALPHA;
    }
}

/* To whole numbers, halves to the even one, and into the samples' range. */
#define ROUNDED(value, middle)                                                                               \
    ((int32_t)(union {                                                                                       \
         float real;                                                                                         \
         uint32_t word;                                                                                      \
     }){.real = ((value) < -(middle)      ? -(middle)                                                        \
                 : (value) > (middle) - 1 ? (middle) - 1                                                     \
                                          : (value)) +                                                       \
                12582912.0f}                                                                                 \
         .word -                                                                                             \
     0x4b400000 + (int32_t)(middle))

FOR_EACH_PROCESSOR
static void to_bytes(const float *restrict row, int n, uint8_t *restrict out)
{
    for (int x = 0; x < n; x++)
        out[x] = (uint8_t)ROUNDED(row[x], 128.0f);
}

FOR_EACH_PROCESSOR
static void to_words(const float *restrict row, int n, uint16_t *restrict out)
{
    for (int x = 0; x < n; x++)
        out[x] = (uint16_t)ROUNDED(row[x], 32768.0f);
}

static void put(const Synthesis *level, const float *row, int y, void *out)
{
    int n = level->width;
    size_t at = (size_t)y * (size_t)n;
    if (level->bits == 8)
        to_bytes(row, n, (uint8_t *)out + at);
    else if (level->bits == 16)
        to_words(row, n, (uint16_t *)out + at);
    else
        memcpy((float *)out + at, row, (size_t)n * sizeof *row);
}

void bitdose_synthesize(const Synthesis *level, float *rows, void *out)
{
    int width = level->width, n_low = (level->height + 1) / 2, n_high = level->height / 2;
    int across = (width + 1) / 2;
    float *low[KEPT], *high[KEPT];
    float *halves = share_rows(rows, width, low, high);
#define LOW_ROW(k) low[(k) % KEPT]
#define HIGH_ROW(k) high[((k) < 0 ? 0 : (k) < n_high ? (k) : n_high - 1) % KEPT]
#define LOW_MIRRORED(k) low[((k) < n_low ? (k) : n_low - 1) % KEPT]
    for (int k = 0; k < n_low + 2; k++) {
        if (k < n_low) {
            level->read(level->bands[0], k, halves + across);
            join_row(level->low + (size_t)k * (size_t)across, halves, halves + across, width,
                     n_high ? LOW_GAIN : 1, LOW_ROW(k));
        }
        if (k < n_high) {
            level->read(level->bands[1], k, halves);
            level->read(level->bands[2], k, halves + across);
            join_row(halves, halves, halves + across, width, HIGH_GAIN, high[k % KEPT]);
        }
        if (k >= 2 && k < n_high && k < n_low)
            lift_rows(LOW_ROW(k), LOW_ROW(k - 1), LOW_ROW(k - 2), HIGH_ROW(k), HIGH_ROW(k - 1),
                      HIGH_ROW(k - 2), width);
        else if (n_high) {
            if (k < n_low)
                bitdose_lift_row(LOW_ROW(k), HIGH_ROW(k - 1), HIGH_ROW(k), width, DELTA);
            if (k >= 1 && k - 1 < n_high)
                bitdose_lift_row(HIGH_ROW(k - 1), LOW_ROW(k - 1), LOW_MIRRORED(k), width, GAMMA);
            if (k >= 1 && k - 1 < n_low)
                bitdose_lift_row(LOW_ROW(k - 1), HIGH_ROW(k - 2), HIGH_ROW(k - 1), width, BETA);
            if (k >= 2 && k - 2 < n_high)
                bitdose_lift_row(HIGH_ROW(k - 2), LOW_ROW(k - 2), LOW_MIRRORED(k - 1), width, ALPHA);
        }
        if (k >= 1 && k - 1 < n_low)
            put(level, LOW_ROW(k - 1), 2 * (k - 1), out);
        if (k >= 2 && k - 2 < n_high)
            put(level, HIGH_ROW(k - 2), 2 * (k - 2) + 1, out);
    }
}
