/* Codes the code-blocks of JPEG 2000 (ISO/IEC 15444-1, C.2 and D), pass by pass, with the length and the gain
 * of each: what a rate allocation chooses from.
 *
 * Lengths and gains are estimated as OpenJPEG estimates them, since what is chosen depends on them.
 */

#include <math.h>

#include "encoder.h"
#include "states.h"

/* A sample on its way into the passes is a magnitude with so many bits behind the point, which only the gains
 * see. */
enum { FRACTION = 6, GAINS = 2 << FRACTION };

/* The gain in squared error by what of a magnitude is at a bit-plane (the bit itself, and the bits below):
 * of a sample found significant and of one refined, [1] in planes above the last and [0] in the last. */
static int16_t found_gains[2][GAINS], refined_gains[2][GAINS];

static int16_t fixed_gain(double gain)
{
    double rounded = floor(gain * (1 << FRACTION) + 0.5) / (1 << FRACTION) * 8192;
    return rounded < 0 ? 0 : (int16_t)rounded;
}

void bitdose_fill_gains(void)
{
    for (int index = 0; index < GAINS; index++) {
        double value = (double)index / (1 << FRACTION), before = value - 1;
        double after = value - (index >> FRACTION ? 1.5 : 0.5);
        found_gains[0][index] = fixed_gain(value * value);
        found_gains[1][index] = fixed_gain(value * value - (value - 1.5) * (value - 1.5));
        refined_gains[0][index] = fixed_gain(before * before);
        refined_gains[1][index] = fixed_gain(before * before - after * after);
    }
}

/* L2 norms of the 9/7 synthesis by kind and level, to the digits that OpenJPEG has. */
static const double NORMS[4][10] = {
    {1.000, 1.965, 4.177, 8.403, 16.90, 33.84, 67.69, 135.3, 270.6, 540.9},
    {2.022, 3.989, 8.355, 17.04, 34.27, 68.63, 137.3, 274.6, 549.0, 549.0},
    {2.022, 3.989, 8.355, 17.04, 34.27, 68.63, 137.3, 274.6, 549.0, 549.0},
    {2.080, 3.865, 8.307, 17.18, 34.71, 69.59, 139.3, 278.6, 557.2, 557.2},
};

typedef struct {
    uint32_t interval, code;
    uint32_t bits; /* to go until a byte is full */
    uint8_t *last; /* the byte that a carry may still reach */
    uint8_t *contexts;
} Coder;

INSIDE void put_byte(Coder *mq)
{
    if (*mq->last != 0xff && mq->code & 0x8000000) {
        ++*mq->last;
        mq->code &= 0x7ffffff;
    }
    if (*mq->last == 0xff) {
        *++mq->last = (uint8_t)(mq->code >> 20);
        mq->code &= 0xfffff;
        mq->bits = 7;
    } else {
        *++mq->last = (uint8_t)(mq->code >> 19);
        mq->code &= 0x7ffff;
        mq->bits = 8;
    }
}

INSIDE void renormalise(Coder *mq)
{
    uint32_t shift = (uint32_t)__builtin_clz(mq->interval) - 16;
    while (shift) {
        uint32_t now = shift < mq->bits ? shift : mq->bits;
        mq->interval <<= now;
        mq->code <<= now;
        mq->bits -= now;
        shift -= now;
        if (!mq->bits)
            put_byte(mq);
    }
}

INSIDE void code_bit(Coder *mq, uint32_t context, uint32_t bit)
{
    uint32_t index = mq->contexts[context];
    uint32_t qe = STATES[index].probability;
    mq->interval -= qe;
    if ((index & 1) == bit) {
        if (mq->interval & 0x8000) {
            mq->code += qe;
            return;
        }
        if (mq->interval < qe)
            mq->interval = qe;
        else
            mq->code += qe;
        mq->contexts[context] = STATES[index].after_mps;
    } else {
        if (mq->interval < qe)
            mq->code += qe;
        else
            mq->interval = qe;
        mq->contexts[context] = STATES[index].after_lps;
    }
    renormalise(mq);
}

static void end_codeword(Coder *mq)
{
    uint32_t top = mq->code + mq->interval;
    mq->code |= 0xffff;
    if (mq->code >= top)
        mq->code -= 0x8000;
    for (int n = 0; n < 2; n++) {
        mq->code <<= mq->bits;
        put_byte(mq);
    }
    if (*mq->last != 0xff)
        mq->last++; /* one behind, as it is before an end */
}

typedef struct {
    const uint8_t *zero;
    const int16_t *gains;
    int plane;
} Pass;

#define BIT(pass, magnitude) ((magnitude) >> ((pass).plane + FRACTION) & 1)
#define GAIN(pass, magnitude) (pass).gains[(magnitude) >> (pass).plane & (GAINS - 1)]

INSIDE int found(Coder *mq, Pass pass, uint32_t *flag, const uint8_t *sign, uint32_t magnitude, uint32_t own,
                 int k)
{
    uint32_t context = sign_context_of(own, sign, k);
    code_bit(mq, context & 0x7f, (sign[0] >> (k + 1) & 1U) ^ context >> 7);
    mark(flag, k);
    return GAIN(pass, magnitude);
}

typedef int Column(Coder *mq, Pass pass, uint32_t *flag, const uint8_t *sign, const uint32_t *magnitudes,
                   int rows);

INSIDE int significance_column(Coder *mq, Pass pass, uint32_t *flag, const uint8_t *sign,
                               const uint32_t *magnitudes, int rows)
{
    uint32_t own = *flag;
    int gain = 0;
    if (!(own & ANY_SIGNIFICANT))
        return 0;
    UNROLLED for (int k = 0; k < rows; k++)
    {
        if (own & SIGNIFICANT(k) || !(own & AROUND(k)))
            continue;
        uint32_t bit = BIT(pass, magnitudes[k]);
        code_bit(mq, pass.zero[own >> 3 * k & 0x1ff], bit);
        if (bit) {
            gain += found(mq, pass, flag, sign, magnitudes[k], own, k);
            own |= SIGNIFICANT(k);
        }
        own |= VISITED(k);
    }
    *flag = own;
    return gain;
}

INSIDE int refinement_column(Coder *mq, Pass pass, uint32_t *flag, const uint8_t *sign,
                             const uint32_t *magnitudes, int rows)
{
    (void)sign;
    uint32_t own = *flag;
    int gain = 0;
    if (!(own & ALL_SIGNIFICANT))
        return 0;
    UNROLLED for (int k = 0; k < rows; k++)
    {
        if ((own & (SIGNIFICANT(k) | VISITED(k))) != SIGNIFICANT(k))
            continue;
        uint32_t context = own & REFINED(k) ? 2 : (own & AROUND(k)) != 0;
        gain += GAIN(pass, magnitudes[k]);
        code_bit(mq, REFINE_CONTEXT + context, BIT(pass, magnitudes[k]));
        own |= REFINED(k);
    }
    *flag = own;
    return gain;
}

INSIDE int cleanup_column(Coder *mq, Pass pass, uint32_t *flag, const uint8_t *sign,
                          const uint32_t *magnitudes, int rows)
{
    uint32_t own = *flag;
    int gain = 0, first = -1;
    if (rows == 4 && !(own & (ANY_SIGNIFICANT | ALL_VISITED))) {
        for (first = 0; first < 4 && !BIT(pass, magnitudes[first]);)
            first++;
        code_bit(mq, RUN_CONTEXT, first < 4);
        if (first == 4)
            return 0;
        code_bit(mq, UNIFORM_CONTEXT, (uint32_t)first >> 1);
        code_bit(mq, UNIFORM_CONTEXT, (uint32_t)first & 1);
    }
    UNROLLED for (int k = 0; k < rows; k++)
    {
        if (k < first)
            continue;
        if (k != first) {
            if (own & (SIGNIFICANT(k) | VISITED(k)))
                continue;
            uint32_t bit = BIT(pass, magnitudes[k]);
            code_bit(mq, pass.zero[own >> 3 * k & 0x1ff], bit);
            if (!bit)
                continue;
        }
        gain += found(mq, pass, flag, sign, magnitudes[k], own, k);
        own |= SIGNIFICANT(k);
    }
    *flag = own & ~ALL_VISITED;
    return gain;
}

/* Go over a block, stripe by stripe; the coder is a copy whose address nobody has, and lives in registers. */
INSIDE int each_column(Workbench *bench, Coder *coder, int width, int height, Pass pass, Column *column)
{
    Coder mq = *coder;
    int gain = 0;
    const uint32_t *magnitudes = bench->magnitudes;
    for (int top = 0; top < height; top += 4) {
        uint32_t *flag = bench->flags + (top / 4 + 1) * FLAG_COLUMNS + 1;
        const uint8_t *sign = bench->signs + (top / 4 + 1) * FLAG_COLUMNS + 1;
        if (top + 4 <= height)
            for (int x = 0; x < width; x++, magnitudes += 4)
                gain += column(&mq, pass, flag + x, sign + x, magnitudes, 4);
        else
            for (int x = 0; x < width; x++, magnitudes += 4)
                gain += column(&mq, pass, flag + x, sign + x, magnitudes, height - top);
    }
    *coder = mq;
    return gain;
}

static int code_pass(Workbench *bench, Coder *mq, int width, int height, int kind, int number, int plane)
{
    Pass pass = {zero_contexts(kind), found_gains[plane > 0], plane};
    if (number % 3 == 0)
        return each_column(bench, mq, width, height, pass, cleanup_column);
    if (number % 3 == 1)
        return each_column(bench, mq, width, height, pass, significance_column);
    pass.gains = refined_gains[plane > 0];
    return each_column(bench, mq, width, height, pass, refinement_column);
}

/* Bring samples into units of the step, halves to the even one. */
FOR_EACH_PROCESSOR
static void quantise(const float *restrict samples, int n, float step, int32_t *restrict out)
{
    for (int x = 0; x < n; x++) {
        union {
            double real;
            uint64_t word;
        } whole = {.real = (double)(samples[x] / step * (1 << FRACTION)) + 6755399441055744.0};
        out[x] = (int32_t)(uint32_t)whole.word;
    }
}

/* Put magnitudes and signs where the passes read them; return the largest magnitude. */
static uint32_t take_in(const float *samples, size_t pitch, int width, int height, float step,
                        Workbench *bench)
{
    uint32_t all = 0, *magnitudes = bench->magnitudes;
    for (int top = 0; top < height; top += 4, magnitudes += 4 * width) {
        uint8_t *sign = bench->signs + (top / 4 + 1) * FLAG_COLUMNS + 1;
        int rows = height - top < 4 ? height - top : 4;
        for (int k = 0; k < rows; k++)
            quantise(samples + (size_t)(top + k) * pitch, width, step, bench->rows[k]);
        for (int x = 0; x < width; x++)
            for (int k = 0; k < rows; k++) {
                int32_t value = bench->rows[k][x];
                uint32_t magnitude = value < 0 ? -(uint32_t)value : (uint32_t)value;
                magnitudes[4 * x + k] = magnitude;
                all |= magnitude;
                if (value < 0)
                    mark_sign(sign + x, k, 1);
            }
    }
    return all;
}

/* The ends of passes as they may be cut: an estimate when the pass ends, no later than any later one's, and
 * not behind a byte of ones. */
static void settle_ends(CodedPass *passes, int n, uint32_t n_bytes, const uint8_t *bytes)
{
    for (int pass = n - 1; pass >= 0; pass--) {
        if (passes[pass].end > n_bytes)
            passes[pass].end = n_bytes;
        n_bytes = passes[pass].end;
    }
    for (int pass = 0; pass < n; pass++)
        if (passes[pass].end && bytes[passes[pass].end - 1] == 0xff)
            passes[pass].end--;
}

void bitdose_code_block(const float *samples, const Band *band, int width, int height, int level,
                        double weight, Workbench *bench, CodedBlock *block)
{
    static const float GAINS_OF_KIND[4] = {1, 2, 2, 4};
    int kind = band->kind;
    float step = 2 * band->step;
    memset(bench->flags, 0, sizeof bench->flags);
    memset(bench->signs, 0, sizeof bench->signs);
    uint32_t all = take_in(samples, (size_t)band->width, width, height, GAINS_OF_KIND[kind] * step, bench);
    block->planes = all ? 32 - __builtin_clz(all) - FRACTION : 0;
    block->n_passes = 0;
    block->n_bytes = 0;
    if (block->planes <= 0)
        return;
    uint8_t contexts[N_CONTEXTS], *bytes = bench->bytes;
    first_states(contexts);
    bytes[-1] = 0;
    Coder mq = {0x8000, 0, 12, bytes - 1, contexts};
    double unit = weight * NORMS[kind][level < 10 ? level : 9] * (double)step, total = 0;
    block->n_passes = 3 * block->planes - 2;
    for (int number = 0; number < block->n_passes; number++) {
        int plane = block->planes - 1 - (number + 2) / 3; /* the first has a cleanup pass alone */
        int gain = code_pass(bench, &mq, width, height, kind, number, plane);
        double of_plane = unit * (double)(1 << plane);
        total += of_plane * (of_plane * gain / 8192.0);
        bench->passes[number] = (CodedPass){(uint32_t)(mq.last - bytes + 3), total};
    }
    end_codeword(&mq);
    block->n_bytes = (uint32_t)(mq.last - bytes);
    bench->passes[block->n_passes - 1].end = block->n_bytes;
    settle_ends(bench->passes, block->n_passes, block->n_bytes, bytes);
}
