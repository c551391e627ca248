"""The policies that come with the package, each a run of its own below ``holosoma_jax/pretrained``.

``pretrained:NAME`` names one wherever a run's policy is read. ``record.json`` beside the checkpoint states the
command that trained it, and its scores; `benchmarks.ship` writes both.
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from holosoma_jax.config.errors import ConfigError, nearest

SCHEME = "pretrained:"
FOLDER = "pretrained"
"""in the package"""
RECORD = "record.json"


def is_name(text: str | os.PathLike[str]) -> bool:
    """Whether `text` names a policy of the package, be it there or not."""
    return str(text).startswith(SCHEME)


def folder() -> Path:
    """Where the policies lie."""
    return Path(str(resources.files("holosoma_jax") / FOLDER))


def shipped() -> dict[str, Path]:
    """Name -> the folder of a run with one checkpoint."""
    return {path.name: path for path in sorted(folder().glob("*")) if (path / "checkpoints").is_dir()}


def find(text: str | os.PathLike[str], key: str = "--checkpoint") -> Path:
    """The run that ``pretrained:NAME`` stands for.

    Raises:
      ConfigError: there is none of that name; the message names `key` and those that there are.
    """
    name, known = str(text).removeprefix(SCHEME), shipped()
    if name in known:
        return known[name]
    if not known:
        raise ConfigError(
            f"{key}: '{text}' is not there: this version comes with no pretrained policy yet. Train one "
            "(python -m holosoma_jax.train exp:g1-29dof-fast-sac-cpu) and give its run's folder."
        )
    raise ConfigError(f"{key}: no policy '{text}'.{nearest(name, known)} There are: {', '.join(known)}.")
