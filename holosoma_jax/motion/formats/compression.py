"""The compressions of joblib, and how much a file may grow to."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib

MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\xfd7zXZ": "xz", b"]\x00\x00": "lzma", b"x": "zlib"}
"""First bytes -> how joblib has compressed the file."""
LZ4 = b"\x04\x22\x4d\x18"
"""first bytes of joblib's sixth kind, which nothing in Python's library reads"""
MAX_BYTES = 4 << 30
"""limit of what a compressed file may grow to"""
MAX_RATIO, FREE_BYTES = 100, 50 << 20
"""... and of how many times its size that may be, above so many bytes; joint angles shrink to a half or a third"""


class Damaged(ValueError):
    """The compressed bytes are damaged, cut short, or too many."""


def unpacked_limit(packed: int) -> int:
    """Bytes that a compressed file of `packed` bytes may grow to."""
    return min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * packed))


def decompressed(data: bytes) -> bytes:
    """What `data` holds; `data` itself where none of `MAGIC` has compressed it.

    Raises:
      Damaged: it is cut short, no such compression after all, or more than `unpacked_limit`.
    """
    kind = next((name for magic, name in MAGIC.items() if data.startswith(magic)), None)
    limit, out = unpacked_limit(len(data)), None
    try:
        if kind == "gzip":
            out = gzip.GzipFile(fileobj=io.BytesIO(data)).read(limit + 1)
        if kind == "bz2":
            out = bz2.BZ2File(io.BytesIO(data)).read(limit + 1)
        if kind in ("xz", "lzma"):
            out = lzma.LZMAFile(io.BytesIO(data)).read(limit + 1)  # noqa: SIM115
        if kind == "zlib":
            stream = zlib.decompressobj()
            out = stream.decompress(data, limit + 1)
            if not stream.eof and len(out) <= limit:
                raise Damaged("its zlib compression is cut short")
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise Damaged(f"its {kind} compression is damaged ({error})") from None
    if out is not None and len(out) > limit:
        raise Damaged(f"it grows from {len(data)} bytes to more than {limit}")
    return data if out is None else out
