"""Whether a motion clip and the ground of a run belong together: the robot of the clip has to be on the ground."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs.terrain import Terrain
from holosoma_jax.motion import rotations
from holosoma_jax.motion.clip import Clip
from holosoma_jax.motion.kinematics import Skeleton

log = logging.getLogger(__name__)

TOLERANCE = 0.1
"""m that the robot's lowest point may be off the ground, in the median of a clip's frames"""
DEEP = 0.15
"""m that it may be below the ground in all but `RARE` of the frames"""
RARE = 0.02
FRAMES, TILES = 200, 50
"""of a clip and of the terrain that are looked at, evenly spaced"""


def require_fit(clips: Sequence[Clip], skeleton: Skeleton, terrain: Terrain) -> None:
    """See that the robot of every clip is on the ground, wherever environments start.

    A plane is taken for any clip, as most files do not say what they were made on; a clip that does, or that is not
    on the plane, is logged.

    Raises:
      ConfigError: one is above or below it, or leaves it; names the clip, by how much, and the frame.
    """
    if terrain.ground.heights is None:
        if made := next((clip for clip in clips if clip.terrain is not None), None):
            log.warning(
                "clip '%s' was made on the ground '%s', and this run has a plane. terrain:terrain-slope has the mesh "
                "'slope'; --terrain.terrain-term.obj-file-path FILE another.",
                made.name,
                made.terrain,
            )
        for clip in clips:
            _log_height(clip, skeleton)
        return
    origins = (
        terrain.tile_origins.reshape(-1, 3) if terrain.spawn.randomize_tiles else terrain.tile_origins[0, :1]
    )
    origins = origins[np.linspace(0, len(origins) - 1, min(len(origins), TILES)).astype(int)]
    for clip in clips:
        frames = np.linspace(0, clip.num_frames - 1, min(clip.num_frames, FRAMES)).astype(int)
        points = lowest_points(clip, skeleton, frames)[None] + origins[:, None, None]  # [O, T, B, 3]
        _require_inside(clip, frames, points, terrain)
        height = points[..., 2] - np.asarray(terrain.height(jnp.asarray(points[..., :2], jnp.float32)))
        lowest = height.min(-1)  # [O, T]
        middle, deep = np.median(lowest, 1), np.quantile(lowest, RARE, axis=1)
        worst = int(np.abs(middle).argmax())
        if abs(middle[worst]) > TOLERANCE:
            _refuse(
                clip, terrain, f"{middle[worst]:+.2f} m from it in the median, wanted at most {TOLERANCE:g}"
            )
        if deep.min() < -DEEP:
            at = int(frames[lowest[int(deep.argmin())].argmin()])
            _refuse(clip, terrain, f"{-lowest.min():.2f} m below it in frame {at}, wanted at most {DEEP:g}")


def _log_height(clip: Clip, skeleton: Skeleton) -> None:
    """Log a clip whose robot is more than `TOLERANCE` from the plane in the median of its frames."""
    if clip.terrain is not None:
        return
    frames = np.linspace(0, clip.num_frames - 1, min(clip.num_frames, FRAMES)).astype(int)
    middle = float(np.median(lowest_points(clip, skeleton, frames)[..., 2].min(-1)))
    if abs(middle) > TOLERANCE:
        log.warning(
            "clip '%s': the robot's lowest point is %+.2f m from the plane in the median, and episodes start there. "
            "python -m holosoma_jax.motion convert FILE --ground --output NEW.npz puts the feet on it.",
            clip.name,
            middle,
        )


def lowest_points(clip: Clip, skeleton: Skeleton, frames: np.ndarray) -> np.ndarray:
    """World positions [T, B', 3] m of the lowest points of the bodies that collide, at `frames` [T]."""
    pos, quat = clip.body_pos[frames], clip.body_quat[frames]
    heights, local = skeleton.heights(pos, quat)
    solid = np.isfinite(heights).all(0)
    return (pos + rotations.rotate(quat, local))[:, solid]


def _require_inside(clip: Clip, frames: np.ndarray, points: np.ndarray, terrain: Terrain) -> None:
    ground = terrain.ground
    assert ground.heights is not None
    low = np.array(ground.corner)
    high = low + ground.cell * (np.array(ground.heights.shape) - 1)
    outside = np.maximum(points[..., :2] - high, low - points[..., :2]).max((0, 2, 3))  # [T]
    if outside.max() > 0.0:
        at = int(outside.argmax())
        size = " x ".join(f"{length:g}" for length in high - low)
        _refuse(
            clip, terrain, f"{outside[at]:.2f} m beyond its edge in frame {frames[at]} (it measures {size} m)"
        )


def _refuse(clip: Clip, terrain: Terrain, how: str) -> None:
    moved = "" if terrain.spawn.at_world_origin else "; terrain:terrain-slope keeps the mesh's coordinates"
    raise ConfigError(
        f"clip '{clip.name}' and the ground do not fit: the robot's lowest point is {how}. Choose the ground that the "
        f"clip was made on (docs/tracking_objects.md){moved}, or terrain:terrain-plane."
    )
