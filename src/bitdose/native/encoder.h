/* What the parts of the JPEG 2000 encoder share; encoder.c says what it encodes. */

#ifndef BITDOSE_ENCODER_H
#define BITDOSE_ENCODER_H

#include "jpeg2000.h"

/* One coding pass: the bytes up to its end, from the block's beginning, and by how much the squared error is
 * less after it than before the block's first. */
typedef struct {
    uint32_t end;
    double gain;
} CodedPass;

enum { MAX_CODED_PASSES = 3 * 31 };

typedef struct {
    int planes; /* bit-planes that are coded; may be below 0 where all samples are next to nothing */
    int n_passes;
    uint32_t n_bytes;
    size_t first_pass, first_byte; /* of the image's */
} CodedBlock;

/* What a block is coded in. */
typedef struct {
    uint32_t flags[FLAG_ROWS * FLAG_COLUMNS];
    uint8_t signs[FLAG_ROWS * FLAG_COLUMNS];
    uint32_t magnitudes[BLOCK_SIDE * BLOCK_SIDE]; /* stripe by stripe, four of a column together */
    int32_t rows[4][BLOCK_SIDE];
    CodedPass passes[MAX_CODED_PASSES];
    uint8_t *bytes; /* one stands before them */
} Workbench;

/* More than a block can take: a decision is 15 bits at most, and a sample of a bit-plane two decisions and
 * its part of a run's three. */
enum { BLOCK_BYTES = 1 << 20 };

/* analysis.c */
void bitdose_from_colour(const uint8_t *samples, size_t n, float *planes);

/* One level of the 9/7 analysis: an image of which a row is read at a time, as samples of which the middle is
 * taken away or as floats, becomes a quarter and three subbands. */
typedef struct {
    int width, height;
    int bits; /* of the samples; 0 of floats */
    const void *image;
    float *low, *bands[3]; /* LL, and HL, LH, HH */
} Analysis;

void bitdose_analyse(const Analysis *level, float *rows);

/* coder.c */
void bitdose_fill_gains(void);

/* Code a block of a band whose first sample is at `samples`, rows as wide as the band; its passes and bytes
 * are left on the bench. At `level`, where 0 is the finest; an error of a unit weighs `weight` in the image.
 */
void bitdose_code_block(const float *samples, const Band *band, int width, int height, int level,
                        double weight, Workbench *bench, CodedBlock *block);

#endif
