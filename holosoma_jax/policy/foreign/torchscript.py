"""A policy read from a TorchScript archive, as rsl_rl and Isaac Lab export one beside the ONNX file.

An archive is a ZIP file with serialised TorchScript. PyTorch's own interpreter runs that code: it cannot import
Python. Of PyTorch's operators two reach files, ``save`` and ``from_file``; code that names one of them is refused, and
so are loops, which could run for ever and stop for no signal. A training checkpoint (``torch.save``) is a pickle, which
can run anything; it is told apart before PyTorch sees it, and never read.

PyTorch gets a copy of the archive that holds what was checked and nothing else: its reader of ZIP files is not
Python's, and may see other files in the same bytes.
"""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from holosoma_jax.config.extras import is_installed, pip_install
from holosoma_jax.policy import loaded
from holosoma_jax.policy.foreign import torchscript_weights
from holosoma_jax.policy.loaded import LoadedPolicy, PolicyFileError

SUFFIXES = (".pt", ".pth", ".jit")
_NEEDLESS = {
    "reaches files": re.compile(rb"\b(save|from_file)\b"),
    "may run for ever": re.compile(rb"^[ \t]*(while|for)\b", re.MULTILINE),
    "writes to the terminal": re.compile(rb"\bprint\s*\("),
    "is not TorchScript": re.compile(rb"\btorch\.classes\b"),
}
"""What no policy's code does -> how it is told"""
_MAX_CODE = 1_000_000  # bytes; a policy's is a few thousand
_MAX_RATIO = 100
"""of the size of an archive and of what it holds; weights are stored as they are"""
_LONGEST_S = 120.0
"""s that PyTorch has to start and to load a policy; both take some two"""
_NOT_CODE = ".debug_pkl"
"""what line of which source the code came from; may quote anything"""


def load(path: Path, stated: Mapping[str, Any] | None = None) -> LoadedPolicy:
    """Read and check a policy; it says nothing about itself, so all of its metadata is `stated`.

    Args:
      path: a TorchScript archive of a module [N, n] float32 -> [N, A] float32.
      stated: see `stated.gather`.

    Raises:
      PolicyFileError: it is no such archive, PyTorch is not installed, or it keeps a state between calls.
    """
    archive = checked(path)
    if not is_installed("torch"):
        raise PolicyFileError(
            f"{path}: TorchScript needs PyTorch: {pip_install('isaac')}; or pass the .onnx file."
        )
    import torch

    _try_in_a_process_of_its_own(path, archive)
    try:
        with warnings.catch_warnings():  # PyTorch deprecates the format; the files exist
            warnings.simplefilter("ignore", DeprecationWarning)
            module = torch.jit.load(io.BytesIO(archive), map_location="cpu").eval()
        tensors = [*module.parameters(), *module.buffers()]
    except Exception as error:  # whatever PyTorch raises for a damaged file
        raise PolicyFileError(f"{path}: PyTorch cannot load it: {_line(error)}") from None
    if any("hidden_state" in name for name, _ in module.named_buffers()):
        raise PolicyFileError(
            f"{path}: a recurrent policy; it keeps a state between calls, which is not kept here."
        )
    sizes = [tuple(value.shape) for value in tensors if value.ndim == 2]
    if not sizes:
        raise PolicyFileError(f"{path}: it has no linear layer, so its number of observations is not known.")
    obs_dim = sizes[0][1]

    def run(rows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(rows)).numpy()

    return loaded.describe(
        path, {}, stated or {}, obs_dim, _action_dim(path, run, obs_dim), run, batched=True
    )


def _try_in_a_process_of_its_own(path: Path, archive: bytes) -> None:
    """PyTorch's parser has no limit: deeply nested code ends the process that loads it, so another one loads it first.

    Raises:
      PolicyFileError: that process was ended by a signal, or took too long.
    """
    code = "import io, sys, torch; torch.jit.load(io.BytesIO(sys.stdin.buffer.read()), map_location='cpu')"
    try:
        tried = subprocess.run(
            [sys.executable, "-P", "-W", "ignore", "-c", code],  # -P: no module of the folder it runs in
            input=archive,
            capture_output=True,
            timeout=_LONGEST_S,
        )
    except subprocess.TimeoutExpired:
        raise PolicyFileError(f"{path}: PyTorch was still loading it after {_LONGEST_S:.0f} s.") from None
    if tried.returncode < 0:  # what PyTorch says of it is an exception here, too
        name = signal.Signals(-tried.returncode).name
        raise PolicyFileError(f"{path}: PyTorch cannot load it: it ends the process ({name}).")


def _action_dim(path: Path, run: Callable[[np.ndarray], np.ndarray], obs_dim: int) -> int:
    """J of a policy `run`: [N, obs_dim] -> finite float32 [N, J], each row by itself, the same every time.

    Raises:
      PolicyFileError: it is none.
    """
    rows = np.random.default_rng(0).standard_normal((3, obs_dim)).astype(np.float32)
    try:
        action, again, first = run(rows), run(rows), run(rows[:1])
    except Exception as error:  # whatever the interpreter raises
        raise PolicyFileError(f"{path}: it fails on rows of {obs_dim} numbers: {_line(error)}") from None
    if action.ndim != 2 or len(action) != 3 or action.dtype != np.float32 or not np.isfinite(action).all():
        raise PolicyFileError(
            f"{path}: it returns {action.dtype} {action.shape} of (3, {obs_dim}), wanted finite float32 [3, J]."
        )
    if not np.array_equal(action, again):
        raise PolicyFileError(
            f"{path}: it returns something else every time; it keeps a state between calls, or draws at random."
        )
    if first.shape != action[:1].shape or not np.allclose(action[:1], first, rtol=1e-3, atol=1e-4):
        raise PolicyFileError(f"{path}: what it returns for one row depends on the others; wanted a policy.")
    return action.shape[1]


def checked(path: Path) -> bytes:
    """The archive `path`, written anew: what was checked here is what PyTorch reads.

    Raises:
      PolicyFileError: it is no ZIP file of TorchScript, or its code does what no policy needs.
    """
    if not path.is_file():
        raise PolicyFileError(f"{path}: no such file.")
    files: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            limit = _MAX_RATIO * path.stat().st_size
            if sum(item.file_size for item in archive.infolist()) > limit:
                raise PolicyFileError(f"{path}: unpacked it has over {_MAX_RATIO} times its size.")
            for item in archive.infolist():
                if _is_code(item.filename) and item.file_size > _MAX_CODE:
                    raise PolicyFileError(
                        f"{path}: its code has {item.file_size} bytes; no policy needs them."
                    )
                files[item.filename] = archive.read(item)
    except PolicyFileError:
        raise
    except OSError as error:
        raise PolicyFileError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except Exception:  # of zipfile, and of the library of whatever compression it names
        files = {}  # damaged, encrypted, ...
    if not any("/code/" in name for name in files) or not any(n.endswith("/constants.pkl") for n in files):
        raise PolicyFileError(
            f"{path}: a PyTorch checkpoint, not TorchScript; it cannot be read. Pass the .onnx file beside it."
        )
    names = {name.lower() for name in files}  # PyTorch ignores the case of names
    if (
        len(names) < len(files)
        or len({name.partition("/")[0] for name in names}) > 1
        or _has_old_layout(names)
    ):
        raise PolicyFileError(f"{path}: damaged, or not what a version of PyTorch from 1.6 on has written.")
    for name in filter(_is_code, files):
        for why, pattern in _NEEDLESS.items():
            if found := pattern.search(files[name]):
                what = found[0].decode().strip()
                raise PolicyFileError(
                    f"{path}: TorchScript that no policy needs ('{what}' {why}); it is not loaded."
                )
    try:
        torchscript_weights.check(files)
    except ValueError as error:
        raise PolicyFileError(f"{path}: {error}.") from None
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:  # stored, as PyTorch does
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def _has_old_layout(names: set[str]) -> bool:
    """Whether PyTorch would read ``model.json`` instead of what is checked here."""
    return any(name.endswith(("/model.json", "/attributes.pkl")) for name in names)


def _is_code(name: str) -> bool:
    return "/code/" in name.lower() and not name.lower().endswith(_NOT_CODE)


def _line(error: Exception) -> str:
    """The last line of what PyTorch says: the first ones quote the archive's code."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
