/* The arithmetic decoder of JPEG 2000 (ISO/IEC 15444-1, C.3), for entropy.c, which it has to be part of to be
 * quick. */

#ifndef BITDOSE_ARITHMETIC_H
#define BITDOSE_ARITHMETIC_H

#include <string.h>

#include "jpeg2000.h"

enum { REFINE_CONTEXT = 14, RUN_CONTEXT = 17, UNIFORM_CONTEXT = 18 };

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

#if defined(__GNUC__)
__attribute__((noinline, cold))
#endif
static void begin_log(Log *log, const uint8_t *next, uint32_t code, uint32_t interval, uint32_t bits,
                      uint32_t count, const uint8_t *contexts)
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
    uint32_t shift = (uint32_t)__builtin_clz(mq->interval) - 16;
    for (;;) {
        if (mq->bits == 0) {
            if (logs && mq->next + 1 >= mq->log->end && !mq->log->next)
                begin_log(mq->log, mq->next, mq->code, mq->interval, mq->bits, mq->count, mq->contexts);
            read_byte(mq);
        }
        uint32_t now = shift < mq->bits ? shift : mq->bits;
        mq->interval <<= now;
        mq->code <<= now;
        mq->bits -= now;
        shift -= now;
        if (!shift)
            break;
    }
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

/* Whether bytes of ones behind the layer's end, which its receiver's decoder goes on with, would have given
 * the same decisions. */
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

#endif
