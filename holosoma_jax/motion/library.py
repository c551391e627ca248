"""The clips that come with the package, and files named by a person: folders, patterns, clip names."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.files import expanded

FOLDER = Path(__file__).parent / "clips"
SUFFIXES = frozenset({".npz", ".npy", ".csv", ".pkl", ".pickle", ".joblib"})
"""what a folder is searched for; a file that is named itself may have any"""


def shipped() -> dict[str, Path]:
    """Name -> file of the clips that come with the package; made by `generate`."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.npz"))}


class Found(NamedTuple):
    """A motion file, and where it lies below the folder that was named."""

    path: Path
    below: Path
    """of its folder; '.' for a file that was named itself"""


def find(names: Sequence[str | os.PathLike[str]]) -> list[Found]:
    """Files for what a person names: a file, a shipped clip, a pattern, or a folder with all its files.

    Raises:
      ConfigError: one of them is nothing of that; names it.
    """
    out: list[Found] = []
    for name in (os.fspath(n) for n in names):
        path = expanded(name)
        if path.is_dir() and not _is_sonic(path):
            inside = _inside(path)
            if not inside:
                raise ConfigError(
                    f"{name}: is a folder without a motion file ({', '.join(sorted(SUFFIXES))})."
                )
            out += (Found(p, p.parent.relative_to(path)) for p in inside)
        elif path.exists():
            out.append(Found(path, Path()))
        elif name in (ours := shipped()):
            out.append(Found(ours[name], Path()))
        elif matches := sorted(glob.glob(str(path), recursive=True)):
            out += (Found(Path(match), Path()) for match in matches)
        else:
            raise ConfigError(
                f"{name}: no such file, and no clip of ours.{nearest(name, ours)} Ours: {', '.join(ours)}."
            )
    return out


def _inside(folder: Path) -> list[Path]:
    sonic = sorted(p.parent for p in folder.rglob("joint_pos.csv") if _is_sonic(p.parent))
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    return [p for p in files if p.parent not in sonic] + sonic


def _is_sonic(folder: Path) -> bool:
    return (folder / "joint_pos.csv").is_file() and (folder / "body_quat.csv").is_file()
