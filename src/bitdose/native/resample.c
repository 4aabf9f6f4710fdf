/* The two ways of resizing of bitdose/resample/polyphase.py, in whole numbers: the libraries' own weights and
 * roundings. */

#include <stdlib.h>
#include <string.h>

#include "native.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define IS_LITTLE_ENDIAN 1
#else
#define IS_LITTLE_ENDIAN 0
#endif

enum {
    TAPS = 8, /* of Lanczos-4 */
    BEFORE = 4,
    KEPT = 16,         /* rows, a power of two above twice BEFORE */
    LANCZOS_BITS = 22, /* of two weights' product */
    PILLOW_BITS = 22,
    QUARTER = 4,
    QUARTER_TAPS = 6, /* at a border */
};

/* A weight at a time over the whole row, which the first cache holds: compilers make vectors of that. */
FOR_EACH_PROCESSOR
static void filter_row(const int32_t *from, const int32_t *taps, int n, int32_t *restrict out)
{
    memset(out, 0, (size_t)n * sizeof *out);
    for (int t = 0; t < TAPS; t++) {
        const int32_t weight = taps[t], *restrict shifted = from + t;
        for (int x = 0; x < n; x++)
            out[x] += weight * shifted[x];
    }
}

/* Filter a row for each phase, one after the other. */
static void widen(const uint8_t *row, int width, int factor, const int32_t *taps, int32_t *padded,
                  int32_t *out)
{
    for (int x = 0; x < BEFORE; x++) {
        padded[x] = row[0];
        padded[BEFORE + width + x] = row[width - 1];
    }
    for (int x = 0; x < width; x++)
        padded[BEFORE + x] = row[x];
    for (int phase = 0; phase < factor; phase++, taps += TAPS + 1, out += width) {
        int skipped = taps[0] == 0; /* of nine the first has no weight, or the last */
        filter_row(padded + skipped, taps + skipped, width, out);
    }
}

/* Four samples at once, the first in the lowest byte. */
typedef uint32_t __attribute__((may_alias, aligned(1))) Bytes4;

/* Weigh eight rows, and round to bytes. OpenCV's sums of 32 bits wrap where they do, hence without signs. */
FOR_EACH_PROCESSOR
static void weigh_rows(const int32_t *const rows[TAPS], const int32_t *taps, int n, uint32_t *restrict out)
{
    const int32_t *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3];
    const int32_t *r4 = rows[4], *r5 = rows[5], *r6 = rows[6], *r7 = rows[7];
    const uint32_t t0 = (uint32_t)taps[0], t1 = (uint32_t)taps[1], t2 = (uint32_t)taps[2],
                   t3 = (uint32_t)taps[3];
    const uint32_t t4 = (uint32_t)taps[4], t5 = (uint32_t)taps[5], t6 = (uint32_t)taps[6],
                   t7 = (uint32_t)taps[7];
    for (int x = 0; x < n; x++) {
        uint32_t sum = t0 * (uint32_t)r0[x] + t1 * (uint32_t)r1[x] + t2 * (uint32_t)r2[x] +
                       t3 * (uint32_t)r3[x] + t4 * (uint32_t)r4[x] + t5 * (uint32_t)r5[x] +
                       t6 * (uint32_t)r6[x] + t7 * (uint32_t)r7[x];
        int32_t value = (int32_t)(sum + (UINT32_C(1) << (LANCZOS_BITS - 1))) >> LANCZOS_BITS;
        value = value < 0 ? 0 : value;
        out[x] = (uint32_t)(value > 255 ? 255 : value);
    }
}

/* Put the phases, which lie one after the other, back between each other. */
FOR_EACH_PROCESSOR
static void interleave(const uint32_t *restrict phases, int width, int factor, uint8_t *restrict out)
{
    if (factor == 4 && IS_LITTLE_ENDIAN) {
        Bytes4 *restrict words = (Bytes4 *)(void *)out;
        const uint32_t *p0 = phases, *p1 = p0 + width, *p2 = p1 + width, *p3 = p2 + width;
        for (int x = 0; x < width; x++)
            words[x] = p0[x] | p1[x] << 8 | p2[x] << 16 | p3[x] << 24;
        return;
    }
    for (int phase = 0; phase < factor; phase++)
        for (int x = 0; x < width; x++)
            out[x * factor + phase] = (uint8_t)phases[phase * width + x];
}

int bitdose_lanczos4_up(const uint8_t *image, int height, int width, int down, int across,
                        const int32_t *down_taps, const int32_t *across_taps, uint8_t *out)
{
    if (height < 1 || width < 1 || down < 1 || across < 1 || down > MAX_FACTOR || across > MAX_FACTOR ||
        height > MAX_LINE / down || width > MAX_LINE / across)
        return 0;
    size_t wide = (size_t)width * (size_t)across;
    int32_t *work = malloc(((KEPT + 1) * wide + (size_t)width + 2 * BEFORE) * sizeof *work);
    if (!work)
        return 0;
    uint32_t *bytes = (uint32_t *)(work + KEPT * wide);
    int32_t *padded = work + (KEPT + 1) * wide;
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
            weigh_rows(rows, own, (int)wide, bytes);
            interleave(bytes, width, across, out);
        }
    }
    free(work);
    return 1;
}

/* Weigh a row's blocks of four samples: 5 7 7 5 of a block, 1 3 of the one before and 3 1 of the one behind,
 * of 32. */
FOR_EACH_PROCESSOR
static void quarter_row(const uint8_t *row, int width, uint32_t *restrict own, uint32_t *restrict right,
                        uint32_t *restrict left, uint8_t *restrict out)
{
    const Bytes4 *words = (const Bytes4 *)(const void *)row;
    for (int x = 0; x < width; x++) {
        uint32_t word = words[x], a = word & 255, b = word >> 8 & 255, c = word >> 16 & 255, d = word >> 24;
        own[x] = 5 * (a + d) + 7 * (b + c) + 16;
        right[x] = c + 3 * d;
        left[x] = 3 * a + b;
    }
    for (int x = 1; x < width - 1; x++)
        out[x] = (uint8_t)((own[x] + right[x - 1] + left[x + 1]) >> 5);
}

FOR_EACH_PROCESSOR
static void quarter_column(const uint8_t *rows, int width, uint8_t *restrict out)
{
    const uint8_t *r0 = rows, *r1 = r0 + width, *r2 = r1 + width, *r3 = r2 + width;
    const uint8_t *r4 = r3 + width, *r5 = r4 + width, *r6 = r5 + width, *r7 = r6 + width;
    for (int x = 0; x < width; x++)
        out[x] = (uint8_t)((uint16_t)(r0[x] + r7[x] + 3 * (r1[x] + r6[x]) + 5 * (r2[x] + r5[x]) +
                                      7 * (r3[x] + r4[x]) + 16) >>
                           5);
}

static uint8_t at_border(const uint8_t *first, ptrdiff_t step, const int32_t *weights)
{
    int32_t sum = INT32_C(1) << (PILLOW_BITS - 1);
    for (int t = 0; t < QUARTER_TAPS; t++)
        sum += weights[t] * first[t * step];
    return (uint8_t)(sum >> PILLOW_BITS);
}

int bitdose_bilinear_quarter(const uint8_t *image, int height, int width, const int32_t *border, uint8_t *out)
{
    if (height < 2 || width < 2 || height > MAX_LINE / QUARTER || width > MAX_LINE / QUARTER)
        return 0;
    size_t full = (size_t)width * QUARTER, rows = (size_t)height * QUARTER, wide = (size_t)width;
    uint32_t *sums = malloc(3 * wide * sizeof *sums);
    uint8_t *narrow = malloc(rows * wide);
    int done = IS_LITTLE_ENDIAN && sums && narrow;
    for (size_t y = 0; done && y < rows; y++) {
        const uint8_t *row = image + y * full;
        uint8_t *to = narrow + y * wide;
        quarter_row(row, width, sums, sums + wide, sums + 2 * wide, to);
        to[0] = at_border(row, 1, border);
        to[wide - 1] = at_border(row + full - 1, -1, border);
    }
    for (int y = 1; done && y < height - 1; y++)
        quarter_column(narrow + (size_t)(y * QUARTER - QUARTER / 2) * wide, width, out + (size_t)y * wide);
    for (size_t x = 0; done && x < wide; x++) {
        out[x] = at_border(narrow + x, (ptrdiff_t)wide, border);
        out[(size_t)(height - 1) * wide + x] =
            at_border(narrow + (rows - 1) * wide + x, -(ptrdiff_t)wide, border);
    }
    free(sums);
    free(narrow);
    return done;
}
