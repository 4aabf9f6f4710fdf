"""Find and load the compiled library, and say what it is or why there is none."""

from __future__ import annotations

import ctypes
import zlib
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent
LIBRARY = "_native.so"
SLOWDOWN_WITHOUT = 2.9  # of a study of the paper's points: benchmarks/README.md

_INT, _SIZE, _POINTER = ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p
_NOT_COMPILED = "not compiled: no C compiler was at work when bitdose was installed"
_NOT_LOADABLE = "compiled, but not for this machine: it cannot be loaded"
_OTHER_SOURCES = "compiled from other sources than those installed"
_MEND = "install a wheel for this platform, or a C compiler and then bitdose again"


@dataclass(frozen=True)
class NativeState:
    """Whether the loops in C are here.

    Parameters
    ----------
    available : bool
        Whether the library is loaded.
    reason : str
        Why not, and what to do; empty where it is.
    digest : str
        CRC-32 of the C sources that are installed, eight hexadecimal digits: what the library was
        compiled from where it is available.
    """

    available: bool
    reason: str
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, among them ``slowdown_without``: times as long a study takes without."""
        return asdict(self) | {"slowdown_without": SLOWDOWN_WITHOUT}

    def line(self) -> str:
        """Say the state in one line.

        Examples
        --------
        >>> NativeState(available=True, reason="", digest="0123abcd").line()
        'loops in C: compiled, sources 0123abcd (without them a study takes about 2.9 times as long)'
        """
        without = f"a study takes about {SLOWDOWN_WITHOUT:g} times as long"
        if self.available:
            return f"loops in C: compiled, sources {self.digest} (without them {without})"
        return f"loops in C: {self.reason}; without them {without}, with the same results"


def sources_digest(folder: Path = _FOLDER) -> int:
    """Return a CRC-32 of the sources in a folder, which the library compiled from them knows."""
    digest = 0
    for path in sorted(folder.glob("*.[ch]")):
        digest = zlib.crc32(path.read_bytes(), digest)
    return digest


def load() -> ctypes.CDLL | None:
    """Return the library, ready to be called; None where there is none of these sources."""
    found = _open()
    return None if isinstance(found, str) else found


def state() -> NativeState:
    """Return whether the library is here, of which sources, and if not why not.

    Examples
    --------
    >>> state().available == (load() is not None)
    True
    """
    found = _open()
    reason = f"{found}; {_MEND}" if isinstance(found, str) else ""
    return NativeState(available=not reason, reason=reason, digest=f"{sources_digest():08x}")


@cache
def _open() -> ctypes.CDLL | str:
    """Return the library, or why it is not here."""
    path = _FOLDER / LIBRARY
    if not path.exists():
        return _NOT_COMPILED
    try:
        library = ctypes.CDLL(str(path))
        library.bitdose_sources.restype = ctypes.c_uint32
    except OSError:
        return _NOT_LOADABLE
    except AttributeError:
        return _OTHER_SOURCES
    if library.bitdose_sources() != sources_digest():
        return _OTHER_SOURCES
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
