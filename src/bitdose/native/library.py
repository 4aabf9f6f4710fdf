"""Find and load the compiled library."""

from __future__ import annotations

import ctypes
import zlib
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent
LIBRARY = "_native.so"

_INT, _SIZE, _POINTER = ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p


def sources_digest(folder: Path = _FOLDER) -> int:
    """Return a CRC-32 of the sources in a folder, which the library compiled from them knows."""
    digest = 0
    for path in sorted(folder.glob("*.[ch]")):
        digest = zlib.crc32(path.read_bytes(), digest)
    return digest


@cache
def load() -> ctypes.CDLL | None:
    """Return the library, ready to be called; None where there is none of these sources."""
    try:
        library = ctypes.CDLL(str(_FOLDER / LIBRARY))
        library.bitdose_sources.restype = ctypes.c_uint32
    except (OSError, AttributeError):
        return None
    if library.bitdose_sources() != sources_digest():
        return None
    signatures = {
        "bitdose_start": (None, []),
        "bitdose_j2k_open": (_POINTER, [ctypes.c_char_p, _POINTER, _INT]),
        "bitdose_j2k_close": (None, [_POINTER]),
        "bitdose_j2k_size": (None, [_POINTER, _POINTER]),
        "bitdose_j2k_decode": (_INT, [_POINTER, _INT, _POINTER]),
        "bitdose_j2k_encode": (_POINTER, [_POINTER, _POINTER, ctypes.c_char_p, _SIZE]),
        "bitdose_j2k_encoder_close": (None, [_POINTER]),
        "bitdose_j2k_choose_ratio": (_SIZE, [_POINTER, ctypes.c_float]),
        "bitdose_j2k_choose_psnr": (_SIZE, [_POINTER, ctypes.c_float]),
        "bitdose_j2k_write": (None, [_POINTER, _POINTER]),
        "bitdose_lanczos4_up": (_INT, [_POINTER, *[_INT] * 4, *[_POINTER] * 3]),
        "bitdose_bilinear_quarter": (_INT, [_POINTER, *[_INT] * 2, *[_POINTER] * 2]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    library.bitdose_start()
    return library
