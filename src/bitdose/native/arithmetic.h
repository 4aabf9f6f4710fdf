/* The arithmetic decoder of JPEG 2000 (ISO/IEC 15444-1, C.3), for entropy.c, which it has to be part of to be
 * quick. */

#ifndef BITDOSE_ARITHMETIC_H
#define BITDOSE_ARITHMETIC_H

#include <string.h>

#include "states.h"

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
    first_states(mq->contexts);
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
