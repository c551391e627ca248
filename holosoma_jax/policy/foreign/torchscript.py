"""A policy read from a TorchScript archive, as rsl_rl and Isaac Lab export one beside the ONNX file.

An archive is a ZIP file with serialised TorchScript. PyTorch's own interpreter runs that code: it cannot import
Python. Of PyTorch's operators two reach files, ``save`` and ``from_file``; code that names one of them is refused.
A training checkpoint (``torch.save``) is a pickle, which can run anything; it is told apart before PyTorch sees it,
and never read.
"""

from __future__ import annotations

import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from holosoma_jax.config.extras import is_installed, pip_install
from holosoma_jax.policy import loaded
from holosoma_jax.policy.loaded import LoadedPolicy, PolicyFileError

SUFFIXES = (".pt", ".pth", ".jit")
_FILES = re.compile(rb"\b(save|from_file)\b")
_MAX_CODE = 1_000_000  # bytes; a policy's is a few thousand


def load(path: Path, stated: Mapping[str, Any] | None = None) -> LoadedPolicy:
    """Read and check a policy; it says nothing about itself, so all of its metadata is `stated`.

    Args:
      path: a TorchScript archive of a module [N, n] float32 -> [N, A] float32.
      stated: see `stated.gather`.

    Raises:
      PolicyFileError: it is no such archive, PyTorch is not installed, or it keeps a state between calls.
    """
    _require_archive(path)
    if not is_installed("torch"):
        raise PolicyFileError(
            f"{path}: TorchScript needs PyTorch: {pip_install('isaac')}; or pass the .onnx file."
        )
    import torch

    try:
        with warnings.catch_warnings():  # PyTorch deprecates the format; the files exist
            warnings.simplefilter("ignore", DeprecationWarning)
            module = torch.jit.load(str(path), map_location="cpu").eval()
    except RuntimeError as error:
        raise PolicyFileError(f"{path}: PyTorch cannot load it: {str(error).splitlines()[0]}") from None
    if any("hidden_state" in name for name, _ in module.named_buffers()):
        raise PolicyFileError(
            f"{path}: a recurrent policy; it keeps a state between calls, which is not kept here."
        )
    sizes = [tuple(value.shape) for value in module.parameters() if value.ndim == 2]
    if not sizes:
        raise PolicyFileError(f"{path}: it has no linear layer, so its number of observations is not known.")
    obs_dim = sizes[0][1]

    def run(rows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return module(torch.from_numpy(rows)).numpy()

    try:
        action = run(np.zeros((2, obs_dim), np.float32))
    except RuntimeError as error:
        raise PolicyFileError(
            f"{path}: it fails on rows of {obs_dim} zeros: {str(error).strip().splitlines()[-1]}"
        ) from None
    if action.ndim != 2 or len(action) != 2 or action.dtype != np.float32 or not np.isfinite(action).all():
        raise PolicyFileError(
            f"{path}: it returns {action.dtype} {action.shape}, wanted finite float32 [N, J]."
        )
    return loaded.describe(path, {}, stated or {}, obs_dim, action.shape[1], run, batched=True)


def _require_archive(path: Path) -> None:
    """Raise PolicyFileError unless `path` is a ZIP file of TorchScript whose code names no operator on files."""
    if not path.is_file():
        raise PolicyFileError(f"{path}: no such file.")
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            code = [item for item in archive.infolist() if item.filename.endswith(".py")]
            large = any(item.file_size > _MAX_CODE for item in code)
            found = (
                None
                if large
                else next(filter(None, (_FILES.search(archive.read(item)) for item in code)), None)
            )
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError):  # damaged, encrypted, ...
        names, large, found = [], False, None
    if large or found:
        reason = f"it calls '{found[1].decode()}', which reaches files" if found else "its code is too large"
        raise PolicyFileError(f"{path}: TorchScript that no policy needs ({reason}); it is not loaded.")
    if not any("/code/" in name for name in names) or not any(n.endswith("/constants.pkl") for n in names):
        raise PolicyFileError(
            f"{path}: a PyTorch checkpoint, not TorchScript; it cannot be read. Pass the .onnx file beside it."
        )
