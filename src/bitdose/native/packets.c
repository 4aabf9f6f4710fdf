/* The packets of JPEG 2000 (ISO/IEC 15444-1, B.10): which passes of which code-blocks they hold, and their
 * bytes. */

#include <stdlib.h>
#include <string.h>

#include "jpeg2000.h"

enum { MAX_PASSES = 109 }; /* of one codeword segment */

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

int bitdose_tree_size(int width, int height)
{
    int n = width * height;
    while (width > 1 || height > 1) {
        width = (width + 1) / 2;
        height = (height + 1) / 2;
        n += width * height;
    }
    return n;
}

/* Make a tag tree of so many leaves. */
static void plant(Node *nodes, int width, int height)
{
    int start = 0;
    for (;;) {
        int next = start + width * height, wide = (width + 1) / 2;
        int is_root = width == 1 && height == 1;
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                nodes[start + y * width + x] = (Node){.parent = is_root ? -1 : next + y / 2 * wide + x / 2};
        if (is_root)
            return;
        start = next;
        width = wide;
        height = (height + 1) / 2;
    }
}

/* Make the two tag trees of each subband. */
void bitdose_plant_all(Resolution *resolutions, int n_resolutions, Node *nodes)
{
    for (int r = 0; r < n_resolutions; r++)
        for (int b = 0; b < resolutions[r].n_bands; b++) {
            Band *band = &resolutions[r].bands[b];
            if (!band->across)
                continue;
            int n_nodes = bitdose_tree_size(band->across, band->down);
            band->included = nodes;
            band->empty_planes = nodes + n_nodes;
            nodes += 2 * n_nodes;
            plant(band->included, band->across, band->down);
            plant(band->empty_planes, band->across, band->down);
        }
}

/* Whether a leaf's value is below a threshold [B.10.2]. */
static int is_below(Node *tree, Reader *reader, int leaf, int threshold)
{
    int path[2 * MAX_LEVELS], depth = 0;
    for (int node = leaf; node >= 0; node = tree[node].parent)
        path[depth++] = node;
    int low = 0;
    while (depth--) {
        Node *node = &tree[path[depth]];
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
    Node *node = &tree[leaf];
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

/* Read a packet's header: how many bytes follow of each code-block of a resolution, whose planes are known or
 * not yet. */
static int read_packet_header(Resolution *resolution, Reader *reader, int layer, int known, uint32_t *lengths)
{
    int n = 0;
    if (read_bit(reader)) {
        for (int b = 0; b < resolution->n_bands; b++) {
            Band *band = &resolution->bands[b];
            for (int leaf = 0; leaf < band->across * band->down; leaf++, n++) {
                Block *block = &band->blocks[leaf];
                lengths[n] = 0;
                int first = block->n_passes == 0;
                if (!(first ? is_below(band->included, reader, leaf, layer + 1) : (int)read_bit(reader)))
                    continue;
                if (first) {
                    int empty = 0;
                    while (!is_below(band->empty_planes, reader, leaf, empty + 1))
                        if (++empty > band->planes || reader->broken)
                            return 0;
                    if (known && block->planes != band->planes - empty)
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

/* Bytes of a block in a packet: they stay where they are until all are known, and are then put together by
 * block. */
typedef struct {
    const uint8_t *at;
    uint32_t length;
    int block;
} Piece;

/* Read all packets of a stream, whose layers are j2k's from `first` on. */
static int read_pieces(bitdose_j2k *j2k, Reader *reader, int first, int n_layers, int known,
                       uint32_t *lengths, Piece *pieces)
{
    size_t n_pieces = 0;
    for (int layer = 0; layer < n_layers; layer++) {
        for (int r = 0; r <= j2k->n_levels; r++) {
            Resolution *resolution = &j2k->resolutions[r];
            if (!read_packet_header(resolution, reader, layer, known, lengths))
                return 0;
            int n = 0;
            for (int b = 0; b < resolution->n_bands; b++) {
                Band *band = &resolution->bands[b];
                for (int leaf = 0; leaf < band->across * band->down; leaf++, n++) {
                    if (lengths[n] > (size_t)(reader->end - reader->at))
                        return 0;
                    if (!lengths[n])
                        continue;
                    int block = (int)(band->blocks + leaf - j2k->blocks);
                    pieces[n_pieces++] = (Piece){reader->at, lengths[n], block};
                    j2k->blocks[block].n_bytes += lengths[n];
                    reader->at += lengths[n];
                }
            }
        }
        for (int n = 0; n < j2k->n_blocks; n++) {
            j2k->blocks[n].passes_after[first + layer] = (uint16_t)j2k->blocks[n].n_passes;
            j2k->blocks[n].bytes_after[first + layer] = j2k->blocks[n].n_bytes;
        }
    }
    pieces[n_pieces].at = NULL;
    return reader->at == reader->end;
}

static int gather(bitdose_j2k *j2k, const Piece *pieces)
{
    size_t total = 0;
    for (int n = 0; n < j2k->n_blocks; n++)
        total += j2k->blocks[n].n_bytes + 2;
    j2k->bytes = malloc(total + 2);
    if (!j2k->bytes)
        return 0;
    uint8_t *at = j2k->bytes;
    for (int n = 0; n < j2k->n_blocks; n++) {
        Block *block = &j2k->blocks[n];
        block->bytes = at;
        at += block->n_bytes;
        *at++ = 0xff;
        *at++ = 0xff;
        block->n_bytes = 0;
    }
    for (; pieces->at; pieces++) {
        Block *block = &j2k->blocks[pieces->block];
        memcpy(block->bytes + block->n_bytes, pieces->at, pieces->length);
        block->n_bytes += pieces->length;
    }
    return 1;
}

/* Whether a stream's blocks begin those of the next longer one, of passes and of bytes. */
static int begins_next(const bitdose_j2k *j2k, int layer, const Piece *pieces)
{
    for (int n = 0; n < j2k->n_blocks; n++) {
        const Block *block = &j2k->blocks[n];
        int passes = block->passes_after[layer + 1] - block->passes_after[layer];
        uint32_t bytes = block->bytes_after[layer], longer = block->bytes_after[layer + 1];
        if (passes < 0 || bytes > longer || (!passes && bytes != longer))
            return 0;
    }
    for (; pieces->at; pieces++)
        if (memcmp(j2k->blocks[pieces->block].bytes, pieces->at, pieces->length) != 0)
            return 0;
    return 1;
}

static void forget(bitdose_j2k *j2k)
{
    for (int n = 0; n < j2k->n_blocks; n++) {
        j2k->blocks[n].n_passes = 0;
        j2k->blocks[n].n_bytes = 0;
    }
    bitdose_plant_all(j2k->resolutions, j2k->n_levels + 1, j2k->nodes);
}

int bitdose_read_packets(bitdose_j2k *j2k, const Header *headers, int n_streams)
{
    int n_layers = n_streams == 1 ? j2k->n_layers : 1;
    uint32_t *lengths = malloc((size_t)j2k->n_blocks * sizeof *lengths);
    Piece *pieces = malloc(((size_t)j2k->n_blocks * (size_t)n_layers + 1) * sizeof *pieces);
    int whole = lengths && pieces;
    for (int stream = n_streams - 1; whole && stream >= 0; stream--) {
        Reader reader = {.at = headers[stream].packets, .end = headers[stream].end};
        int is_longest = stream == n_streams - 1;
        forget(j2k);
        whole = read_pieces(j2k, &reader, stream, n_layers, !is_longest, lengths, pieces) &&
                (is_longest ? gather(j2k, pieces) : begins_next(j2k, stream, pieces));
    }
    free(lengths);
    free(pieces);
    return whole;
}
