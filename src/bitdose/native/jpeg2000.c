/* Decodes the JPEG 2000 streams that a sweep has just written, one quality layer after the other.
 *
 * A chain of rates is one layered encode, so that the stream of a mild rate begins with all passes of the
 * harsher ones. A decoder that is given the longest stream can stop after each layer, put out the image,
 * and go on: every bit of the entropy coder is decoded once for the whole chain, where a decoder that is
 * given one stream after the other begins anew with each.
 *
 * What it reads (ISO/IEC 15444-1): a raw codestream of one tile and one tile-part, one unsigned component of 8
 * or 16 bits, progression LRCP, the 9/7 wavelet, no precincts, no coding style but the plain one, scalar
 * quantisation with a step per subband. Everything else is refused, and is OpenJPEG's to decode. Sums of floats
 * are in OpenJPEG's order with OpenJPEG's constants, so that its images and these are the same to the last bit;
 * compile without contraction of products and sums.
 *
 * Numbers in brackets are clauses of the standard.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "native.h"

enum {
    MAX_LEVELS = 32,
    MAX_SIDE = 1 << 15,        /* one precinct holds a whole resolution up to here */
    MAX_SAMPLES = 1 << 28,
    MAX_PASSES = 109,          /* of one codeword segment */
    BLOCK_SIDE = 64,
    N_CONTEXTS = 19,
    RUN_CONTEXT = 17,
    UNIFORM_CONTEXT = 18,
    SIGN_CONTEXT = 9,
    REFINE_CONTEXT = 14,
    FLAG_COLUMNS = BLOCK_SIDE + 2,
    FLAG_ROWS = BLOCK_SIDE / 4 + 2,
};

/* ---- the arithmetic decoder [C.3] ---- */

typedef struct {
    uint16_t probability;
    uint8_t after_mps, after_lps;
} State;

#define ROW(index, qe, mps, lps, flips)                                                     \
    [2 * (index)] = {qe, 2 * (mps), 2 * (lps) + (flips)},                                \
    [2 * (index) + 1] = {qe, 2 * (mps) + 1, 2 * (lps) + 1 - (flips)}

/* [Table C.2]; an index is twice the table's, and one more where the more probable symbol is 1. */
static const State STATES[94] = {
    ROW(0, 0x5601, 1, 1, 1),    ROW(1, 0x3401, 2, 6, 0),    ROW(2, 0x1801, 3, 9, 0),
    ROW(3, 0x0ac1, 4, 12, 0),   ROW(4, 0x0521, 5, 29, 0),   ROW(5, 0x0221, 38, 33, 0),
    ROW(6, 0x5601, 7, 6, 1),    ROW(7, 0x5401, 8, 14, 0),   ROW(8, 0x4801, 9, 14, 0),
    ROW(9, 0x3801, 10, 14, 0),  ROW(10, 0x3001, 11, 17, 0), ROW(11, 0x2401, 12, 18, 0),
    ROW(12, 0x1c01, 13, 20, 0), ROW(13, 0x1601, 29, 21, 0), ROW(14, 0x5601, 15, 14, 1),
    ROW(15, 0x5401, 16, 14, 0), ROW(16, 0x5101, 17, 15, 0), ROW(17, 0x4801, 18, 16, 0),
    ROW(18, 0x3801, 19, 17, 0), ROW(19, 0x3401, 20, 18, 0), ROW(20, 0x3001, 21, 19, 0),
    ROW(21, 0x2801, 22, 19, 0), ROW(22, 0x2401, 23, 20, 0), ROW(23, 0x2201, 24, 21, 0),
    ROW(24, 0x1c01, 25, 22, 0), ROW(25, 0x1801, 26, 23, 0), ROW(26, 0x1601, 27, 24, 0),
    ROW(27, 0x1401, 28, 25, 0), ROW(28, 0x1201, 29, 26, 0), ROW(29, 0x1101, 30, 27, 0),
    ROW(30, 0x0ac1, 31, 28, 0), ROW(31, 0x09c1, 32, 29, 0), ROW(32, 0x08a1, 33, 30, 0),
    ROW(33, 0x0521, 34, 31, 0), ROW(34, 0x0441, 35, 32, 0), ROW(35, 0x02a1, 36, 33, 0),
    ROW(36, 0x0221, 37, 34, 0), ROW(37, 0x0141, 38, 35, 0), ROW(38, 0x0111, 39, 36, 0),
    ROW(39, 0x0085, 40, 37, 0), ROW(40, 0x0049, 41, 38, 0), ROW(41, 0x0025, 42, 39, 0),
    ROW(42, 0x0015, 43, 40, 0), ROW(43, 0x0009, 44, 41, 0), ROW(44, 0x0005, 45, 42, 0),
    ROW(45, 0x0001, 45, 43, 0), ROW(46, 0x5601, 46, 46, 0),
};

enum { LOGGED = 4096 };

/* What was decoded since a decoder first looked beyond the end of a layer. */
typedef struct {
    const uint8_t *end;      /* of the layer's bytes */
    const uint8_t *next;     /* null before that */
    uint32_t code, interval, bits;
    uint8_t contexts[N_CONTEXTS];
    uint32_t from;           /* count of decisions before */
    uint8_t decisions[LOGGED]; /* contexts, with the bit in bit 7; the last ones of them */
} Log;

typedef struct {
    const uint8_t *next; /* the byte read last; two of 0xff stand behind a block's last */
    uint32_t code, interval, bits;
    uint32_t count; /* of decisions */
    uint8_t *contexts;
    Log *log;
} Decoder;

#if defined(__GNUC__)
__attribute__((noinline, cold))
#endif
static void begin_log(Log *log, const uint8_t *next, uint32_t code, uint32_t interval, uint32_t bits, uint32_t count,
                      const uint8_t *contexts)
{
    log->next = next;
    log->code = code;
    log->interval = interval;
    log->bits = bits;
    log->from = count;
    memcpy(log->contexts, contexts, N_CONTEXTS);
}

INSIDE void read_byte(Decoder *mq)
{
    if (mq->next[0] == 0xff) {
        if (mq->next[1] > 0x8f) {
            mq->code += 0xff00;
            mq->bits = 8;
        } else {
            mq->next++;
            mq->code += (uint32_t)mq->next[0] << 9;
            mq->bits = 7;
        }
    } else {
        mq->next++;
        mq->code += (uint32_t)mq->next[0] << 8;
        mq->bits = 8;
    }
}

INSIDE void renormalise(Decoder *mq, int logs)
{
    do {
        if (mq->bits == 0) {
            if (logs && mq->next + 1 >= mq->log->end && !mq->log->next)
                begin_log(mq->log, mq->next, mq->code, mq->interval, mq->bits, mq->count, mq->contexts);
            read_byte(mq);
        }
        mq->interval <<= 1;
        mq->code <<= 1;
        mq->bits--;
    } while (mq->interval < 0x8000);
}

INSIDE uint32_t decode_bit(Decoder *mq, uint32_t context, int logs)
{
    uint32_t index = mq->contexts[context];
    uint32_t qe = STATES[index].probability, bit = index & 1;
    mq->interval -= qe;
    if (mq->code >> 16 < qe) {
        int likely = mq->interval < qe;
        mq->interval = qe;
        mq->contexts[context] = likely ? STATES[index].after_mps : STATES[index].after_lps;
        bit ^= !likely;
        renormalise(mq, logs);
    } else {
        mq->code -= qe << 16;
        if (!(mq->interval & 0x8000)) {
            int likely = mq->interval >= qe;
            mq->contexts[context] = likely ? STATES[index].after_mps : STATES[index].after_lps;
            bit ^= !likely;
            renormalise(mq, logs);
        }
    }
    if (logs)
        mq->log->decisions[mq->count++ % LOGGED] = (uint8_t)(context | bit << 7);
    return bit;
}

static void start_decoder(Decoder *mq, const uint8_t *data)
{
    mq->next = data;
    mq->code = (uint32_t)data[0] << 16;
    read_byte(mq);
    mq->code <<= 7;
    mq->bits -= 7;
    mq->interval = 0x8000;
    memset(mq->contexts, 0, N_CONTEXTS);
    mq->contexts[0] = 2 * 4;
    mq->contexts[RUN_CONTEXT] = 2 * 3;
    mq->contexts[UNIFORM_CONTEXT] = 2 * 46;
}

/* Whether bytes of ones behind the layer's end, which its receiver's decoder goes on with, would have given the same
 * decisions. */
static int holds(Log *log, const Decoder *now)
{
    if (!log->next)
        return 1;
    if (now->count - log->from > LOGGED)
        return 0;
    Decoder mq = {log->next, log->code, log->interval, log->bits, 0, log->contexts, log};
    renormalise(&mq, 0);
    for (uint32_t n = log->from + 1; n < now->count; n++) {
        uint32_t decision = log->decisions[n % LOGGED];
        if (decode_bit(&mq, decision & 0x7f, 0) != decision >> 7)
            return 0;
    }
    return 1;
}

/* ---- code-blocks [D] ---- */

/* A flag word stands for the four samples of a column of a stripe. Its bits 3 * row + column say which of
 * the 6 x 3 samples around them are significant (row 0 is the one above), then four bits each say which samples
 * this significance pass has visited and which have been refined before. */
#define SIGNIFICANT(k) (UINT32_C(1) << (3 * (k) + 4))
#define AROUND(k) (UINT32_C(0x1ef) << 3 * (k))
#define VISITED(k) (UINT32_C(1) << (18 + (k)))
#define REFINED(k) (UINT32_C(1) << (22 + (k)))
#define ANY_SIGNIFICANT UINT32_C(0x3ffff)
#define ALL_SIGNIFICANT (SIGNIFICANT(0) | SIGNIFICANT(1) | SIGNIFICANT(2) | SIGNIFICANT(3))
#define ALL_VISITED (UINT32_C(15) << 18)

typedef struct {
    int width, height;
    int planes;             /* bit-planes that are coded; 0 before the block is included */
    int length_bits;        /* Lblock [B.10.7.1] */
    int n_passes, n_decoded;
    int is_cut;             /* whether it was decoded as if nothing followed a layer */
    uint32_t n_bytes;
    int32_t *samples;       /* (height, width): twice the quantised value, its half bit included */
    uint32_t *flags;        /* (FLAG_ROWS, FLAG_COLUMNS) */
    uint8_t *signs;         /* the same: bit row says that the sample of that row is negative */
    uint8_t *bytes;
    uint16_t *passes_after; /* (n_layers,) */
    uint32_t *bytes_after;  /* (n_layers,) */
    uint8_t contexts[N_CONTEXTS];
    Decoder mq;
} Block;

static uint8_t zero_contexts[3][512]; /* by kind of subband and the 3 x 3 samples around [Table D.1] */
static uint8_t sign_contexts[256];    /* context, and in bit 7 what the bit is flipped by [Tables D.2, D.3] */

enum { LL, HL, LH, HH };

static uint8_t zero_context(int band, int around)
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

uint32_t bitdose_sources(void) { return BITDOSE_SOURCES; }

void bitdose_start(void)
{
    for (int band = 0; band < 3; band++)
        for (int around = 0; around < 512; around++)
            zero_contexts[band][around] = zero_context(band == 2 ? HH : band == 1 ? HL : LH, around);
    for (int index = 0; index < 256; index++)
        sign_contexts[index] = sign_context(index);
}

INSIDE uint32_t decode_sign(Decoder *mq, uint32_t own, const uint8_t *sign, int k)
{
    uint32_t around = own >> 3 * k;
    uint32_t index = (around >> 1 & 1) | (around >> 2 & 2) | (around >> 3 & 4) | (around >> 4 & 8) |
                     (sign[0] >> k & 1U) << 4 | (sign[-1] >> (k + 1) & 1U) << 5 |
                     (sign[1] >> (k + 1) & 1U) << 6 | (sign[0] >> (k + 2) & 1U) << 7;
    uint32_t context = sign_contexts[index];
    return decode_bit(mq, context & 0x7f, 1) ^ context >> 7;
}

/* Tell a sample's neighbours that it is significant; its own word is the caller's. */
INSIDE void mark(uint32_t *flag, uint8_t *sign, int k, uint32_t negative)
{
    flag[-1] |= UINT32_C(1) << (3 * k + 5);
    flag[1] |= UINT32_C(1) << (3 * k + 3);
    sign[0] |= (uint8_t)(negative << (k + 1));
    if (k == 0) {
        uint32_t *above = flag - FLAG_COLUMNS;
        above[-1] |= UINT32_C(1) << 17;
        above[0] |= UINT32_C(1) << 16;
        above[1] |= UINT32_C(1) << 15;
        sign[-FLAG_COLUMNS] |= (uint8_t)(negative << 5);
    }
    if (k == 3) {
        uint32_t *below = flag + FLAG_COLUMNS;
        below[-1] |= UINT32_C(1) << 2;
        below[0] |= UINT32_C(1) << 1;
        below[1] |= UINT32_C(1);
        sign[FLAG_COLUMNS] |= (uint8_t)negative;
    }
}

/* A block's pass; its decoder is a copy whose address nobody has, so that it lives in registers. */
typedef struct {
    const uint8_t *zero;
    int32_t first, refine; /* what a sample becomes that is found significant; what a refinement moves it by */
} Pass;

static void significance_pass(Block *block, Pass pass)
{
    Decoder mq = block->mq;
    int width = block->width;
    for (int top = 0; top < block->height; top += 4) {
        uint32_t *flag = block->flags + (top / 4 + 1) * FLAG_COLUMNS + 1;
        uint8_t *sign = block->signs + (top / 4 + 1) * FLAG_COLUMNS + 1;
        int32_t *samples = block->samples + top * width;
        int rows = block->height - top < 4 ? block->height - top : 4;
        for (int x = 0; x < width; x++, flag++, sign++) {
            uint32_t own = *flag;
            if (!(own & ANY_SIGNIFICANT))
                continue;
            for (int k = 0; k < rows; k++) {
                if (own & SIGNIFICANT(k) || !(own & AROUND(k)))
                    continue;
                if (decode_bit(&mq, pass.zero[own >> 3 * k & 0x1ff], 1)) {
                    uint32_t negative = decode_sign(&mq, own, sign, k);
                    samples[k * width + x] = negative ? -pass.first : pass.first;
                    mark(flag, sign, k, negative);
                    own |= SIGNIFICANT(k);
                }
                own |= VISITED(k);
            }
            *flag = own;
        }
    }
    block->mq = mq;
}

static void refinement_pass(Block *block, Pass pass)
{
    Decoder mq = block->mq;
    int width = block->width;
    for (int top = 0; top < block->height; top += 4) {
        uint32_t *flag = block->flags + (top / 4 + 1) * FLAG_COLUMNS + 1;
        int32_t *samples = block->samples + top * width;
        int rows = block->height - top < 4 ? block->height - top : 4;
        for (int x = 0; x < width; x++, flag++) {
            uint32_t own = *flag;
            if (!(own & ALL_SIGNIFICANT))
                continue;
            for (int k = 0; k < rows; k++) {
                if ((own & (SIGNIFICANT(k) | VISITED(k))) != SIGNIFICANT(k))
                    continue;
                uint32_t context = own & REFINED(k) ? 2 : (own & AROUND(k)) != 0;
                int32_t *sample = &samples[k * width + x];
                int32_t up = decode_bit(&mq, REFINE_CONTEXT + context, 1) ? pass.refine : -pass.refine;
                *sample += *sample < 0 ? -up : up;
                own |= REFINED(k);
            }
            *flag = own;
        }
    }
    block->mq = mq;
}

static void cleanup_pass(Block *block, Pass pass)
{
    Decoder mq = block->mq;
    int width = block->width;
    for (int top = 0; top < block->height; top += 4) {
        uint32_t *flag = block->flags + (top / 4 + 1) * FLAG_COLUMNS + 1;
        uint8_t *sign = block->signs + (top / 4 + 1) * FLAG_COLUMNS + 1;
        int32_t *samples = block->samples + top * width;
        int rows = block->height - top < 4 ? block->height - top : 4;
        for (int x = 0; x < width; x++, flag++, sign++) {
            uint32_t own = *flag;
            int k = 0, is_found = 0;
            if (rows == 4 && !(own & (ANY_SIGNIFICANT | ALL_VISITED))) {
                if (!decode_bit(&mq, RUN_CONTEXT, 1))
                    continue;
                k = (int)(decode_bit(&mq, UNIFORM_CONTEXT, 1) << 1);
                k |= (int)decode_bit(&mq, UNIFORM_CONTEXT, 1);
                is_found = 1;
            }
            for (; k < rows; k++, is_found = 0) {
                if (!is_found && (own & (SIGNIFICANT(k) | VISITED(k)) ||
                                  !decode_bit(&mq, pass.zero[own >> 3 * k & 0x1ff], 1)))
                    continue;
                uint32_t negative = decode_sign(&mq, own, sign, k);
                samples[k * width + x] = negative ? -pass.first : pass.first;
                mark(flag, sign, k, negative);
                own |= SIGNIFICANT(k);
            }
            *flag = own & ~ALL_VISITED;
        }
    }
    block->mq = mq;
}

static void decode_passes(Block *block, int kind, int n_passes)
{
    Pass pass = {.zero = zero_contexts[kind == HH ? 2 : kind == HL ? 1 : 0]};
    for (; block->n_decoded < n_passes; block->n_decoded++) {
        int plane = block->planes - 1 - (block->n_decoded + 2) / 3; /* the first has a cleanup pass alone */
        pass.first = INT32_C(3) << plane;
        pass.refine = INT32_C(1) << plane;
        if (block->n_decoded % 3 == 0)
            cleanup_pass(block, pass);
        else if (block->n_decoded % 3 == 1)
            significance_pass(block, pass);
        else
            refinement_pass(block, pass);
    }
}

/* ---- packets [B.10] ---- */

typedef struct {
    int parent;
    int value, low;
    int known;
} Node;

typedef struct {
    int width, height; /* of its leaves */
    Node *nodes;       /* (n,), leaves first, in rows */
} TagTree;

typedef struct {
    int kind, width, height;
    int across, down; /* code-blocks */
    int planes;       /* Mb [E-2] */
    float step;       /* of half a unit */
    Block *blocks;    /* (down, across) */
    TagTree included, empty_planes;
} Band;

typedef struct {
    int width, height;
    int n_bands;
    Band bands[3];
} Resolution;

struct bitdose_j2k {
    int width, height, bits;
    int n_levels, n_layers;
    int n_blocks;
    Resolution resolutions[MAX_LEVELS + 1];
    Block *blocks;
    Node *nodes;
    uint8_t *bytes;
    uint16_t *passes_after;
    uint32_t *bytes_after;
    int32_t *samples;
    uint32_t *flags;
    uint8_t *signs;
    float *work;
    Log log;
};

typedef struct {
    const uint8_t *at, *end;
    uint32_t value;
    int bits;
    int broken;
} Reader;

/* A byte of ones is followed by one whose highest bit is not used [B.10.1]. */
static uint32_t read_bit(Reader *reader)
{
    if (reader->bits == 0) {
        reader->bits = reader->value == 0xff ? 7 : 8;
        if (reader->at >= reader->end) {
            reader->broken = 1;
            reader->value = 0;
        } else
            reader->value = *reader->at++;
    }
    reader->bits--;
    return reader->value >> reader->bits & 1;
}

static uint32_t read_bits(Reader *reader, int count)
{
    uint32_t value = 0;
    while (count-- > 0)
        value = value << 1 | read_bit(reader);
    return value;
}

static void end_header(Reader *reader)
{
    if (reader->value == 0xff)
        reader->at++; /* whose highest bit is not used, and no other */
    reader->bits = 0;
    reader->value = 0;
}

static int tree_size(int width, int height)
{
    int n = width * height;
    while (width > 1 || height > 1) {
        width = (width + 1) / 2;
        height = (height + 1) / 2;
        n += width * height;
    }
    return n;
}

static void plant(TagTree *tree, Node *nodes, int width, int height)
{
    tree->width = width;
    tree->height = height;
    tree->nodes = nodes;
    int start = 0;
    for (;;) {
        int next = start + width * height, wide = (width + 1) / 2;
        int is_root = width == 1 && height == 1;
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                nodes[start + y * width + x] =
                    (Node){.parent = is_root ? -1 : next + y / 2 * wide + x / 2};
        if (is_root)
            return;
        start = next;
        width = wide;
        height = (height + 1) / 2;
    }
}

/* Whether a leaf's value is below a threshold [B.10.2]. */
static int is_below(TagTree *tree, Reader *reader, int leaf, int threshold)
{
    int path[2 * MAX_LEVELS], depth = 0;
    for (int node = leaf; node >= 0; node = tree->nodes[node].parent)
        path[depth++] = node;
    int low = 0;
    while (depth--) {
        Node *node = &tree->nodes[path[depth]];
        if (node->low < low)
            node->low = low;
        while (node->low < threshold && !node->known) {
            if (read_bit(reader))
                node->known = 1;
            else
                node->low++;
        }
        low = node->low;
    }
    Node *node = &tree->nodes[leaf];
    return node->known && node->low < threshold;
}

static int read_n_passes(Reader *reader)
{
    if (!read_bit(reader))
        return 1;
    if (!read_bit(reader))
        return 2;
    uint32_t n = read_bits(reader, 2);
    if (n < 3)
        return 3 + (int)n;
    n = read_bits(reader, 5);
    if (n < 31)
        return 6 + (int)n;
    return 37 + (int)read_bits(reader, 7);
}

static int floor_log2(int value)
{
    int log = 0;
    while (value >>= 1)
        log++;
    return log;
}

/* Read a packet; bytes are counted where `into` is null, and copied in the same order the second time. */
static int read_packet(Resolution *resolution, Reader *reader, int layer, uint32_t *lengths)
{
    int n = 0;
    if (read_bit(reader)) {
        for (int b = 0; b < resolution->n_bands; b++) {
            Band *band = &resolution->bands[b];
            for (int leaf = 0; leaf < band->across * band->down; leaf++, n++) {
                Block *block = &band->blocks[leaf];
                lengths[n] = 0;
                int first = block->n_passes == 0;
                if (!(first ? is_below(&band->included, reader, leaf, layer + 1) : (int)read_bit(reader)))
                    continue;
                if (first) {
                    int empty = 0;
                    while (!is_below(&band->empty_planes, reader, leaf, empty + 1))
                        if (++empty > band->planes || reader->broken)
                            return 0;
                    block->planes = band->planes - empty;
                    block->length_bits = 3;
                }
                int passes = read_n_passes(reader);
                while (read_bit(reader))
                    block->length_bits++;
                int bits = block->length_bits + floor_log2(passes);
                block->n_passes += passes;
                if (reader->broken || bits > 31 || block->n_passes > MAX_PASSES ||
                    block->n_passes > 3 * block->planes - 2)
                    return 0;
                lengths[n] = read_bits(reader, bits);
            }
        }
    } else
        for (int b = 0; b < resolution->n_bands; b++)
            for (int leaf = 0; leaf < resolution->bands[b].across * resolution->bands[b].down; leaf++)
                lengths[n++] = 0;
    end_header(reader);
    return !reader->broken && reader->at <= reader->end;
}

/* A packet's bytes are kept where they are until all are known, and then put together by block. */
typedef struct {
    const uint8_t *at;
    uint32_t length;
    int block;
} Piece;

static int read_packets(bitdose_j2k *j2k, const uint8_t *data, const uint8_t *end)
{
    Reader reader = {.at = data, .end = end};
    uint32_t *lengths = malloc((size_t)j2k->n_blocks * sizeof *lengths);
    Piece *pieces = malloc((size_t)j2k->n_blocks * (size_t)j2k->n_layers * sizeof *pieces);
    size_t n_pieces = 0, total = 0;
    int whole = lengths && pieces;
    for (int layer = 0; whole && layer < j2k->n_layers; layer++) {
        for (int r = 0; whole && r <= j2k->n_levels; r++) {
            Resolution *resolution = &j2k->resolutions[r];
            if (!(whole = read_packet(resolution, &reader, layer, lengths)))
                break;
            int n = 0;
            for (int b = 0; whole && b < resolution->n_bands; b++) {
                Band *band = &resolution->bands[b];
                for (int leaf = 0; leaf < band->across * band->down; leaf++, n++) {
                    if (lengths[n] > (size_t)(reader.end - reader.at)) {
                        whole = 0;
                        break;
                    }
                    if (!lengths[n])
                        continue;
                    int block = (int)(band->blocks + leaf - j2k->blocks);
                    pieces[n_pieces++] = (Piece){reader.at, lengths[n], block};
                    j2k->blocks[block].n_bytes += lengths[n];
                    total += lengths[n];
                    reader.at += lengths[n];
                }
            }
        }
        for (int n = 0; whole && n < j2k->n_blocks; n++) {
            j2k->blocks[n].passes_after[layer] = (uint16_t)j2k->blocks[n].n_passes;
            j2k->blocks[n].bytes_after[layer] = j2k->blocks[n].n_bytes;
        }
    }
    whole = whole && reader.at == reader.end;
    if (whole && (j2k->bytes = malloc(total + 2 * (size_t)j2k->n_blocks + 2))) {
        uint8_t *at = j2k->bytes;
        for (int n = 0; n < j2k->n_blocks; n++) {
            Block *block = &j2k->blocks[n];
            block->bytes = at;
            at += block->n_bytes;
            *at++ = 0xff;
            *at++ = 0xff;
            block->n_bytes = 0;
        }
        for (size_t n = 0; n < n_pieces; n++) {
            Block *block = &j2k->blocks[pieces[n].block];
            memcpy(block->bytes + block->n_bytes, pieces[n].at, pieces[n].length);
            block->n_bytes += pieces[n].length;
        }
    } else
        whole = 0;
    free(lengths);
    free(pieces);
    return whole;
}

/* ---- the codestream's header [A] ---- */

static uint32_t be16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }
static uint32_t be32(const uint8_t *at) { return be16(at) << 16 | be16(at + 2); }

typedef struct {
    uint32_t width, height, bits, n_levels, n_layers, guard_bits;
    uint32_t exponents[3 * MAX_LEVELS + 1], mantissas[3 * MAX_LEVELS + 1];
    const uint8_t *packets, *end;
} Header;

static int read_size(const uint8_t *at, uint32_t length, Header *header)
{
    if (length != 41)
        return 0;
    header->width = be32(at + 4);
    header->height = be32(at + 8);
    header->bits = at[38] + 1U;
    int is_one_tile = be32(at + 20) >= header->width && be32(at + 24) >= header->height;
    int starts_at_zero = !be32(at + 12) && !be32(at + 16) && !be32(at + 28) && !be32(at + 32);
    int is_grey = be16(at + 36) == 1 && (header->bits == 8 || header->bits == 16);
    return is_one_tile && starts_at_zero && is_grey && at[39] == 1 && at[40] == 1 && header->width &&
           header->height && header->width <= MAX_SIDE && header->height <= MAX_SIDE &&
           header->width * header->height <= MAX_SAMPLES;
}

static int read_style(const uint8_t *at, uint32_t length, Header *header)
{
    if (length != 12 || at[2] != 0 || at[3] != 0 || at[6] != 0)
        return 0;
    header->n_layers = be16(at + 4);
    header->n_levels = at[7];
    int blocks_fit = at[8] == 4 && at[9] == 4; /* of 64 x 64 */
    return blocks_fit && at[10] == 0 && at[11] == 0 && header->n_layers && header->n_levels &&
           header->n_levels <= MAX_LEVELS;
}

static int read_steps(const uint8_t *at, uint32_t length, Header *header)
{
    uint32_t n = (length - 3) / 2;
    if ((at[2] & 0x1f) != 2 || length != 3 + 2 * n || n > 3 * MAX_LEVELS + 1 || n != 3 * header->n_levels + 1)
        return 0;
    header->guard_bits = at[2] >> 5;
    for (uint32_t band = 0; band < n; band++) {
        uint32_t value = be16(at + 3 + 2 * band);
        header->exponents[band] = value >> 11;
        header->mantissas[band] = value & 0x7ff;
    }
    return 1;
}

static int read_header(const uint8_t *data, size_t size, Header *header)
{
    enum { SOC = 0xff4f, SIZ = 0xff51, COD = 0xff52, QCD = 0xff5c, COM = 0xff64, SOT = 0xff90, PLT = 0xff58,
           SOD = 0xff93, EOC = 0xffd9 };
    int seen = 0;
    size_t at = 2, part_end = 0;
    if (size < 4 || be16(data) != SOC || be16(data + size - 2) != EOC)
        return 0;
    while (at + 4 <= size) {
        const uint8_t *segment = data + at + 2;
        uint32_t marker = be16(data + at);
        if (marker == SOD) {
            header->packets = segment;
            header->end = data + part_end;
            return seen == 15 && part_end + 2 == size && at + 2 <= part_end;
        }
        uint32_t length = be16(segment);
        if (length < 3 || length > size - at - 2)
            return 0;
        if (marker == SIZ && seen == 0 && read_size(segment, length, header))
            seen |= 1;
        else if (marker == COD && seen == 1 && read_style(segment, length, header))
            seen |= 2;
        else if (marker == QCD && seen == 3 && read_steps(segment, length, header))
            seen |= 4;
        else if (marker == SOT && seen == 7 && length == 10 && be16(segment + 2) == 0 && segment[8] == 0) {
            uint32_t part = be32(segment + 4);
            part_end = part ? at + part : size - 2;
            seen |= 8;
        } else if (marker != COM && marker != PLT)
            return 0;
        at += 2 + length;
    }
    return 0;
}

/* ---- a decoder of one stream ---- */

static int halves(int value, int times)
{
    while (times--)
        value = (value + 1) / 2;
    return value;
}

static float band_step(const Header *header, int band)
{
    /* OpenJPEG's 9/7 synthesis holds the subbands' gains, so that none is part of the step. */
    double step = 1.0 + header->mantissas[band] / 2048.0;
    int power = (int)header->bits - (int)header->exponents[band];
    for (; power > 0; power--)
        step *= 2;
    for (; power < 0; power++)
        step /= 2;
    return 0.5f * (float)step;
}

static int lay_out(bitdose_j2k *j2k, const Header *header)
{
    int n_blocks = 0, n_nodes = 0;
    for (int r = 0; r <= j2k->n_levels; r++) {
        Resolution *resolution = &j2k->resolutions[r];
        resolution->width = halves(j2k->width, j2k->n_levels - r);
        resolution->height = halves(j2k->height, j2k->n_levels - r);
        int low_width = (resolution->width + 1) / 2, low_height = (resolution->height + 1) / 2;
        resolution->n_bands = r ? 3 : 1;
        for (int b = 0; b < resolution->n_bands; b++) {
            Band *band = &resolution->bands[b];
            int index = r ? 3 * r - 2 + b : 0;
            band->kind = r ? b + 1 : LL;
            band->width = !r ? resolution->width : b == 1 ? low_width : resolution->width - low_width;
            band->height = !r ? resolution->height : b == 0 ? low_height : resolution->height - low_height;
            band->across = (band->width + BLOCK_SIDE - 1) / BLOCK_SIDE;
            band->down = (band->height + BLOCK_SIDE - 1) / BLOCK_SIDE;
            if (!band->across || !band->down)
                band->across = band->down = 0;
            band->planes = (int)(header->exponents[index] + header->guard_bits) - 1;
            band->step = band_step(header, index);
            if (band->planes < 0 || band->planes > 29)
                return 0;
            n_blocks += band->across * band->down;
            if (band->across)
                n_nodes += 2 * tree_size(band->across, band->down);
        }
    }
    j2k->n_blocks = n_blocks;
    size_t samples = (size_t)j2k->width * (size_t)j2k->height, n = (size_t)n_blocks;
    j2k->blocks = calloc(n, sizeof *j2k->blocks);
    j2k->nodes = malloc((size_t)n_nodes * sizeof *j2k->nodes);
    j2k->passes_after = malloc(n * (size_t)j2k->n_layers * sizeof *j2k->passes_after);
    j2k->bytes_after = malloc(n * (size_t)j2k->n_layers * sizeof *j2k->bytes_after);
    j2k->samples = malloc(samples * sizeof *j2k->samples);
    j2k->flags = malloc(n * FLAG_ROWS * FLAG_COLUMNS * sizeof *j2k->flags);
    j2k->signs = malloc(n * FLAG_ROWS * FLAG_COLUMNS);
    size_t half = (size_t)halves(j2k->width, 1) * (size_t)halves(j2k->height, 1);
    j2k->work = malloc((2 * half + bitdose_synthesis_floats(j2k->width)) * sizeof *j2k->work);
    if (!j2k->blocks || !j2k->nodes || !j2k->passes_after || !j2k->bytes_after || !j2k->samples || !j2k->flags || !j2k->signs ||
        !j2k->work)
        return 0;
    Block *block = j2k->blocks;
    Node *nodes = j2k->nodes;
    int32_t *at = j2k->samples;
    for (int r = 0; r <= j2k->n_levels; r++)
        for (int b = 0; b < j2k->resolutions[r].n_bands; b++) {
            Band *band = &j2k->resolutions[r].bands[b];
            band->blocks = block;
            if (!band->across)
                continue;
            plant(&band->included, nodes, band->across, band->down);
            nodes += tree_size(band->across, band->down);
            plant(&band->empty_planes, nodes, band->across, band->down);
            nodes += tree_size(band->across, band->down);
            for (int y = 0; y < band->height; y += BLOCK_SIDE)
                for (int x = 0; x < band->width; x += BLOCK_SIDE, block++) {
                    size_t index = (size_t)(block - j2k->blocks);
                    block->width = band->width - x < BLOCK_SIDE ? band->width - x : BLOCK_SIDE;
                    block->height = band->height - y < BLOCK_SIDE ? band->height - y : BLOCK_SIDE;
                    block->samples = at;
                    block->flags = j2k->flags + index * FLAG_ROWS * FLAG_COLUMNS;
                    block->signs = j2k->signs + index * FLAG_ROWS * FLAG_COLUMNS;
                    block->passes_after = j2k->passes_after + index * (size_t)j2k->n_layers;
                    block->bytes_after = j2k->bytes_after + index * (size_t)j2k->n_layers;
                    at += block->width * block->height;
                }
        }
    return 1;
}

bitdose_j2k *bitdose_j2k_open(const uint8_t *data, size_t size)
{
    Header header = {0};
    if (!read_header(data, size, &header))
        return NULL;
    bitdose_j2k *j2k = calloc(1, sizeof *j2k);
    if (!j2k)
        return NULL;
    j2k->width = (int)header.width;
    j2k->height = (int)header.height;
    j2k->bits = (int)header.bits;
    j2k->n_levels = (int)header.n_levels;
    j2k->n_layers = (int)header.n_layers;
    if (lay_out(j2k, &header) && read_packets(j2k, header.packets, header.end))
        return j2k;
    bitdose_j2k_close(j2k);
    return NULL;
}

void bitdose_j2k_close(bitdose_j2k *j2k)
{
    if (!j2k)
        return;
    free(j2k->blocks);
    free(j2k->nodes);
    free(j2k->passes_after);
    free(j2k->bytes_after);
    free(j2k->bytes);
    free(j2k->samples);
    free(j2k->flags);
    free(j2k->signs);
    free(j2k->work);
    free(j2k);
}

void bitdose_j2k_size(const bitdose_j2k *j2k, int32_t *size)
{
    size[0] = j2k->height;
    size[1] = j2k->width;
    size[2] = j2k->bits;
    size[3] = j2k->n_layers;
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
 * A receiver of that many layers has no bytes behind their end, and its decoder goes on with ones. Encoders cut
 * where that seldom matters; where it does, the block is decoded as the receiver does it, and begun anew for a
 * longer stream. */
static void advance(Block *block, int kind, int layer, Log *log)
{
    int n_passes = block->passes_after[layer];
    uint8_t *end = block->bytes + block->bytes_after[layer], behind[2] = {end[0], end[1]};
    if (n_passes == block->n_decoded)
        return;
    int has_begun = block->n_decoded && n_passes > block->n_decoded;
    log->end = end;
    log->next = NULL;
    if (!has_begun || block->is_cut || block->mq.next >= end)
        begin(block, log);
    block->is_cut = 0;
    decode_passes(block, kind, n_passes);
    end[0] = end[1] = 0xff;
    if (!holds(log, &block->mq)) {
        block->is_cut = 1;
        begin(block, log);
        decode_passes(block, kind, n_passes);
    }
    end[0] = behind[0];
    end[1] = behind[1];
}

/* Put a row of a subband together, in its units. */
static void band_row(const void *of, int row, float *out)
{
    const Band *band = of;
    const Block *block = band->blocks + row / BLOCK_SIDE * band->across;
    for (int b = 0; b < band->across; b++, block++, out += BLOCK_SIDE) {
        if (block->n_decoded)
            bitdose_scale(block->samples + row % BLOCK_SIDE * block->width, block->width, band->step, out);
        else
            memset(out, 0, (size_t)block->width * sizeof *out);
    }
}

int bitdose_j2k_decode(bitdose_j2k *j2k, int n_layers, void *out)
{
    if (n_layers < 1 || n_layers > j2k->n_layers)
        return 0;
    for (int r = 0; r <= j2k->n_levels; r++)
        for (int b = 0; b < j2k->resolutions[r].n_bands; b++) {
            Band *band = &j2k->resolutions[r].bands[b];
            for (int n = 0; n < band->across * band->down; n++)
                advance(&band->blocks[n], band->kind, n_layers - 1, &j2k->log);
        }
    size_t half = (size_t)halves(j2k->width, 1) * (size_t)halves(j2k->height, 1);
    float *low = j2k->work, *next = low + half, *rows = next + half;
    const Band *first = &j2k->resolutions[0].bands[0];
    for (int y = 0; y < first->height; y++)
        band_row(first, y, low + (size_t)y * (size_t)first->width);
    for (int r = 1; r <= j2k->n_levels; r++) {
        const Resolution *resolution = &j2k->resolutions[r];
        const Band *bands = resolution->bands;
        int is_last = r == j2k->n_levels;
        Synthesis level = {resolution->width, resolution->height, low, band_row,
                           {&bands[0], &bands[1], &bands[2]}, is_last ? j2k->bits : 0};
        bitdose_synthesize(&level, rows, is_last ? out : next);
        float *swapped = low;
        low = next;
        next = swapped;
    }
    return 1;
}
