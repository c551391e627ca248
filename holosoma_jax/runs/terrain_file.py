"""The mesh that a run's terrain is made from, kept in the run's folder, so that the run works from anywhere."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from holosoma_jax.config.schema import TerrainConfig
from holosoma_jax.files import expanded

FOLDER = "terrain"
"""in the run's folder"""
LARGEST = 200_000_000
"""bytes of a mesh file that is copied"""

log = logging.getLogger(__name__)


def keep(cfg: TerrainConfig, run: Path) -> None:
    """Copy the mesh file of `cfg` into `run`, if there is one; a warning says why it cannot be."""
    term = cfg.terrain_term
    if term.mesh_type != "load_obj":
        return
    source = expanded(term.obj_file_path)
    if not source.is_file():
        return  # whoever builds the run says what is wrong
    if source.stat().st_size > LARGEST:
        size = source.stat().st_size / 1e6
        log.warning("%s holds %.0f MB and is not copied into the run; keep it in its place.", source, size)
        return
    target = run / FOLDER / source.name
    try:
        target.parent.mkdir()
        shutil.copyfile(source, target)
    except OSError as error:
        shutil.rmtree(target.parent, ignore_errors=True)
        log.warning("%s is not copied into the run (%s); keep it in its place.", source, error)


def path_in(run: Path) -> str | None:
    """The mesh file in `run`; None where there is none."""
    return next((str(path) for path in sorted((run / FOLDER).glob("*")) if path.is_file()), None)
