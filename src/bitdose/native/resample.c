/* Both ways of resizing in bitdose/polyphase.py, in whole numbers: the libraries' own weights and roundings. */

#include <stdlib.h>
#include <string.h>

#include "native.h"

enum {
    TAPS = 8,           /* of Lanczos-4 */
    BEFORE = 4,
    KEPT = 16,          /* rows, a power of two above twice BEFORE */
    LANCZOS_BITS = 22,  /* of two weights' product */
    PILLOW_BITS = 22,
};

/* OpenCV's sums of 32 bits wrap where they do, hence without signs. */
INSIDE uint32_t weigh(const int32_t *const rows[TAPS], const int32_t *taps, int x)
{
    uint32_t sum = 0;
    for (int t = 0; t < TAPS; t++)
        sum += (uint32_t)taps[t] * (uint32_t)rows[t][x];
    return sum;
}

FOR_EACH_PROCESSOR
static void widen(const uint8_t *restrict row, int width, int factor, const int32_t *taps, int32_t *restrict padded,
                  int32_t *restrict out)
{
    for (int x = 0; x < BEFORE; x++) {
        padded[x] = row[0];
        padded[BEFORE + width + x] = row[width - 1];
    }
    for (int x = 0; x < width; x++)
        padded[BEFORE + x] = row[x];
    for (int phase = 0; phase < factor; phase++, out += width) {
        const int32_t *own = taps + phase * (TAPS + 1), *from = padded;
        if (own[0] == 0) { /* of nine the first has no weight, or the last */
            own++;
            from++;
        }
        for (int x = 0; x < width; x++) {
            uint32_t sum = 0;
            for (int t = 0; t < TAPS; t++)
                sum += (uint32_t)own[t] * (uint32_t)from[x + t];
            out[x] = (int32_t)sum;
        }
    }
}

INSIDE uint32_t to_byte(uint32_t sum)
{
    int32_t value = (int32_t)(sum + (UINT32_C(1) << (LANCZOS_BITS - 1))) >> LANCZOS_BITS;
    return (uint32_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* Weigh eight rows, each phase by phase, and put the phases back between each other. */
FOR_EACH_PROCESSOR
static void weigh_rows(const int32_t *const rows[TAPS], const int32_t *taps, int width, int factor, uint8_t *out)
{
    if (factor == 4) {
        uint32_t *restrict words = (uint32_t *)(void *)out;
        for (int x = 0; x < width; x++)
            words[x] = to_byte(weigh(rows, taps, x)) | to_byte(weigh(rows, taps, x + width)) << 8 |
                       to_byte(weigh(rows, taps, x + 2 * width)) << 16 |
                       to_byte(weigh(rows, taps, x + 3 * width)) << 24;
        return;
    }
    for (int phase = 0; phase < factor; phase++)
        for (int x = 0; x < width; x++)
            out[x * factor + phase] = (uint8_t)to_byte(weigh(rows, taps, x + phase * width));
}

int bitdose_lanczos4_up(const uint8_t *image, int height, int width, int down, int across, const int32_t *down_taps,
                        const int32_t *across_taps, uint8_t *out)
{
    size_t wide = (size_t)width * (size_t)across;
    int32_t *work = malloc((KEPT * wide + (size_t)width + 2 * BEFORE) * sizeof *work);
    if (!work)
        return 0;
    int32_t *padded = work + KEPT * wide;
    int n_wide = 0;
    for (int y = 0; y < height; y++) {
        for (; n_wide < height && n_wide <= y + BEFORE; n_wide++)
            widen(image + (size_t)n_wide * (size_t)width, width, across, across_taps, padded,
                  work + (size_t)(n_wide % KEPT) * wide);
        for (int phase = 0; phase < down; phase++, out += wide) {
            const int32_t *own = down_taps + phase * (TAPS + 1), *rows[TAPS];
            int first = y - BEFORE;
            if (own[0] == 0) {
                own++;
                first++;
            }
            for (int t = 0; t < TAPS; t++) {
                int row = first + t < 0 ? 0 : first + t < height ? first + t : height - 1;
                rows[t] = work + (size_t)(row % KEPT) * wide;
            }
            weigh_rows(rows, own, width, across, out);
        }
    }
    free(work);
    return 1;
}

/* Sum a row's blocks of `factor` samples with the weights of their own mean and of both neighbours'. */
INSIDE void sum_blocks(const uint8_t *restrict row, int width, int factor, uint16_t *restrict own,
                       uint16_t *restrict before, uint16_t *restrict behind)
{
    for (int x = 0; x < width; x++) {
        const uint8_t *block = row + x * factor;
        int middle = 0, left = 0, right = 0;
        for (int k = 0; k < factor / 2; k++) {
            int near = block[k], far = block[factor / 2 + k];
            middle += (factor + 1 + 2 * k) * near + (2 * factor - 1 - 2 * k) * far;
            left += (factor - 1 - 2 * k) * near;
            right += (1 + 2 * k) * far;
        }
        own[x] = (uint16_t)middle;
        before[x] = (uint16_t)left;
        behind[x] = (uint16_t)right;
    }
}

INSIDE void narrow_row(const uint8_t *restrict row, int width, int factor, int shift, uint16_t *restrict sums,
                       uint8_t *restrict out)
{
    uint16_t *own = sums, *before = sums + width, *behind = sums + 2 * width;
    sum_blocks(row, width, factor, own, before, behind);
    for (int x = 1; x < width - 1; x++)
        out[x] = (uint8_t)((own[x] + behind[x - 1] + before[x + 1] + factor * factor) >> shift);
}

FOR_EACH_PROCESSOR
static void narrow(const uint8_t *row, int width, int factor, uint16_t *sums, uint8_t *out)
{
    if (factor == 2)
        narrow_row(row, width, 2, 3, sums, out);
    else if (factor == 4)
        narrow_row(row, width, 4, 5, sums, out);
    else
        narrow_row(row, width, 8, 7, sums, out);
}

FOR_EACH_PROCESSOR
static void flatten(const uint8_t *restrict rows, int width, int factor, int shift, uint16_t *restrict sums,
                    uint8_t *restrict out)
{
    for (int x = 0; x < width; x++)
        sums[x] = (uint16_t)(factor * factor);
    for (int t = 0; t < 2 * factor; t++) {
        uint16_t weight = (uint16_t)(t < factor ? 2 * t + 1 : 4 * factor - 1 - 2 * t);
        const uint8_t *row = rows + (size_t)t * (size_t)width;
        for (int x = 0; x < width; x++)
            sums[x] = (uint16_t)(sums[x] + weight * row[x]);
    }
    for (int x = 0; x < width; x++)
        out[x] = (uint8_t)(sums[x] >> shift);
}

/* At a border the kernel is cut, and its weights are of 22 bits: `taps` of them from the border on. */
static uint8_t at_border(const uint8_t *first, ptrdiff_t step, const int32_t *weights, int taps)
{
    int32_t sum = INT32_C(1) << (PILLOW_BITS - 1);
    for (int t = 0; t < taps; t++)
        sum += weights[t] * first[t * step];
    return (uint8_t)(sum >> PILLOW_BITS);
}

int bitdose_bilinear_down(const uint8_t *image, int height, int width, int factor, const int32_t *border, uint8_t *out)
{
    int full_width = width * factor, full_height = height * factor, taps = factor + factor / 2;
    int shift = factor == 2 ? 3 : factor == 4 ? 5 : 7;
    uint16_t *sums = malloc(3 * (size_t)width * sizeof *sums);
    uint8_t *small = malloc((size_t)full_height * (size_t)width);
    if (!sums || !small) {
        free(sums);
        free(small);
        return 0;
    }
    for (int y = 0; y < full_height; y++) {
        const uint8_t *row = image + (size_t)y * (size_t)full_width;
        uint8_t *to = small + (size_t)y * (size_t)width;
        narrow(row, width, factor, sums, to);
        to[0] = at_border(row, 1, border, taps);
        to[width - 1] = at_border(row + full_width - 1, -1, border, taps);
    }
    for (int y = 1; y < height - 1; y++)
        flatten(small + (size_t)(y * factor - factor / 2) * (size_t)width, width, factor, shift, sums,
                out + (size_t)y * (size_t)width);
    const uint8_t *last = small + (size_t)(full_height - 1) * (size_t)width;
    for (int x = 0; x < width; x++) {
        out[x] = at_border(small + x, width, border, taps);
        out[(size_t)(height - 1) * (size_t)width + (size_t)x] = at_border(last + x, -(ptrdiff_t)width, border, taps);
    }
    free(sums);
    free(small);
    return 1;
}
