/* The states of the arithmetic coder of JPEG 2000 (ISO/IEC 15444-1, C.2.5). */

#ifndef BITDOSE_STATES_H
#define BITDOSE_STATES_H

#include <string.h>

#include "contexts.h"

typedef struct {
    uint16_t probability;
    uint8_t after_mps, after_lps;
} State;

#define ROW(index, qe, mps, lps, flips)                                                                      \
    [2 * (index)] = {qe, 2 * (mps), 2 * (lps) + (flips)},                                                    \
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

/* What the contexts are at a block's beginning [Table D.7]. */
static inline void first_states(uint8_t *contexts)
{
    memset(contexts, 0, N_CONTEXTS);
    contexts[0] = 2 * 4;
    contexts[RUN_CONTEXT] = 2 * 3;
    contexts[UNIFORM_CONTEXT] = 2 * 46;
}

#endif
