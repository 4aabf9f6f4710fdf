/* What the parts of the JPEG 2000 decoder share; jpeg2000.c says what it decodes. */

#ifndef BITDOSE_JPEG2000_H
#define BITDOSE_JPEG2000_H

#include "native.h"

enum {
    MAX_LEVELS = 32,
    MAX_COMPONENTS = 3,
    MAX_LAYERS = 1024,
    MAX_SIDE = 1 << 15, /* one precinct holds a whole resolution up to here */
    MAX_SAMPLES = 1 << 28,
    BLOCK_SIDE = 64,
    N_CONTEXTS = 19,
    FLAG_COLUMNS = BLOCK_SIDE + 2,
    FLAG_ROWS = BLOCK_SIDE / 4 + 2,
};

enum { LL, HL, LH, HH };

enum { LOGGED = 4096 };

/* What was decoded since a decoder first looked beyond the end of a layer. */
typedef struct {
    const uint8_t *end;  /* of the layer's bytes */
    const uint8_t *next; /* null before that */
    uint32_t code, interval, bits;
    uint8_t contexts[N_CONTEXTS];
    uint32_t from;             /* count of decisions before */
    uint8_t decisions[LOGGED]; /* contexts, with the bit in bit 7; the last ones of them */
} Log;

typedef struct {
    const uint8_t *next; /* the byte read last; two of 0xff stand behind a block's last */
    uint32_t code, interval, bits;
    uint32_t count; /* of decisions */
    uint8_t *contexts;
    Log *log;
} Decoder;

typedef struct {
    int width, height;
    int planes;      /* bit-planes that are coded; 0 before the block is included */
    int length_bits; /* Lblock [B.10.7.1] */
    int n_passes, n_decoded;
    int is_cut; /* whether it was decoded as if nothing followed a layer */
    uint32_t n_bytes;
    int32_t *samples; /* (height, width): twice the quantised value, its half bit included */
    uint32_t *flags;  /* (FLAG_ROWS, FLAG_COLUMNS) */
    uint8_t *signs;   /* the same: bit row says that the sample of that row is negative */
    uint8_t *bytes;
    uint16_t *passes_after; /* (n_layers,) */
    uint32_t *bytes_after;  /* (n_layers,) */
    uint8_t contexts[N_CONTEXTS];
    Decoder mq;
} Block;

typedef struct {
    int parent;
    int value; /* that an encoder writes */
    int low;
    int known;
} Node;

typedef struct {
    int kind, width, height;
    int across, down;              /* code-blocks */
    int planes;                    /* Mb [E-2] */
    float step;                    /* of half a unit */
    int first_block;               /* of the image's */
    Block *blocks;                 /* (down, across) */
    Node *included, *empty_planes; /* tag trees: leaves first, in rows */
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
    uint32_t width, height, bits, n_components, n_levels, n_layers, guard_bits;
    uint32_t exponents[3 * MAX_LEVELS + 1], mantissas[3 * MAX_LEVELS + 1];
    const uint8_t *packets, *end;
} Header;

/* codestream.c */
int bitdose_read_header(const uint8_t *data, size_t size, Header *header);
int bitdose_halves(int value, int times); /* rounded up */
int bitdose_lay_out(const Header *header, Resolution *resolutions, int *n_blocks, int *n_nodes);

/* packets.c */
int bitdose_tree_size(int width, int height);
void bitdose_plant_all(Resolution *resolutions, int n_resolutions, Node *nodes);
int bitdose_read_packets(bitdose_j2k *j2k, const Header *headers, int n_streams);

/* entropy.c */
void bitdose_fill_contexts(void);
void bitdose_advance(Block *block, int kind, int layer, Log *log);

#endif
