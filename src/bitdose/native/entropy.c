/* The code-blocks of JPEG 2000 (ISO/IEC 15444-1, D): their passes, and how one goes from a quality layer to
 * the next. */

#include <string.h>

#include "arithmetic.h"
#include "contexts.h"

uint8_t bitdose_zero_contexts[3][512];
uint8_t bitdose_sign_contexts[256];

static int zero_context(int band, int around)
{
    int h = (around >> 3 & 1) + (around >> 5 & 1), v = (around >> 1 & 1) + (around >> 7 & 1);
    int d = (around & 1) + (around >> 2 & 1) + (around >> 6 & 1) + (around >> 8 & 1);
    if (band == HH) {
        int hv = h + v;
        if (d >= 3)
            return 8;
        if (d == 2)
            return hv ? 7 : 6;
        if (d == 1)
            return hv >= 2 ? 5 : hv ? 4 : 3;
        return hv >= 2 ? 2 : hv;
    }
    if (band == HL) {
        int swapped = h;
        h = v;
        v = swapped;
    }
    if (h == 2)
        return 8;
    if (h == 1)
        return v ? 7 : d ? 6 : 5;
    if (v)
        return v == 2 ? 4 : 3;
    return d >= 2 ? 2 : d;
}

static int clamp_one(int value) { return value > 1 ? 1 : value < -1 ? -1 : value; }

static uint8_t sign_context(int index)
{
    /* Significance of the samples above, left, right and below in bits 0 to 3, their signs in 4 to 7. */
    int by[4];
    for (int n = 0; n < 4; n++)
        by[n] = !(index >> n & 1) ? 0 : index >> (n + 4) & 1 ? -1 : 1;
    int h = clamp_one(by[1] + by[2]), v = clamp_one(by[0] + by[3]);
    int flips = h < 0 || (h == 0 && v < 0);
    if (flips) {
        h = -h;
        v = -v;
    }
    int context = h ? 12 + v : v ? 10 : 9;
    return (uint8_t)(context | flips << 7);
}

void bitdose_fill_contexts(void)
{
    static const int KINDS[3] = {LH, HL, HH};
    for (int n = 0; n < 3; n++)
        for (int around = 0; around < 512; around++)
            bitdose_zero_contexts[n][around] = (uint8_t)zero_context(KINDS[n], around);
    for (int index = 0; index < 256; index++)
        bitdose_sign_contexts[index] = sign_context(index);
}

INSIDE uint32_t decode_sign(Decoder *mq, uint32_t own, const uint8_t *sign, int k, int logs)
{
    uint32_t context = sign_context_of(own, sign, k);
    return decode_bit(mq, context & 0x7f, logs) ^ context >> 7;
}

typedef struct {
    const uint8_t *zero;
    int32_t first;  /* what a sample becomes that is found significant */
    int32_t refine; /* what a refinement moves it by */
} Pass;

/* Four samples of a column, or what is left of them at the bottom; a constant where it is four, so that the
 * loop is gone. */
INSIDE void significance_column(Decoder *mq, Pass pass, uint32_t *flag, uint8_t *sign, int32_t *sample,
                                int width, int rows, int logs)
{
    uint32_t own = *flag;
    if (!(own & ANY_SIGNIFICANT))
        return;
    UNROLLED for (int k = 0; k < rows; k++)
    {
        if (own & SIGNIFICANT(k) || !(own & AROUND(k)))
            continue;
        if (decode_bit(mq, pass.zero[own >> 3 * k & 0x1ff], logs)) {
            uint32_t negative = decode_sign(mq, own, sign, k, logs);
            sample[k * width] = negative ? -pass.first : pass.first;
            mark(flag, k);
            mark_sign(sign, k, negative);
            own |= SIGNIFICANT(k);
        }
        own |= VISITED(k);
    }
    *flag = own;
}

INSIDE void refinement_column(Decoder *mq, Pass pass, uint32_t *flag, uint8_t *sign, int32_t *sample,
                              int width, int rows, int logs)
{
    (void)sign;
    uint32_t own = *flag;
    if (!(own & ALL_SIGNIFICANT))
        return;
    UNROLLED for (int k = 0; k < rows; k++)
    {
        if ((own & (SIGNIFICANT(k) | VISITED(k))) != SIGNIFICANT(k))
            continue;
        uint32_t context = own & REFINED(k) ? 2 : (own & AROUND(k)) != 0;
        int32_t up = decode_bit(mq, REFINE_CONTEXT + context, logs) ? pass.refine : -pass.refine;
        sample[k * width] += sample[k * width] < 0 ? -up : up;
        own |= REFINED(k);
    }
    *flag = own;
}

INSIDE void cleanup_column(Decoder *mq, Pass pass, uint32_t *flag, uint8_t *sign, int32_t *sample, int width,
                           int rows, int logs)
{
    uint32_t own = *flag;
    int found = -1;
    if (rows == 4 && !(own & (ANY_SIGNIFICANT | ALL_VISITED))) {
        if (!decode_bit(mq, RUN_CONTEXT, logs))
            return;
        found = (int)(decode_bit(mq, UNIFORM_CONTEXT, logs) << 1);
        found |= (int)decode_bit(mq, UNIFORM_CONTEXT, logs);
    }
    UNROLLED for (int k = 0; k < rows; k++)
    {
        if (k < found)
            continue;
        if (k != found &&
            (own & (SIGNIFICANT(k) | VISITED(k)) || !decode_bit(mq, pass.zero[own >> 3 * k & 0x1ff], logs)))
            continue;
        uint32_t negative = decode_sign(mq, own, sign, k, logs);
        sample[k * width] = negative ? -pass.first : pass.first;
        mark(flag, k);
        mark_sign(sign, k, negative);
        own |= SIGNIFICANT(k);
    }
    *flag = own & ~ALL_VISITED;
}

/* More than a column takes of the stream: 11 decisions at most, of 15 bits at most. */
enum { COLUMN_BYTES = 32 };

typedef void Column(Decoder *mq, Pass pass, uint32_t *flag, uint8_t *sign, int32_t *sample, int width,
                    int rows, int logs);

/* Go over a block, stripe by stripe; the decoder is a copy whose address nobody has, and lives in registers.
 * Decisions are logged from where the end of the layer can be reached. */
INSIDE void each_column(Block *block, Pass pass, Column *column)
{
    Decoder mq = block->mq;
    const uint8_t *end = mq.log->end;
    int width = block->width, whole = block->height / 4 * 4, rest = block->height - whole;
    for (int top = 0; top < block->height; top += 4) {
        uint32_t *flag = block->flags + (top / 4 + 1) * FLAG_COLUMNS + 1;
        uint8_t *sign = block->signs + (top / 4 + 1) * FLAG_COLUMNS + 1;
        int32_t *sample = block->samples + top * width;
        if (top < whole)
            for (int x = 0; x < width; x++)
                if (end - mq.next > COLUMN_BYTES)
                    column(&mq, pass, flag + x, sign + x, sample + x, width, 4, 0);
                else
                    column(&mq, pass, flag + x, sign + x, sample + x, width, 4, 1);
        else
            for (int x = 0; x < width; x++)
                column(&mq, pass, flag + x, sign + x, sample + x, width, rest, 1);
    }
    block->mq = mq;
}

static void decode_passes(Block *block, int kind, int n_passes)
{
    Pass pass = {.zero = zero_contexts(kind)};
    for (; block->n_decoded < n_passes; block->n_decoded++) {
        int plane = block->planes - 1 - (block->n_decoded + 2) / 3; /* the first has a cleanup pass alone */
        pass.first = INT32_C(3) << plane;
        pass.refine = INT32_C(1) << plane;
        if (block->n_decoded % 3 == 0)
            each_column(block, pass, cleanup_column);
        else if (block->n_decoded % 3 == 1)
            each_column(block, pass, significance_column);
        else
            each_column(block, pass, refinement_column);
    }
}

static void begin(Block *block, Log *log)
{
    memset(block->samples, 0, (size_t)block->width * (size_t)block->height * sizeof *block->samples);
    memset(block->flags, 0, FLAG_ROWS * FLAG_COLUMNS * sizeof *block->flags);
    memset(block->signs, 0, FLAG_ROWS * FLAG_COLUMNS);
    block->n_decoded = 0;
    block->mq.contexts = block->contexts;
    block->mq.log = log;
    start_decoder(&block->mq, block->bytes);
}

/* Bring a block to the end of a layer: from where it is, or from its beginning.
 *
 * A receiver of that many layers has no bytes behind their end, and its decoder goes on with ones. Encoders
 * cut where that seldom matters; where it does, the block is decoded as the receiver does it, and begun anew
 * for a longer stream. */
void bitdose_advance(Block *block, int kind, int layer, Log *log)
{
    int n_passes = block->passes_after[layer];
    uint8_t *end = block->bytes + block->bytes_after[layer], behind[2] = {end[0], end[1]};
    if (n_passes == block->n_decoded)
        return;
    int has_begun = block->n_decoded && n_passes > block->n_decoded;
    log->end = end;
    log->next = NULL;
    if (!has_begun || block->is_cut || block->mq.next + 1 >= end)
        begin(block, log);
    block->is_cut = block->mq.next + 1 >= end; /* at its first look already */
    if (!block->is_cut)
        decode_passes(block, kind, n_passes);
    end[0] = end[1] = 0xff;
    if (block->is_cut || !holds(log, &block->mq)) {
        block->is_cut = 1;
        begin(block, log);
        decode_passes(block, kind, n_passes);
    }
    end[0] = behind[0];
    end[1] = behind[1];
}
