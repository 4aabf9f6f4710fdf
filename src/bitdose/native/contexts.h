/* The state of a code-block's samples, and the contexts of its decisions (ISO/IEC 15444-1, D), for decoder
 * and encoder. */

#ifndef BITDOSE_CONTEXTS_H
#define BITDOSE_CONTEXTS_H

#include "jpeg2000.h"

enum { REFINE_CONTEXT = 14, RUN_CONTEXT = 17, UNIFORM_CONTEXT = 18 };

/* A flag word stands for the four samples of a column of a stripe. Its bits 3 * row + column say which of
 * the 6 x 3 samples around them are significant (row 0 is the one above), then four bits each say which
 * samples this significance pass has visited and which have been refined before. */
#define SIGNIFICANT(k) (UINT32_C(1) << (3 * (k) + 4))
#define AROUND(k) (UINT32_C(0x1ef) << 3 * (k))
#define VISITED(k) (UINT32_C(1) << (18 + (k)))
#define REFINED(k) (UINT32_C(1) << (22 + (k)))
#define ANY_SIGNIFICANT UINT32_C(0x3ffff)
#define ALL_SIGNIFICANT (SIGNIFICANT(0) | SIGNIFICANT(1) | SIGNIFICANT(2) | SIGNIFICANT(3))
#define ALL_VISITED (UINT32_C(15) << 18)

extern uint8_t bitdose_zero_contexts[3][512]; /* by kind of subband, the 3 x 3 samples around [Table D.1] */
extern uint8_t bitdose_sign_contexts[256];    /* context; in bit 7 what flips the bit [Tables D.2, D.3] */

static inline const uint8_t *zero_contexts(int kind)
{
    return bitdose_zero_contexts[kind == HH ? 2 : kind == HL ? 1 : 0];
}

/* The context of the sign of a column's sample k. */
INSIDE uint32_t sign_context_of(uint32_t own, const uint8_t *sign, int k)
{
    uint32_t around = own >> 3 * k;
    uint32_t index = (around >> 1 & 1) | (around >> 2 & 2) | (around >> 3 & 4) | (around >> 4 & 8) |
                     (sign[0] >> k & 1U) << 4 | (sign[-1] >> (k + 1) & 1U) << 5 |
                     (sign[1] >> (k + 1) & 1U) << 6 | (sign[0] >> (k + 2) & 1U) << 7;
    return bitdose_sign_contexts[index];
}

/* Tell a sample's neighbours that it is significant; its own word is the caller's. */
INSIDE void mark(uint32_t *flag, int k)
{
    flag[-1] |= UINT32_C(1) << (3 * k + 5);
    flag[1] |= UINT32_C(1) << (3 * k + 3);
    if (k == 0) {
        uint32_t *above = flag - FLAG_COLUMNS;
        above[-1] |= UINT32_C(1) << 17;
        above[0] |= UINT32_C(1) << 16;
        above[1] |= UINT32_C(1) << 15;
    }
    if (k == 3) {
        uint32_t *below = flag + FLAG_COLUMNS;
        below[-1] |= UINT32_C(1) << 2;
        below[0] |= UINT32_C(1) << 1;
        below[1] |= UINT32_C(1);
    }
}

/* Write down a sample's sign where its neighbours look. */
INSIDE void mark_sign(uint8_t *sign, int k, uint32_t negative)
{
    sign[0] |= (uint8_t)(negative << (k + 1));
    if (k == 0)
        sign[-FLAG_COLUMNS] |= (uint8_t)(negative << 5);
    if (k == 3)
        sign[FLAG_COLUMNS] |= (uint8_t)negative;
}

#endif
