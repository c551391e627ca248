"""Whether the tensors of a TorchScript archive lie within the bytes that it holds.

PyTorch takes the sizes in an archive's pickles on trust: a storage that claims more than its file has is read beyond
the end of memory, which ends the process or makes weights of what lies there. The pickles are read here without
PyTorch, before it sees them; no name in them is imported or called.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Mapping
from typing import Any, NamedTuple

ITEM_BYTES = {
    "DoubleStorage": 8,
    "LongStorage": 8,
    "FloatStorage": 4,
    "IntStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
}
"""PyTorch's name of a kind of storage -> bytes of one number"""
MAX_OPERATIONS = 10_000
"""of a pickle; a policy's has some hundreds. PyTorch frees nested tuples by recursion: 200,000 end the process"""


class _Kind(NamedTuple):
    """A kind of storage. PyTorch takes a plain number for one, too, by a list of its own; here that is none."""

    item_bytes: int


class _Storage(NamedTuple):
    numel: int


class _Inert:
    """Stands for an object of the archive's own classes."""

    def __init__(self, *args: Any) -> None:
        del args

    def __setstate__(self, state: Any) -> None:
        del state


def check(files: Mapping[str, bytes]) -> None:
    """Check the tensors in ``data.pkl`` and ``constants.pkl``, in any case, as PyTorch finds them so.

    Args:
      files: name in the archive, its first folder included -> content.

    Raises:
      ValueError: a tensor reaches beyond its storage or a storage beyond its file; or a pickle is large or damaged.
    """
    sizes = {name.lower(): len(content) for name, content in files.items()}
    for name, content in files.items():
        folder, _, last = name.lower().partition("/")
        if last in ("data.pkl", "constants.pkl"):
            where = f"{folder}/{last.removesuffix('.pkl')}/"
            try:
                _check_size(content, last)
                _Reader(content, sizes, where).load()
            except ValueError:
                raise
            except Exception as error:  # whatever damaged bytes lead to
                raise ValueError(f"{last} is damaged ({type(error).__name__})") from None


def _check_size(content: bytes, name: str) -> None:
    """Raise ValueError for a long pickle, and for a place in its memo beyond that: readers make room up to there."""
    for count, (opcode, place, _) in enumerate(pickletools.genops(content)):
        if count > MAX_OPERATIONS:
            raise ValueError(f"{name} has more than {MAX_OPERATIONS} operations; no policy needs them")
        if opcode.name.endswith("PUT") and isinstance(place, int) and place > MAX_OPERATIONS:
            raise ValueError(f"{name} wants a memo of {place} entries; no policy needs them")


class _Reader(pickle.Unpickler):
    """Builds nothing; sees every tensor."""

    def __init__(self, content: bytes, sizes: Mapping[str, int], folder: str):
        super().__init__(io.BytesIO(content))
        self._sizes, self._folder = sizes, folder

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in ITEM_BYTES:
            return _Kind(ITEM_BYTES[name])
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch.jit._pickle":
            return _first
        if module.partition(".")[0] == "__torch__" and not module.startswith("__torch__.torch.classes"):
            return _Inert
        raise ValueError(f"it names {module}.{name}, which no policy needs")

    def persistent_load(self, pid: Any) -> _Storage:
        tag, kind, key, _, numel = pid
        held = self._sizes.get(f"{self._folder}{key}".lower(), 0)
        known = tag == "storage" and isinstance(kind, _Kind) and type(numel) is int
        if not known or numel < 0 or numel * kind.item_bytes != held:
            raise ValueError(f"storage {key!r:.20} claims {numel!r:.20} numbers, its file has {held} bytes")
        return _Storage(numel)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> _Inert:
    numbers = (offset, *size, *stride)
    if not isinstance(storage, _Storage) or len(size) != len(stride):
        raise ValueError("a tensor in it has no storage or no shape")
    if any(type(n) is not int or n < 0 for n in numbers):
        raise ValueError("a tensor in it has a negative size or place")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and last >= storage.numel:
        raise ValueError(
            f"a tensor of shape {size} in it reaches beyond the {storage.numel} numbers of its storage"
        )
    return _Inert(rest)


def _first(value: Any, *rest: Any) -> Any:
    del rest
    return value
