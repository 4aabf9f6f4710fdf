"""The results table: one row per (case, point, classifier), and what each column means.

The prefix says whose a column is. Everything downstream (metrics, decisions, figures,
reports) reads this table and nothing else, so one from another lab works as well: only the
columns marked required must be there.
"""

from __future__ import annotations

from typing import NamedTuple

SCHEMA_VERSION = 1
OK = "ok"
PRISTINE = "pristine"


class Column(NamedTuple):
    """One column: its type in Arrow's words, whether a table must have it, its meaning."""

    dtype: str
    required: bool
    meaning: str


COLUMNS: dict[str, Column] = {
    "case_id": Column("string", True, "unique id of the case"),
    "case_label": Column("string", True, "class by the reference standard"),
    "case_patient": Column("string", False, "unit of resampling; the case id where none is known"),
    "case_split": Column("string", False, "name of the split"),
    "case_format": Column("string", False, "format of the source file"),
    "case_lossy": Column("bool", False, "source already lossily coded; null where unknown"),
    "case_digest": Column("string", False, "SHA-256 of the source file"),
    "case_mapping": Column("string", False, "steps from stored samples to pixels"),
    "case_height": Column("int64", False, "rows"),
    "case_width": Column("int64", False, "columns"),
    "case_slices": Column("int64", False, "slices of a volume, 1 for an image"),
    "case_bits": Column("int64", False, "bits in use per sample"),
    "point": Column("string", True, "operating point in its text form"),
    "codec_name": Column("string", False, "codec"),
    "codec_chain": Column("string", True, "the point without its quality: its line in a figure"),
    "codec_quality": Column("double", False, "the value of the codec's quality parameter; null for pristine"),
    "codec_strength": Column("double", True, "order within the chain, larger is stronger"),
    "codec_size": Column("string", False, "WIDTHxHEIGHT coded after downsizing; empty if not"),
    "codec_kernels": Column("string", False, "library and kernel down > library and kernel up"),
    "codec_mode": Column(
        "string", False, "exact (as an encode of its own gives it) or layered (part of a shared encode)"
    ),
    "codec_library": Column("string", False, "library and version that coded"),
    "codec_mapping": Column("string", False, "bit depth mapping around the codec; empty if none"),
    "bytes_file": Column("int64", True, "size of the source file; null where the case came as an array"),
    "bytes_pixels": Column("int64", True, "size of the original's raw pixels"),
    "bytes_coded": Column(
        "int64", True, "size of the coded stream; for pristine, of the source file, of an array's raw pixels"
    ),
    "encode_ms": Column(
        "double", False, "encoding time; what streams made together share is shared out evenly"
    ),
    "decode_ms": Column(
        "double", False, "decoding time, interpolation included; a shared decoder's is what it adds"
    ),
    "psnr_db": Column("double", False, "against the original; infinite where identical"),
    "ssim": Column("double", False, "against the original, after Wang's downsampling"),
    "model": Column("string", False, "name and digest of the classifier"),
    "predicted": Column("string", True, "class that the classifier predicts"),
    "fp32_predicted": Column(
        "string", False, "of a classifier in another precision, at pristine: its prediction in fp32"
    ),
    "fp32_gap": Column("double", False, "and the largest difference of a class's probability from fp32"),
    "status": Column("string", True, "ok, or what failed"),
    "reason": Column("string", False, "why it failed, one line"),
}

PROBABILITY_PREFIX = "p_"


def probability_columns(labels: tuple[str, ...]) -> list[str]:
    """Return the probability columns of a classifier's labels, in their order.

    Examples
    --------
    >>> probability_columns(("normal", "covid-19"))
    ['p_normal', 'p_covid-19']
    """
    return [PROBABILITY_PREFIX + label for label in labels]
