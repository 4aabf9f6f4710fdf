/* What the parts of the native library say to each other, and what bitdose/native/__init__.py calls. */

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

/* ---- called from Python ---- */

#if defined(__GNUC__) && !defined(__clang__)
#define UNROLLED _Pragma("GCC unroll 4")
#else
#define UNROLLED
#endif

typedef struct bitdose_j2k bitdose_j2k;

/* The digest of the sources that this was compiled from. */
uint32_t bitdose_sources(void);

/* Fill the tables; once, before anything else. */
void bitdose_start(void);

/* Parse a layered stream; or streams of one layer each, of which each holds of every block what the one
 * before holds, and more: they are layers of one image then. The streams are one behind the other, each with
 * its end. NULL where one is broken, or not of the form that is decoded here. */
bitdose_j2k *bitdose_j2k_open(const uint8_t *data, const uint64_t *ends, int n_streams);
void bitdose_j2k_close(bitdose_j2k *j2k);

/* Give height, width, bits and the number of layers. */
void bitdose_j2k_size(const bitdose_j2k *j2k, int32_t *size);

/* Write the image after the first n_layers into (height, width) uint8 or uint16; quickest from few layers to
 * many. 0 where there are not as many. */
int bitdose_j2k_decode(bitdose_j2k *j2k, int n_layers, void *out);

typedef struct bitdose_j2k_encoder bitdose_j2k_encoder;

/* Transform and code an image of so much height, width, bits and components, (height, width) uint8 or uint16
 * or (height, width, 3) uint8, for streams with the main header of a given one. NULL where that one is not of
 * the form that is coded here, or of another size, depth or kind. */
bitdose_j2k_encoder *bitdose_j2k_encode(const void *image, const int32_t *size, const uint8_t *like,
                                        size_t n_bytes);
void bitdose_j2k_encoder_close(bitdose_j2k_encoder *encoder);

/* Choose what a stream holds at a ratio, above 1, of raw bytes to coded ones, or at a PSNR whose peak is the
 * depth's; return its length. */
size_t bitdose_j2k_choose_ratio(bitdose_j2k_encoder *encoder, float ratio);
size_t bitdose_j2k_choose_psnr(bitdose_j2k_encoder *encoder, float psnr_db);

/* Write what was chosen last. */
void bitdose_j2k_write(bitdose_j2k_encoder *encoder, uint8_t *out);

/* OpenCV's Lanczos-4: (height, width) uint8 to (height * down, width * across). By phase there are nine
 * weights of 11 bits, of the samples from 4 before to 4 behind; of each nine the first or the last is 0. */
int bitdose_lanczos4_up(const uint8_t *image, int height, int width, int down, int across,
                        const int32_t *down_taps, const int32_t *across_taps, uint8_t *out);

/* Pillow's bilinear kernel to a quarter: from (height * 4, width * 4) uint8 to (height, width). `border`
 * holds its weights of 22 bits of the first sample's six, from the border on. */
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
