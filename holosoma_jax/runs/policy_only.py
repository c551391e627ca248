"""Checkpoints that hold a policy alone: small enough to ship, and read wherever a run's policy is.

``checkpoints/<step>/`` holds ``policy.npz``, one array a leaf of the learner's state under the leaf's path, and
``meta.json`` as every checkpoint does. Such a run can be evaluated, exported and begun with. It cannot be resumed:
critics, optimisers and environments are not there.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.runs import checkpoint
from holosoma_jax.runs.meta import FILE as META_FILE
from holosoma_jax.runs.meta import DamagedCheckpoint, Leaf, Meta, describe, seal, verify

ITEM = "policy"
"""in `Meta.arrays`"""
FILE = "policy.npz"
HEADER = 1024
"""bytes that an array's description may take in it"""


def save(run: Path, meta: Meta, learner: Any, leaves: Collection[str]) -> Path:
    """Write the `leaves` of a learner's state as ``run/checkpoints/<meta.step>``, which is not there yet.

    Args:
      run: the folder of the new run.
      meta: of the checkpoint that the state is from.
      learner: the state.
      leaves: paths, from `learn.policy_leaves`.
    """
    folder = run / "checkpoints" / str(meta.step)
    folder.mkdir(parents=True)
    arrays = {name: np.asarray(x) for name, x in _named(learner).items() if name in leaves}
    np.savez_compressed(folder / FILE, allow_pickle=False, **arrays)
    seal(folder, replace(meta, arrays={ITEM: describe(arrays)}, files={}))
    return folder


def is_alone(meta: Meta) -> bool:
    """Whether the checkpoint that says this of itself holds a policy alone."""
    return ITEM in meta.arrays and "learner" not in meta.arrays


def load(path: Path, template: Any, leaves: Collection[str]) -> Any:
    """The learner of checkpoint `path`; of one that holds a policy alone, `template` with that policy.

    Args:
      path: a ``checkpoints/<step>`` folder.
      template: a learner's state, as `Learner.init` makes it.
      leaves: paths of what a policy needs, from `learn.policy_leaves`.

    Raises:
      ConfigError: damaged, or of other shapes.
    """
    meta = verify(path)
    if not is_alone(meta):
        return checkpoint.load(path, {"learner": template})["learner"]
    there, here = meta.arrays[ITEM], describe(template)
    for name in sorted({*leaves, *there}):
        if there.get(name) != here.get(name):
            raise ConfigError(
                f"checkpoint {path} does not fit this run: policy '{name}' is {_text(there.get(name))} in the "
                f"checkpoint and {_text(here.get(name))} in this run. Use the settings in its {META_FILE}."
            )
    size = sum(math.prod(shape) * np.dtype(kind).itemsize + HEADER for shape, kind in there.values())
    try:
        with zipfile.ZipFile(path / FILE) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > size:  # before anything is unpacked: a small archive can hold gigabytes
            raise ValueError(f"{unpacked} bytes in it, wanted at most {size}")
        with np.load(path / FILE, allow_pickle=False) as file:
            arrays = {name: file[name] for name in there}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged: {FILE} cannot be read ({error}).") from None
    if describe(arrays) != dict(there):
        raise DamagedCheckpoint(f"checkpoint {path} is damaged: {FILE} is not what {META_FILE} lists.")

    def filled(leaf_path: Any, leaf: Any) -> Any:
        name = jax.tree_util.keystr(leaf_path, simple=True, separator="/")
        return jnp.asarray(arrays[name]) if name in arrays else leaf

    return jax.tree_util.tree_map_with_path(filled, template)


def _named(tree: Any) -> dict[str, Any]:
    """Path -> leaf."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _text(leaf: Leaf | None) -> str:
    return "absent" if leaf is None else f"{leaf[1]}[{', '.join(map(str, leaf[0]))}]"
