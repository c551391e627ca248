"""Whether a run lies where it was begun, and what a run from elsewhere may not decide.

A config also records what belongs to the person and the machine: where the viewer listens, whose Weights &
Biases account is used, where files go. A run that is continued where it was begun keeps them. In one that was
copied, downloaded or received they are somebody else's.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holosoma_jax.config import compose, keys
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config

FILE = ".origin"
"""In the run's folder: the folder's own inode number, which no copy of it has."""
PERSONAL = (
    ("training", "headless"),
    ("training", "output_dir"),
    ("training", "warm_start"),
    ("training", "multigpu"),
    ("training", "distributed"),
    ("logger", "type"),
    ("logger", "mode"),
    ("logger", "entity"),
    ("logger", "dir"),
    ("logger", "video", "backend"),
    ("simulator", "config", "remote"),
    ("simulator", "config", "sim", "physx", "device"),
    ("simulator", "config", "sim", "physx", "num_threads"),
    ("simulator", "config", "mujoco", "num_threads"),
    ("simulator", "config", "isaacsim", "device"),
    ("viewer",),
    ("robot", "asset"),
)
"""Keys of the config that belong to the person and the machine: addresses, accounts, what is sent or fetched, the
interpreter that is started, which GPU and how many cores. ``robot.asset`` does where it is a path, ``logger.type``
where it is wandb."""
OF_MACHINE = tuple(path for path in PERSONAL if path[0] == "simulator")
"""Those of them that an evaluation of a policy file would act on."""

log = logging.getLogger(__name__)


def mark(folder: Path) -> None:
    """Record that the run in `folder` was begun there."""
    (folder / FILE).write_text(json.dumps({"inode": folder.stat().st_ino}))


def is_here(folder: Path) -> bool:
    """Whether the run in `folder` was begun there; renamed on the same file system, it still was."""
    file = folder / FILE
    try:
        if not file.is_file() or file.stat().st_size > 1000:  # a pipe or a device has no end
            return False
        record = json.loads(file.read_bytes())
        return record["inode"] == folder.stat().st_ino
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False


def require_no_way_out(folder: Path) -> None:
    """See that nothing in a run from elsewhere is a link that leads out of it: what is written there would follow it.

    Raises:
      ConfigError: something is; names it.
    """
    if is_here(folder) or not folder.is_dir():
        return
    inner = folder.resolve()
    for path in folder.rglob("*"):
        if path.is_symlink() and not _target(path).is_relative_to(inner):
            raise ConfigError(
                f"{folder} was not made here, and {path.relative_to(folder)} in it is a link to {os.readlink(path)}. "
                "Nothing is written through it; put the files themselves there if they are yours."
            )


def _target(link: Path) -> Path:
    try:
        return link.resolve()
    except (OSError, RuntimeError):  # a link to itself
        return Path(os.readlink(link))


def without_personal(
    config: Mapping[str, Any], source: Path, personal: Sequence[tuple[str, ...]] = PERSONAL
) -> Mapping[str, Any]:
    """`config` of the run, checkpoint or policy `source`, with the defaults of what is `personal`.

    Says what was left out.
    """
    defaults, changes, dropped = compose.to_mapping(Config()), dict[str, Any](), list[str]()
    for path in personal:
        default, value = _at(defaults, path), _at(config, path)
        if value in (None, default) or (path == ("robot", "asset") and os.sep not in str(value)):
            continue
        if path == ("logger", "type") and value != "wandb":  # the others send nothing
            continue
        dropped += _differences(".".join(path), value, default)
        for key in reversed(path):
            default = {key: default}
        changes = keys.overlay(changes, default)
    if dropped:
        log.warning(
            "%s was not made here, so these settings of it are left out: %s. Pass them as flags if you want them.",
            source,
            ", ".join(dropped),
        )
    return keys.overlay(config, changes)


def _at(config: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        config = config.get(key) if isinstance(config, Mapping) else None
    return config


def _differences(name: str, value: Any, default: Any) -> list[str]:
    """'key value' for each value below `name` that is not the default."""
    if not isinstance(value, Mapping) or not isinstance(default, Mapping):
        return [] if value == default else [f"{name} {value!r:.80}"]
    return [text for key in value for text in _differences(f"{name}.{key}", value[key], default.get(key))]
