/* What the wavelet's two ways, analysis.c and wavelet.c, have in common: rows on their way, and one lifting
 * step (ISO/IEC 15444-1, F). */

#ifndef BITDOSE_LIFTING_H
#define BITDOSE_LIFTING_H

#include "native.h"

enum { KEPT = 4, GAP = 16 }; /* rows of each kind in reach of one step; floats between them */

static inline size_t pitch(int width) { return (size_t)(width + 1) / 2 * 2 + GAP; }

/* Take rows of each kind out of `rows`, of bitdose_lifting_floats; return the one behind them. */
static inline float *share_rows(float *rows, int width, float *low[KEPT], float *high[KEPT])
{
    for (int n = 0; n < KEPT; n++) {
        low[n] = rows + (size_t)n * pitch(width);
        high[n] = rows + (size_t)(KEPT + n) * pitch(width);
    }
    return rows + 2 * KEPT * pitch(width);
}

INSIDE void lift(float *restrict to, const float *left, const float *right, int n, float weight)
{
    for (int x = 0; x < n; x++)
        to[x] += (left[x] + right[x]) * weight;
}

#endif
