/* Encodes an image as JPEG 2000 at many rates, each as if it were encoded alone.
 *
 * An encoder of one rate transforms the image, codes all passes of all code-blocks, and then chooses how many
 * of each block to keep. Only the choice depends on the rate; so the rest is done once, and the streams of a
 * chain of rates cost little more than one.
 *
 * Streams are those of OpenJPEG 2.5, byte for byte, in the form that jpeg2000.c says: the choice is the same
 * search for a slope, from the same slopes. The main header is the caller's, who has it from OpenJPEG; so
 * levels, steps and all else are what OpenJPEG takes. Compile without contraction of products and sums.
 */

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "encoder.h"

enum { TILE_BYTES = 14, END_BYTES = 2, HEADER_BYTES_PER_BLOCK = 96, MAX_STEPS = 128 };

/* What the passes at a slope come to: the length of their packets, and the gain. */
typedef struct {
    double slope;
    size_t n_bytes;
    double gain;
} Tried;

struct bitdose_j2k_encoder {
    int width, height, bits;
    int n_components, n_levels, n_blocks;
    Resolution resolutions[MAX_COMPONENTS * (MAX_LEVELS + 1)]; /* (n_components, n_levels + 1) */
    Node *nodes;
    CodedBlock *blocks;
    CodedPass *passes;
    uint8_t *bytes;
    size_t n_passes, n_bytes, room_passes, room_bytes;
    double least, most; /* slopes */
    int *chosen;        /* passes of each block */
    uint8_t *packet_header;
    uint8_t *main_header;
    size_t main_bytes;
    Tried *tried;
    size_t n_tried, room_tried;
};

/* Make room for so many; it at least doubles, so that growing takes no longer than filling. */
static int grow(void **at, size_t *room, size_t needed, size_t size)
{
    if (needed <= *room)
        return 1;
    size_t more = needed > 2 * *room ? needed : 2 * *room;
    void *larger = realloc(*at, more * size);
    if (!larger)
        return 0;
    *at = larger;
    *room = more;
    return 1;
}

/* ---- packets [B.10] ---- */

typedef struct {
    uint8_t *at;
    uint32_t byte;
    int bits; /* free in it */
} Writer;

static void put_bit(Writer *writer, uint32_t bit)
{
    if (!writer->bits) {
        *writer->at++ = (uint8_t)writer->byte;
        writer->bits = writer->byte == 0xff ? 7 : 8;
        writer->byte = 0;
    }
    writer->bits--;
    writer->byte |= bit << writer->bits;
}

static void put_bits(Writer *writer, uint32_t value, int n)
{
    while (n--)
        put_bit(writer, value >> n & 1);
}

static void end_header(Writer *writer)
{
    *writer->at++ = (uint8_t)writer->byte;
    if (writer->byte == 0xff)
        *writer->at++ = 0;
}

enum { NONE = 999 };

static void clear_tree(Node *nodes, int n)
{
    for (int i = 0; i < n; i++) {
        nodes[i].value = NONE;
        nodes[i].low = nodes[i].known = 0;
    }
}

static void set_leaf(Node *nodes, int leaf, int value)
{
    for (int node = leaf; node >= 0 && nodes[node].value > value; node = nodes[node].parent)
        nodes[node].value = value;
}

/* Tell whether a leaf's value is below a threshold. */
static void put_leaf(Writer *writer, Node *nodes, int leaf, int threshold)
{
    int path[2 * MAX_LEVELS], depth = 0, low = 0;
    for (int node = leaf; node >= 0; node = nodes[node].parent)
        path[depth++] = node;
    while (depth--) {
        Node *node = &nodes[path[depth]];
        if (low < node->low)
            low = node->low;
        for (; low < threshold && low < node->value; low++)
            put_bit(writer, 0);
        if (low < threshold && !node->known) {
            put_bit(writer, 1);
            node->known = 1;
        }
        node->low = low;
    }
}

static void put_n_passes(Writer *writer, uint32_t n)
{
    if (n == 1)
        put_bit(writer, 0);
    else if (n == 2)
        put_bits(writer, 2, 2);
    else if (n <= 5)
        put_bits(writer, 0xc | (n - 3), 4);
    else if (n <= 36)
        put_bits(writer, 0x1e0 | (n - 6), 9);
    else
        put_bits(writer, 0xff80 | (n - 37), 16);
}

static int floor_log2(uint32_t value) { return value ? 31 - __builtin_clz(value) : 0; }

static uint32_t chosen_bytes(const bitdose_j2k_encoder *encoder, int index)
{
    int n = encoder->chosen[index];
    return n ? encoder->passes[encoder->blocks[index].first_pass + (size_t)n - 1].end : 0;
}

static size_t put_packet_header(bitdose_j2k_encoder *encoder, const Resolution *resolution)
{
    Writer writer = {encoder->packet_header, 0, 8};
    put_bit(&writer, 1);
    for (int b = 0; b < resolution->n_bands; b++) {
        const Band *band = &resolution->bands[b];
        int n_leaves = band->across * band->down;
        if (!n_leaves)
            continue;
        const CodedBlock *blocks = encoder->blocks + band->first_block;
        const int *chosen = encoder->chosen + band->first_block;
        int n_nodes = (int)(band->empty_planes - band->included);
        clear_tree(band->included, 2 * n_nodes);
        for (int leaf = 0; leaf < n_leaves; leaf++) {
            set_leaf(band->empty_planes, leaf, band->planes - blocks[leaf].planes);
            if (chosen[leaf])
                set_leaf(band->included, leaf, 0);
        }
        for (int leaf = 0; leaf < n_leaves; leaf++) {
            put_leaf(&writer, band->included, leaf, 1);
            if (!chosen[leaf])
                continue;
            put_leaf(&writer, band->empty_planes, leaf, NONE);
            put_n_passes(&writer, (uint32_t)chosen[leaf]);
            uint32_t length = chosen_bytes(encoder, band->first_block + leaf);
            int more = floor_log2(length) + 1 - (3 + floor_log2((uint32_t)chosen[leaf]));
            for (int n = 0; n < more; n++)
                put_bit(&writer, 1);
            put_bit(&writer, 0);
            put_bits(&writer, length, 3 + (more > 0 ? more : 0) + floor_log2((uint32_t)chosen[leaf]));
        }
    }
    end_header(&writer);
    return (size_t)(writer.at - encoder->packet_header);
}

/* Return how long all packets are of what is chosen; write them too where there is an `out`. */
static size_t put_packets(bitdose_j2k_encoder *encoder, uint8_t *out)
{
    size_t n_bytes = 0;
    int n_packets = encoder->n_components * (encoder->n_levels + 1);
    for (int packet = 0; packet < n_packets; packet++) {
        int r = packet / encoder->n_components, component = packet % encoder->n_components;
        const Resolution *resolution = &encoder->resolutions[component * (encoder->n_levels + 1) + r];
        size_t n = put_packet_header(encoder, resolution);
        if (out)
            memcpy(out + n_bytes, encoder->packet_header, n);
        n_bytes += n;
        for (int b = 0; b < resolution->n_bands; b++) {
            const Band *band = &resolution->bands[b];
            for (int index = band->first_block; index < band->first_block + band->across * band->down;
                 index++) {
                uint32_t length = chosen_bytes(encoder, index);
                if (out && length)
                    memcpy(out + n_bytes, encoder->bytes + encoder->blocks[index].first_byte, length);
                n_bytes += length;
            }
        }
    }
    return n_bytes;
}

/* ---- the choice ---- */

/* How many passes of a block are worth their bytes: all of a slope from the last one kept. */
static int worth(const CodedPass *passes, int n_passes, double slope)
{
    int kept = 0;
    uint32_t end = 0;
    double gain = 0;
    for (int n = 0; n < n_passes; n++) {
        uint32_t bytes = passes[n].end - end;
        double more = passes[n].gain - gain;
        if (bytes ? slope - more / bytes < DBL_EPSILON : more != 0) {
            kept = n + 1;
            end = passes[n].end;
            gain = passes[n].gain;
        }
    }
    return kept;
}

/* Choose all that is worth a slope; return the gain. */
static double choose(bitdose_j2k_encoder *encoder, double slope)
{
    double gain = 0;
    for (int n = 0; n < encoder->n_blocks; n++) {
        const CodedBlock *block = &encoder->blocks[n];
        const CodedPass *passes = encoder->passes + block->first_pass;
        int kept = encoder->chosen[n] = worth(passes, block->n_passes, slope);
        if (kept)
            gain += passes[kept - 1].gain;
    }
    return gain;
}

/* Choose at a slope, and measure. The searches of all rates begin with the same slopes. */
static Tried try_slope(bitdose_j2k_encoder *encoder, double slope)
{
    for (size_t n = 0; n < encoder->n_tried; n++)
        if (encoder->tried[n].slope == slope)
            return encoder->tried[n];
    Tried tried = {.slope = slope, .gain = choose(encoder, slope)};
    tried.n_bytes = put_packets(encoder, NULL);
    if (grow((void **)&encoder->tried, &encoder->room_tried, encoder->n_tried + 1, sizeof tried))
        encoder->tried[encoder->n_tried++] = tried;
    return tried;
}

/* Search the slope of at most so many bytes, or of less gain than a target. */
static double search_slope(bitdose_j2k_encoder *encoder, double max_bytes, double target)
{
    double low = encoder->least, high = encoder->most, slope = 0, fits = 0;
    for (int step = 0; step < MAX_STEPS; step++) {
        double middle = (low + high) / 2;
        if (fabs(middle - slope) <= 0.5 * 1e-5 * slope)
            break;
        slope = middle;
        Tried tried = try_slope(encoder, slope);
        if ((double)tried.n_bytes <= max_bytes && tried.gain < target)
            high = fits = slope;
        else
            low = slope;
    }
    return fits == 0 ? slope : fits;
}

/* The slopes of all passes, each from the one before: between the least and the most of them one is searched.
 */
static void measure_slopes(bitdose_j2k_encoder *encoder)
{
    encoder->least = DBL_MAX;
    encoder->most = 0;
    for (int n = 0; n < encoder->n_blocks; n++) {
        const CodedPass *pass = encoder->passes + encoder->blocks[n].first_pass, *before = NULL;
        for (int k = 0; k < encoder->blocks[n].n_passes; k++, before = pass++) {
            int32_t bytes = (int32_t)(pass->end - (before ? before->end : 0));
            if (!bytes)
                continue;
            double slope = (pass->gain - (before ? before->gain : 0)) / bytes;
            if (slope < encoder->least)
                encoder->least = slope;
            if (slope > encoder->most)
                encoder->most = slope;
        }
    }
}

/* ---- the image ---- */

static int keep(bitdose_j2k_encoder *encoder, const Workbench *bench, CodedBlock *block)
{
    size_t n_passes = (size_t)block->n_passes;
    block->first_pass = encoder->n_passes;
    block->first_byte = encoder->n_bytes;
    if (!grow((void **)&encoder->passes, &encoder->room_passes, encoder->n_passes + n_passes,
              sizeof *encoder->passes) ||
        !grow((void **)&encoder->bytes, &encoder->room_bytes, encoder->n_bytes + block->n_bytes, 1))
        return 0;
    if (n_passes)
        memcpy(encoder->passes + encoder->n_passes, bench->passes, n_passes * sizeof *bench->passes);
    if (block->n_bytes)
        memcpy(encoder->bytes + encoder->n_bytes, bench->bytes, block->n_bytes);
    encoder->n_passes += n_passes;
    encoder->n_bytes += block->n_bytes;
    return 1;
}

static int code_band(bitdose_j2k_encoder *encoder, const Band *band, int level, double weight,
                     const float *samples, Workbench *bench)
{
    CodedBlock *block = encoder->blocks + band->first_block;
    for (int y = 0; band->across && y < band->height; y += BLOCK_SIDE)
        for (int x = 0; x < band->width; x += BLOCK_SIDE, block++) {
            int width = band->width - x < BLOCK_SIDE ? band->width - x : BLOCK_SIDE;
            int height = band->height - y < BLOCK_SIDE ? band->height - y : BLOCK_SIDE;
            bitdose_code_block(samples + (size_t)y * (size_t)band->width + x, band, width, height, level,
                               weight, bench, block);
            if (!keep(encoder, bench, block))
                return 0;
        }
    return 1;
}

/* Code a component, of samples of so many bits or of floats; `floats` holds its parts. */
static int code_component(bitdose_j2k_encoder *encoder, const Resolution *resolutions, const void *plane,
                          int bits, double weight, float *floats, Workbench *bench)
{
    int n_levels = encoder->n_levels;
    size_t across = (size_t)resolutions[n_levels - 1].width, down = (size_t)resolutions[n_levels - 1].height;
    size_t quarter = across * down;
    float *low = floats, *next = floats + quarter, *rows = floats + 5 * quarter;
    float *bands[3] = {floats + 2 * quarter, floats + 3 * quarter, floats + 4 * quarter};
    for (int r = n_levels; r > 0; r--) {
        int is_first = r == n_levels;
        Analysis level = {resolutions[r].width,
                          resolutions[r].height,
                          is_first ? bits : 0,
                          is_first ? plane : low,
                          next,
                          {bands[0], bands[1], bands[2]}};
        bitdose_analyse(&level, rows);
        for (int b = 0; b < resolutions[r].n_bands; b++)
            if (!code_band(encoder, &resolutions[r].bands[b], n_levels - r, weight, bands[b], bench))
                return 0;
        float *swapped = low;
        low = next;
        next = swapped;
    }
    return code_band(encoder, &resolutions[0].bands[0], n_levels, weight, low, bench);
}

/* L2 norms of the inverse transform of colour, to the digits that OpenJPEG has. */
static const double COLOUR_NORMS[MAX_COMPONENTS] = {1.732, 1.805, 1.573};

static int code_image(bitdose_j2k_encoder *encoder, const void *image)
{
    size_t n = (size_t)encoder->width * (size_t)encoder->height;
    size_t quarter = (size_t)bitdose_halves(encoder->width, 1) * (size_t)bitdose_halves(encoder->height, 1);
    float *floats = malloc((5 * quarter + bitdose_lifting_floats(encoder->width)) * sizeof *floats);
    float *planes = encoder->n_components > 1 ? malloc(MAX_COMPONENTS * n * sizeof *planes) : NULL;
    Workbench *bench = malloc(sizeof *bench);
    uint8_t *bytes = malloc(BLOCK_BYTES + 1);
    int whole = floats && bench && bytes && (planes || encoder->n_components == 1);
    if (whole)
        bench->bytes = bytes + 1;
    if (whole && planes) {
        bitdose_from_colour(image, n, planes);
        for (int c = 0; whole && c < encoder->n_components; c++)
            whole = code_component(encoder, encoder->resolutions + c * (encoder->n_levels + 1),
                                   planes + (size_t)c * n, 0, COLOUR_NORMS[c], floats, bench);
    } else if (whole)
        whole = code_component(encoder, encoder->resolutions, image, encoder->bits, 1, floats, bench);
    free(floats);
    free(planes);
    free(bench);
    free(bytes);
    return whole;
}

static int lay_out(bitdose_j2k_encoder *encoder, const Header *header)
{
    int n_nodes;
    if (!bitdose_lay_out(header, encoder->resolutions, &encoder->n_blocks, &n_nodes))
        return 0;
    size_t n = (size_t)encoder->n_blocks;
    encoder->nodes = malloc((size_t)n_nodes * sizeof *encoder->nodes);
    encoder->blocks = calloc(n, sizeof *encoder->blocks);
    encoder->chosen = malloc(n * sizeof *encoder->chosen);
    encoder->packet_header = malloc((n + 1) * HEADER_BYTES_PER_BLOCK);
    if (!encoder->nodes || !encoder->blocks || !encoder->chosen || !encoder->packet_header)
        return 0;
    bitdose_plant_all(encoder->resolutions, encoder->n_components * (encoder->n_levels + 1), encoder->nodes);
    return 1;
}

bitdose_j2k_encoder *bitdose_j2k_encode(const void *image, const int32_t *size, const uint8_t *like,
                                        size_t n_bytes)
{
    Header header = {0};
    if (!bitdose_read_header(like, n_bytes, &header) || header.n_layers != 1 ||
        (int32_t)header.height != size[0] || (int32_t)header.width != size[1] ||
        (int32_t)header.bits != size[2] || (int32_t)header.n_components != size[3])
        return NULL;
    bitdose_j2k_encoder *encoder = calloc(1, sizeof *encoder);
    if (!encoder)
        return NULL;
    encoder->width = (int)header.width;
    encoder->height = (int)header.height;
    encoder->bits = (int)header.bits;
    encoder->n_components = (int)header.n_components;
    encoder->n_levels = (int)header.n_levels;
    encoder->main_bytes = (size_t)(header.packets - like) - TILE_BYTES;
    encoder->main_header = malloc(encoder->main_bytes);
    int has_no_more = like[encoder->main_bytes] == 0xff && like[encoder->main_bytes + 1] == 0x90;
    if (encoder->main_header && has_no_more && lay_out(encoder, &header) && code_image(encoder, image)) {
        memcpy(encoder->main_header, like, encoder->main_bytes);
        measure_slopes(encoder);
        return encoder;
    }
    bitdose_j2k_encoder_close(encoder);
    return NULL;
}

void bitdose_j2k_encoder_close(bitdose_j2k_encoder *encoder)
{
    if (!encoder)
        return;
    free(encoder->nodes);
    free(encoder->blocks);
    free(encoder->passes);
    free(encoder->bytes);
    free(encoder->chosen);
    free(encoder->packet_header);
    free(encoder->main_header);
    free(encoder->tried);
    free(encoder);
}

static size_t stream_bytes(bitdose_j2k_encoder *encoder, double slope)
{
    choose(encoder, slope);
    return encoder->main_bytes + TILE_BYTES + put_packets(encoder, NULL) + END_BYTES;
}

size_t bitdose_j2k_choose_ratio(bitdose_j2k_encoder *encoder, float ratio)
{
    double bits = (double)(encoder->n_components * encoder->bits) * encoder->width * encoder->height;
    float target = (float)(bits / (double)(ratio * 8.0f));
    target -= (float)encoder->main_bytes;
    if (target < 30.0f)
        target = 30.0f;
    return stream_bytes(encoder, search_slope(encoder, ceil((double)target), DBL_MAX));
}

size_t bitdose_j2k_choose_psnr(bitdose_j2k_encoder *encoder, float psnr_db)
{
    double peak = (double)(1 << encoder->bits) - 1, whole = 0;
    double error = peak * peak * ((double)encoder->width * encoder->height) * encoder->n_components;
    for (int n = 0; n < encoder->n_blocks; n++) {
        const CodedBlock *block = &encoder->blocks[n];
        if (block->n_passes)
            whole += encoder->passes[block->first_pass + (size_t)block->n_passes - 1].gain;
    }
    double target = whole - error / pow(10, (double)(psnr_db / 10));
    return stream_bytes(encoder, search_slope(encoder, DBL_MAX, target));
}

void bitdose_j2k_write(bitdose_j2k_encoder *encoder, uint8_t *out)
{
    memcpy(out, encoder->main_header, encoder->main_bytes);
    uint8_t *tile = out + encoder->main_bytes;
    uint32_t part = (uint32_t)(TILE_BYTES + put_packets(encoder, tile + TILE_BYTES));
    memcpy(tile, "\xff\x90\0\x0a\0\0\0\0\0\0\0\x01\xff\x93", TILE_BYTES); /* SOT of one part, SOD */
    for (int n = 0; n < 4; n++)
        tile[6 + n] = (uint8_t)(part >> (24 - 8 * n));
    memcpy(tile + part, "\xff\xd9", END_BYTES);
}
