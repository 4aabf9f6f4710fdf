/* What the parts of the native library say to each other, and what bitdose/native calls: sizes and assumptions
 * stand at each function (docs/native.md lists them). */

#ifndef BITDOSE_NATIVE_H
#define BITDOSE_NATIVE_H

#include <stddef.h>
#include <stdint.h>

/* Loops over samples are compiled twice where the loader can choose: for processors with AVX2, and for all.
 */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

#if defined(__GNUC__)
#define INSIDE static inline __attribute__((always_inline))
#else
#define INSIDE static inline
#endif

#if defined(__GNUC__) && !defined(__clang__)
#define UNROLLED _Pragma("GCC unroll 4")
#else
#define UNROLLED
#endif

/* ---- called from Python ----
 *
 * Of every pointer it is assumed that it is not null (where the contrary is not said), that it is aligned for
 * its type (numpy's and ctypes' are), that what it points to is as large as said here, contiguous and in C's
 * order, and that what is written overlaps nothing that is read. Nothing is kept of an argument after a call
 * has returned. A handle is used by one thread at a time; calls with different handles are independent.
 * Sizes that are out of bounds are refused where "refused" stands, else they are the caller's to keep.
 */

enum {
    MAX_LINE = 1 << 24, /* samples of a row or a column, before and after resizing */
    MAX_FACTOR = 16,
};

typedef struct bitdose_j2k bitdose_j2k;

/* The digest of the sources that this was compiled from. */
uint32_t bitdose_sources(void);

/* Fill the tables; once, before anything else, while no other thread is in here. */
void bitdose_start(void);

/* Parse a layered stream; or streams of one layer each, of which each holds of every block what the one
 * before holds, and more: they are layers of one image then. The streams are one behind the other, each with
 * its end. NULL where one is broken, or not of the form that is decoded here, or memory is short.
 *
 * `ends` holds n_streams ends in bytes of `data`, the last one at most the length of `data`. Refused: an end
 * before the one in front of it or above 2^32 - 1 (lengths of blocks are summed in 32 bits), n_streams below
 * 1 or above MAX_LAYERS, more than MAX_LAYERS layers, a side above MAX_SIDE, more than MAX_SAMPLES samples,
 * more than MAX_LEVELS levels, a subband of more than 29 bit-planes. So a coefficient is below 2^30, an index
 * of a sample below 2^28 and of a block below 2^24: int holds them; products of samples and bytes are
 * size_t's. Any bytes may be in a stream: every read of a header is checked against the stream's end, and
 * every block's bytes against what is left of it. */
bitdose_j2k *bitdose_j2k_open(const uint8_t *data, const uint64_t *ends, int n_streams);

/* `j2k` may be null. */
void bitdose_j2k_close(bitdose_j2k *j2k);

/* Give height, width, bits and the number of layers: four numbers. */
void bitdose_j2k_size(const bitdose_j2k *j2k, int32_t *size);

/* Write the image after the first n_layers into (height, width) uint8, or uint16 where bits is 16; quickest
 * from few layers to many. 0, and nothing written, where there are not as many or less than one. */
int bitdose_j2k_decode(bitdose_j2k *j2k, int n_layers, void *out);

typedef struct bitdose_j2k_encoder bitdose_j2k_encoder;

/* Transform and code an image of so much height, width, bits and components (`size`, four numbers),
 * (height, width) uint8 or uint16 or (height, width, 3) uint8, for streams with the main header of a given
 * one. NULL where that one is not of the form that is coded here, or of another size, depth or kind, or
 * memory is short.
 *
 * Refused: what bitdose_j2k_open refuses. `like` may be any n_bytes bytes. A block has at most 26 bit-planes
 * (a magnitude has 32 bits, 6 of them behind the point), so 76 passes of MAX_CODED_PASSES, and 4096 samples
 * of at most 2.75 decisions of 15 bits in each: some 630 kB with stuffed bits, of BLOCK_BYTES. A pass's gain
 * is at most 4096 * 32767, an int. A packet header takes at most some 20 bytes per block, of
 * HEADER_BYTES_PER_BLOCK. A step so small that a magnitude leaves 32 bits wraps: the stream is wrong then,
 * and no memory but its own is touched. */
bitdose_j2k_encoder *bitdose_j2k_encode(const void *image, const int32_t *size, const uint8_t *like,
                                        size_t n_bytes);

/* `encoder` may be null. */
void bitdose_j2k_encoder_close(bitdose_j2k_encoder *encoder);

/* Choose what a stream holds at a ratio, above 1, of raw bytes to coded ones, or at a PSNR whose peak is the
 * depth's; return its length, which is assumed to be below 2^32. No number is unsafe. */
size_t bitdose_j2k_choose_ratio(bitdose_j2k_encoder *encoder, float ratio);
size_t bitdose_j2k_choose_psnr(bitdose_j2k_encoder *encoder, float psnr_db);

/* Write what was chosen last, as many bytes as choosing returned; there must have been a choice. */
void bitdose_j2k_write(bitdose_j2k_encoder *encoder, uint8_t *out);

/* OpenCV's Lanczos-4: (height, width) uint8 to (height * down, width * across). By phase there are nine
 * weights of 11 bits, of the samples from 4 before to 4 behind; of each nine the first or the last is 0.
 * 0, and nothing written, where memory is short or sizes are refused.
 *
 * Refused: a side below 1, a factor below 1 or above MAX_FACTOR, a row or column of the result above MAX_LINE.
 * The taps hold (down, 9) and (across, 9) numbers. A sum over a row is below 2^31 while the absolute weights
 * of a phase add up to less than 2^23, OpenCV's to some 2^12; the sum over rows is taken modulo 2^32, as
 * OpenCV takes it. Memory: 17 rows of the result in 32 bits. */
int bitdose_lanczos4_up(const uint8_t *image, int height, int width, int down, int across,
                        const int32_t *down_taps, const int32_t *across_taps, uint8_t *out);

/* Pillow's bilinear kernel to a quarter: from (height * 4, width * 4) uint8 to (height, width). `border`
 * holds its weights of 22 bits of the first sample's six, from the border on. 0, and nothing that is of use
 * written, where memory is short, sizes are refused, or the processor is not little-endian.
 *
 * Refused: a side of the result below 2 (a border's six samples must be there), a side of the image above
 * MAX_LINE. Sums are at most 32 * 255 + 16 inside; at a border 2^22 * 255 + 2^21, while weights add up to
 * 2^22. Memory: a quarter of the image, and three rows of the result in 32 bits. */
int bitdose_bilinear_quarter(const uint8_t *image, int height, int width, const int32_t *border,
                             uint8_t *out);

/* ---- between the parts ---- */

typedef void (*ReadRow)(const void *band, int row, float *out);

/* One level of the 9/7 synthesis: a quarter as samples, three as subbands whose rows are read one at a time.
 */
typedef struct {
    int width, height;
    const float *low;
    ReadRow read;
    const void *bands[3]; /* HL, LH, HH */
    int bits; /* of the image that this level gives; 0 where it gives the next one's low quarter */
} Synthesis;

/* How many floats the rows of one level take on their way. */
size_t bitdose_lifting_floats(int width);
void bitdose_lift_row(float *to, const float *left, const float *right, int n, float weight);
void bitdose_synthesize(const Synthesis *level, float *rows, void *out);
void bitdose_scale(const int32_t *samples, int n, float step, float *out);

#endif
