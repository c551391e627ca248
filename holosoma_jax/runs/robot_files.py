"""The robot's own files in the run's folder, so that a run on a robot of one's own works from anywhere."""

from __future__ import annotations

import logging
import shutil
from functools import partial
from pathlib import Path

from holosoma_jax import robots
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.files import expanded

FOLDER = "robot"
"""in the run's folder"""
LARGEST = 200_000_000
"""bytes of a robot's folder that are copied"""

log = logging.getLogger(__name__)


def keep(asset: str, run: Path) -> None:
    """Copy the folder of robot `asset` into `run`, unless it is one of the package's.

    A copy that does not load, because its model names files elsewhere, is not kept; a warning says so.
    """
    try:
        source = robots.load(asset, report=False)
    except ConfigError:
        return  # whoever builds the run says what is wrong
    if robots.is_built_in(source.mjcf):
        return
    folder, target = expanded(asset), run / FOLDER
    if run.resolve().is_relative_to(folder.resolve()):  # a copy would hold itself
        log.warning("%s is not copied into the run, which lies inside of it; keep it in its place.", folder)
        return
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > LARGEST:
        log.warning(
            "%s holds %.0f MB and is not copied into the run; keep it in its place.", folder, size / 1e6
        )
        return
    try:
        shutil.copytree(folder, target, ignore=partial(_leading_out, folder.resolve()))
        robots.load(str(target), report=False)
    except (OSError, shutil.Error, ConfigError) as error:
        shutil.rmtree(target, ignore_errors=True)
        log.warning("%s is not copied into the run (%s); keep it in its place.", folder, error)


def _leading_out(inner: Path, folder: str, names: list[str]) -> list[str]:
    """Those of `names` that are links out of `inner`, or to folders: not files of the robot."""
    links = [name for name in names if (Path(folder) / name).is_symlink()]
    return [
        name
        for name in links
        if (Path(folder) / name).is_dir() or not (Path(folder) / name).resolve().is_relative_to(inner)
    ]


def path_in(run: Path) -> str | None:
    """The robot's folder in `run`, as an asset; None where there is none."""
    folder = run / FOLDER
    return str(folder) if (folder / "robot.yaml").is_file() else None
