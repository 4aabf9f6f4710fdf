/* The main header of a JPEG 2000 codestream (ISO/IEC 15444-1, A), and the subbands and code-blocks that it
 * means [B]: all that is not of the form in jpeg2000.c is refused. */

#include "jpeg2000.h"

static uint32_t be16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }
static uint32_t be32(const uint8_t *at) { return be16(at) << 16 | be16(at + 2); }

static int read_size(const uint8_t *at, uint32_t length, Header *header)
{
    if (length < 41)
        return 0;
    header->width = be32(at + 4);
    header->height = be32(at + 8);
    header->n_components = be16(at + 36);
    header->bits = at[38] + 1U;
    if (length != 38 + 3 * header->n_components)
        return 0;
    for (uint32_t n = 0; n < header->n_components; n++)
        if (at[38 + 3 * n] != at[38] || at[39 + 3 * n] != 1 || at[40 + 3 * n] != 1)
            return 0;
    int is_one_tile = be32(at + 20) >= header->width && be32(at + 24) >= header->height;
    int starts_at_zero = !be32(at + 12) && !be32(at + 16) && !be32(at + 28) && !be32(at + 32);
    int is_grey = header->n_components == 1 && (header->bits == 8 || header->bits == 16);
    int is_colour = header->n_components == MAX_COMPONENTS && header->bits == 8;
    return is_one_tile && starts_at_zero && (is_grey || is_colour) && header->width && header->height &&
           header->width <= MAX_SIDE && header->height <= MAX_SIDE &&
           header->width * header->height <= MAX_SAMPLES;
}

static int read_style(const uint8_t *at, uint32_t length, Header *header)
{
    if (length != 12 || at[2] != 0 || at[3] != 0 || at[6] != (header->n_components > 1))
        return 0;
    header->n_layers = be16(at + 4);
    header->n_levels = at[7];
    int blocks_fit = at[8] == 4 && at[9] == 4; /* of 64 x 64 */
    return blocks_fit && at[10] == 0 && at[11] == 0 && header->n_layers && header->n_layers <= MAX_LAYERS &&
           header->n_levels && header->n_levels <= MAX_LEVELS;
}

static int read_steps(const uint8_t *at, uint32_t length, Header *header)
{
    uint32_t n = (length - 3) / 2;
    if ((at[2] & 0x1f) != 2 || length != 3 + 2 * n || n > 3 * MAX_LEVELS + 1 || n != 3 * header->n_levels + 1)
        return 0;
    header->guard_bits = at[2] >> 5;
    for (uint32_t band = 0; band < n; band++) {
        uint32_t value = be16(at + 3 + 2 * band);
        header->exponents[band] = value >> 11;
        header->mantissas[band] = value & 0x7ff;
    }
    return 1;
}

int bitdose_read_header(const uint8_t *data, size_t size, Header *header)
{
    enum {
        SOC = 0xff4f,
        SIZ = 0xff51,
        COD = 0xff52,
        QCD = 0xff5c,
        COM = 0xff64,
        SOT = 0xff90,
        PLT = 0xff58,
        SOD = 0xff93,
        EOC = 0xffd9
    };
    int seen = 0;
    size_t at = 2, part_end = 0;
    if (size < 4 || be16(data) != SOC || be16(data + size - 2) != EOC)
        return 0;
    while (at + 4 <= size) {
        const uint8_t *segment = data + at + 2;
        uint32_t marker = be16(data + at);
        if (marker == SOD) {
            header->packets = segment;
            header->end = data + part_end;
            return seen == 15 && part_end + 2 == size && at + 2 <= part_end;
        }
        uint32_t length = be16(segment);
        if (length < 3 || length > size - at - 2)
            return 0;
        if (marker == SIZ && seen == 0 && read_size(segment, length, header))
            seen |= 1;
        else if (marker == COD && seen == 1 && read_style(segment, length, header))
            seen |= 2;
        else if (marker == QCD && seen == 3 && read_steps(segment, length, header))
            seen |= 4;
        else if (marker == SOT && seen == 7 && length == 10 && be16(segment + 2) == 0 && segment[8] == 0) {
            uint32_t part = be32(segment + 4);
            part_end = part ? at + part : size - 2;
            seen |= 8;
        } else if (marker != COM && marker != PLT)
            return 0;
        at += 2 + length;
    }
    return 0;
}

int bitdose_halves(int value, int times)
{
    while (times--)
        value = (value + 1) / 2;
    return value;
}

static float band_step(const Header *header, int band)
{
    /* OpenJPEG's 9/7 synthesis holds the subbands' gains, so that none is part of the step. */
    double step = 1.0 + header->mantissas[band] / 2048.0;
    int power = (int)header->bits - (int)header->exponents[band];
    for (; power > 0; power--)
        step *= 2;
    for (; power < 0; power++)
        step /= 2;
    return 0.5f * (float)step;
}

static int lay_out_component(const Header *header, Resolution *resolutions, int *n_blocks, int *n_nodes)
{
    int width = (int)header->width, height = (int)header->height, n_levels = (int)header->n_levels;
    for (int r = 0; r <= n_levels; r++) {
        Resolution *resolution = &resolutions[r];
        resolution->width = bitdose_halves(width, n_levels - r);
        resolution->height = bitdose_halves(height, n_levels - r);
        int low_width = (resolution->width + 1) / 2, low_height = (resolution->height + 1) / 2;
        resolution->n_bands = r ? 3 : 1;
        for (int b = 0; b < resolution->n_bands; b++) {
            Band *band = &resolution->bands[b];
            int index = r ? 3 * r - 2 + b : 0;
            band->kind = r ? b + 1 : LL;
            band->width = !r ? resolution->width : b == 1 ? low_width : resolution->width - low_width;
            band->height = !r ? resolution->height : b == 0 ? low_height : resolution->height - low_height;
            band->across = (band->width + BLOCK_SIDE - 1) / BLOCK_SIDE;
            band->down = (band->height + BLOCK_SIDE - 1) / BLOCK_SIDE;
            if (!band->across || !band->down)
                band->across = band->down = 0;
            band->planes = (int)(header->exponents[index] + header->guard_bits) - 1;
            band->step = band_step(header, index);
            if (band->planes < 0 || band->planes > 29)
                return 0;
            band->first_block = *n_blocks;
            *n_blocks += band->across * band->down;
            if (band->across)
                *n_nodes += 2 * bitdose_tree_size(band->across, band->down);
        }
    }
    return 1;
}

int bitdose_lay_out(const Header *header, Resolution *resolutions, int *n_blocks, int *n_nodes)
{
    *n_blocks = *n_nodes = 0;
    for (uint32_t n = 0; n < header->n_components; n++)
        if (!lay_out_component(header, resolutions + n * (header->n_levels + 1), n_blocks, n_nodes))
            return 0;
    return 1;
}
