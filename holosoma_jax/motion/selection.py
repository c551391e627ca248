"""The clips of a run: those that a config names, read, with transitions from and to the default pose."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.motion import edit, library
from holosoma_jax.motion.clip import Clip
from holosoma_jax.motion.kinematics import Skeleton
from holosoma_jax.motion.reading import read_all

log = logging.getLogger(__name__)
SHOWN = 3
"""Files of a folder that cannot be read, of which each gets a line; then one for the rest."""


class Transitions(NamedTuple):
    """Seconds of movement from and to the default pose, 0 for none."""

    before: float = 0.0
    after: float = 0.0


def select(
    names: Sequence[str],
    skeleton: Skeleton,
    fps: float,
    *,
    several: bool,
    bodies: str = "computed",
    transitions: Transitions | None = None,
) -> list[Clip]:
    """The clips in the files that `names` stand for, at `fps`, each with a name of its own.

    Args:
      names: files, folders, patterns, or names of clips that come with the package.
      skeleton: of the robot.
      fps: frames per second wanted.
      several: leave out files that cannot be read, with a warning; False: the first of them is an error.
      bodies: as of `read_all`.
      transitions: added to each clip.

    Raises:
      ConfigError: no such file, or none that can be read.
    """
    clips: list[Clip] = []
    faults: list[ConfigError] = []
    for item in library.find(names):
        try:
            clips += read_all(item.path, skeleton, bodies=bodies)
        except ConfigError as error:
            if not several:
                raise
            faults.append(error)
    for error in faults[:SHOWN]:
        log.warning("skipped: %s", error)
    if len(faults) > SHOWN:
        log.warning("skipped: %d more files that cannot be read.", len(faults) - SHOWN)
    if not clips:
        raise ConfigError(
            f"{', '.join(names)}: no file there can be read. {faults[0] if faults else ''}".strip()
        )
    before, after = transitions or Transitions()
    for seconds, which in ((before, "from"), (after, "to")):
        if seconds and round(seconds * fps) < 2:
            log.warning(
                "no transition %s the default pose: %g s are %d frames at %g fps, two are needed.",
                which,
                seconds,
                round(seconds * fps),
                fps,
            )
    ready = []
    for clip in clips:
        clip = edit.resample(skeleton, clip, fps)
        ready.append(edit.with_default_pose(skeleton, clip, before, after) if before or after else clip)
    return ready


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """`names`, those that occur again with a number behind them."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return tuple(out)
