/* Decodes the JPEG 2000 streams that a sweep has just written, each from where the one before ended.
 *
 * Of one image, the stream of a mild rate holds all passes of the harsher ones: where a chain of rates is one
 * layered encode, and where each is an encode of its own, whose code-blocks are the same codewords cut
 * further on. A decoder that is given all of them can stop at each end, put out the image, and go on: every
 * bit of the entropy coder is decoded once for the whole chain, where a decoder that is given one stream
 * after the other begins anew with each. What is called a layer here is either.
 *
 * What it reads (ISO/IEC 15444-1): a raw codestream of one tile and one tile-part, one unsigned component of
 * 8 or 16 bits, progression LRCP, the 9/7 wavelet, no precincts, no coding style but the plain one, scalar
 * quantisation with a step per subband. Everything else is refused, and is OpenJPEG's to decode. Sums of
 * floats are in OpenJPEG's order with OpenJPEG's constants, so that its images and these are the same to the
 * last bit; compile without contraction of products and sums.
 */

#include <stdlib.h>
#include <string.h>

#include "encoder.h"

uint32_t bitdose_sources(void) { return BITDOSE_SOURCES; }

void bitdose_start(void)
{
    bitdose_fill_contexts();
    bitdose_fill_gains();
}

static int lay_out(bitdose_j2k *j2k, const Header *header)
{
    int n_blocks, n_nodes;
    if (!bitdose_lay_out(header, j2k->resolutions, &n_blocks, &n_nodes))
        return 0;
    j2k->n_blocks = n_blocks;
    size_t samples = (size_t)j2k->width * (size_t)j2k->height, n = (size_t)n_blocks;
    j2k->blocks = calloc(n, sizeof *j2k->blocks);
    j2k->nodes = malloc((size_t)n_nodes * sizeof *j2k->nodes);
    j2k->passes_after = malloc(n * (size_t)j2k->n_layers * sizeof *j2k->passes_after);
    j2k->bytes_after = malloc(n * (size_t)j2k->n_layers * sizeof *j2k->bytes_after);
    j2k->samples = malloc(samples * sizeof *j2k->samples);
    j2k->flags = malloc(n * FLAG_ROWS * FLAG_COLUMNS * sizeof *j2k->flags);
    j2k->signs = malloc(n * FLAG_ROWS * FLAG_COLUMNS);
    size_t half = (size_t)bitdose_halves(j2k->width, 1) * (size_t)bitdose_halves(j2k->height, 1);
    j2k->work = malloc((2 * half + bitdose_lifting_floats(j2k->width)) * sizeof *j2k->work);
    if (!j2k->blocks || !j2k->nodes || !j2k->passes_after || !j2k->bytes_after || !j2k->samples ||
        !j2k->flags || !j2k->signs || !j2k->work)
        return 0;
    Block *block = j2k->blocks;
    int32_t *at = j2k->samples;
    for (int r = 0; r <= j2k->n_levels; r++)
        for (int b = 0; b < j2k->resolutions[r].n_bands; b++) {
            Band *band = &j2k->resolutions[r].bands[b];
            band->blocks = block;
            if (!band->across)
                continue;
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

static int is_alike(const Header *header, const Header *other)
{
    size_t n = (3 * header->n_levels + 1) * sizeof *header->exponents;
    return header->width == other->width && header->height == other->height && header->bits == other->bits &&
           header->n_levels == other->n_levels && header->n_layers == 1 && other->n_layers == 1 &&
           header->guard_bits == other->guard_bits && !memcmp(header->exponents, other->exponents, n) &&
           !memcmp(header->mantissas, other->mantissas, n);
}

static int open_streams(bitdose_j2k *j2k, const uint8_t *data, const uint64_t *ends, int n_streams,
                        Header *headers)
{
    size_t start = 0;
    for (int n = 0; n < n_streams; start = ends[n++])
        if (ends[n] < start || ends[n] > UINT32_MAX ||
            !bitdose_read_header(data + start, ends[n] - start, &headers[n]) ||
            headers[n].n_components != 1 || (n && !is_alike(&headers[n], &headers[0])))
            return 0;
    j2k->width = (int)headers->width;
    j2k->height = (int)headers->height;
    j2k->bits = (int)headers->bits;
    j2k->n_levels = (int)headers->n_levels;
    j2k->n_layers = n_streams == 1 ? (int)headers->n_layers : n_streams;
    return lay_out(j2k, headers) && bitdose_read_packets(j2k, headers, n_streams);
}

bitdose_j2k *bitdose_j2k_open(const uint8_t *data, const uint64_t *ends, int n_streams)
{
    bitdose_j2k *j2k = calloc(1, sizeof *j2k);
    Header *headers = calloc((size_t)n_streams, sizeof *headers);
    int is_open = j2k && headers && n_streams > 0 && n_streams <= MAX_LAYERS &&
                  open_streams(j2k, data, ends, n_streams, headers);
    free(headers);
    if (is_open)
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
                bitdose_advance(&band->blocks[n], band->kind, n_layers - 1, &j2k->log);
        }
    size_t half = (size_t)bitdose_halves(j2k->width, 1) * (size_t)bitdose_halves(j2k->height, 1);
    float *low = j2k->work, *next = low + half, *rows = next + half;
    const Band *first = &j2k->resolutions[0].bands[0];
    for (int y = 0; y < first->height; y++)
        band_row(first, y, low + (size_t)y * (size_t)first->width);
    for (int r = 1; r <= j2k->n_levels; r++) {
        const Resolution *resolution = &j2k->resolutions[r];
        const Band *bands = resolution->bands;
        int is_last = r == j2k->n_levels;
        Synthesis level = {
            resolution->width,      resolution->height, low, band_row, {&bands[0], &bands[1], &bands[2]},
            is_last ? j2k->bits : 0};
        bitdose_synthesize(&level, rows, is_last ? out : next);
        float *swapped = low;
        low = next;
        next = swapped;
    }
    return 1;
}
