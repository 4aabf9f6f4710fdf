/* The 9/7 analysis (ISO/IEC 15444-1, F.4), a row at a time: rows are lifted while the cache still holds them.
 *
 * Every sum is OpenJPEG's: columns before rows, (left + right) * weight added to the sample, its constants,
 * and no product joined with a sum. Beyond a border lies the neighbour on the other side.
 */

#include <string.h>

#include "encoder.h"
#include "lifting.h"

static const float ALPHA = -1.586134342f, BETA = -0.052980118f, GAMMA = 0.882911075f, DELTA = 0.443506852f;
static const float HIGH_GAIN = 1.230174105f, LOW_GAIN = (float)(1.0 / 1.230174105);

FOR_EACH_PROCESSOR
static void from_bytes(const uint8_t *restrict row, int n, float *restrict out)
{
    for (int x = 0; x < n; x++)
        out[x] = (float)(row[x] - 128);
}

FOR_EACH_PROCESSOR
static void from_words(const uint16_t *restrict row, int n, float *restrict out)
{
    for (int x = 0; x < n; x++)
        out[x] = (float)(row[x] - 32768);
}

/* The irreversible transform of colour (G.3): (n, 3) samples become (3, n) floats around 0. */
FOR_EACH_PROCESSOR
void bitdose_from_colour(const uint8_t *restrict samples, size_t n, float *restrict planes)
{
    float *restrict y = planes, *restrict cb = planes + n, *restrict cr = planes + 2 * n;
    for (size_t i = 0; i < n; i++) {
        float r = (float)(samples[3 * i] - 128), g = (float)(samples[3 * i + 1] - 128);
        float b = (float)(samples[3 * i + 2] - 128);
        y[i] = 0.299f * r + 0.587f * g + 0.114f * b;
        cb[i] = -0.16875f * r + -0.331260f * g + 0.5f * b;
        cr[i] = 0.5f * r + -0.41869f * g + -0.08131f * b;
    }
}

static void fetch(const Analysis *level, int y, float *out)
{
    int n = level->width;
    size_t at = (size_t)y * (size_t)n;
    if (level->bits == 8)
        from_bytes((const uint8_t *)level->image + at, n, out);
    else if (level->bits == 16)
        from_words((const uint16_t *)level->image + at, n, out);
    else
        memcpy(out, (const float *)level->image + at, (size_t)n * sizeof *out);
}

/* All four steps at once, away from the borders: each sample is read and written once. */
FOR_EACH_PROCESSOR
static void lift_rows(const float *restrict low, float *restrict low_1, float *restrict low_2,
                      float *restrict high_1, float *restrict high_2, const float *restrict high_3, int n)
{
    for (int x = 0; x < n; x++) {
        float h1 = high_1[x] + (low_1[x] + low[x]) * ALPHA;
        float l1 = low_1[x] + (high_2[x] + h1) * BETA;
        float h2 = high_2[x] + (low_2[x] + l1) * GAMMA;
        high_1[x] = h1;
        low_1[x] = l1;
        high_2[x] = h2;
        low_2[x] += (high_3[x] + h2) * DELTA;
    }
}

/* Take a row apart into its low and its high half, (n + 1) / 2 and n / 2 samples. */
FOR_EACH_PROCESSOR
static void split_row(const float *restrict row, int n, float gain, float *restrict low, float *restrict high)
{
    int n_low = (n + 1) / 2, n_high = n / 2, n_inner = n_low - 1;
    for (int x = 0; x < n_high; x++) {
        low[x] = row[2 * x] * gain;
        high[x] = row[2 * x + 1] * gain;
    }
    if (n_low > n_high)
        low[n_low - 1] = row[n - 1] * gain;
    if (n == 1)
        return;
    const float weights[2][2] = {{ALPHA, BETA}, {GAMMA, DELTA}};
    for (int round = 0; round < 2; round++) {
        float odd = weights[round][0], even = weights[round][1];
        lift(high, low, low + 1, n_inner, odd);
        if (n_high > n_inner)
            high[n_high - 1] += (low[n_low - 1] + low[n_low - 1]) * odd;
        low[0] += (high[0] + high[0]) * even;
        lift(low + 1, high, high + 1, n_high - 1, even);
        if (n_low > n_high)
            low[n_low - 1] += (high[n_high - 1] + high[n_high - 1]) * even;
    }
    for (int x = 0; x < n_low; x++)
        low[x] *= LOW_GAIN;
    for (int x = 0; x < n_high; x++)
        high[x] *= HIGH_GAIN;
}

void bitdose_analyse(const Analysis *level, float *rows)
{
    int width = level->width, n_low = (level->height + 1) / 2, n_high = level->height / 2;
    int across_low = (width + 1) / 2, across_high = width / 2;
    float *low[KEPT], *high[KEPT];
    share_rows(rows, width, low, high);
#define LOW_ROW(k) low[((k) < n_low ? (k) : n_low - 1) % KEPT]
#define HIGH_ROW(k) high[((k) < 0 ? 0 : (k) < n_high ? (k) : n_high - 1) % KEPT]
    for (int k = 0; k < n_low + 2; k++) {
        if (k < n_low)
            fetch(level, 2 * k, LOW_ROW(k));
        if (k < n_high)
            fetch(level, 2 * k + 1, HIGH_ROW(k));
        if (k >= 3 && k < n_high)
            lift_rows(LOW_ROW(k), LOW_ROW(k - 1), LOW_ROW(k - 2), HIGH_ROW(k - 1), HIGH_ROW(k - 2),
                      HIGH_ROW(k - 3), width);
        else if (n_high) {
            if (k >= 1 && k - 1 < n_high)
                bitdose_lift_row(HIGH_ROW(k - 1), LOW_ROW(k - 1), LOW_ROW(k), width, ALPHA);
            if (k >= 1 && k - 1 < n_low)
                bitdose_lift_row(LOW_ROW(k - 1), HIGH_ROW(k - 2), HIGH_ROW(k - 1), width, BETA);
            if (k >= 2 && k - 2 < n_high)
                bitdose_lift_row(HIGH_ROW(k - 2), LOW_ROW(k - 2), LOW_ROW(k - 1), width, GAMMA);
            if (k >= 2 && k - 2 < n_low)
                bitdose_lift_row(LOW_ROW(k - 2), HIGH_ROW(k - 3), HIGH_ROW(k - 2), width, DELTA);
        }
        if (k >= 2 && k - 2 < n_low)
            split_row(LOW_ROW(k - 2), width, n_high ? LOW_GAIN : 1,
                      level->low + (size_t)(k - 2) * (size_t)across_low,
                      level->bands[0] + (size_t)(k - 2) * (size_t)across_high);
        if (k >= 2 && k - 2 < n_high)
            split_row(HIGH_ROW(k - 2), width, HIGH_GAIN,
                      level->bands[1] + (size_t)(k - 2) * (size_t)across_low,
                      level->bands[2] + (size_t)(k - 2) * (size_t)across_high);
    }
}
