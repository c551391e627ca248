"""A second, transparent robot in a picture: the motion to be tracked beside the robot that tracks it."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from holosoma_jax.render.scene import BOX_RGBA, draw_box
from holosoma_jax.render.visual_model import VisualModel, set_pose

RGBA = (0.25, 0.55, 1.0, 0.3)
"""Blue, as the arrow of what the robot is commanded"""
BEHIND = 0.03
"""m that the ghost is moved away from the camera: where both robots are at one place, the other one is seen"""


class Ghost:
    """Draws another pose of a model into a scene that shows the model already."""

    def __init__(self, visual: VisualModel):
        """Prepare to pose `visual`."""
        self._visual, self._data = visual, mujoco.MjData(visual.model)
        self._option, self._perturb = mujoco.MjvOption(), mujoco.MjvPerturb()

    def add_to(
        self,
        scene: mujoco.MjvScene,
        root_pos: np.ndarray,
        root_quat: np.ndarray,
        joint_pos: np.ndarray,
        look: np.ndarray | None = None,
    ) -> None:
        """Append the ghost's geoms to `scene`; none if the pose is not finite.

        Args:
          scene: what is drawn of the model; as many geoms as there is room for are added.
          root_pos: [3] m.
          root_quat: [4] w x y z.
          joint_pos: [J] rad, in the robot's order.
          look: [3] unit vector, where the camera looks; None: not known.
        """
        if not all(np.isfinite(part).all() for part in (root_pos, root_quat, joint_pos)):
            return
        if look is not None:
            root_pos = root_pos + BEHIND * look
        set_pose(self._visual, self._data, root_pos, root_quat, joint_pos)
        first = scene.ngeom
        moving = int(mujoco.mjtCatBit.mjCAT_DYNAMIC)
        mujoco.mjv_addGeoms(self._visual.model, self._data, self._option, self._perturb, moving, scene)
        for geom in scene.geoms[first : scene.ngeom]:
            geom.rgba[:] = RGBA
            geom.matid, geom.transparent = -1, 1


def draw_boxes(
    scene: mujoco.MjvScene,
    size: Sequence[float] | None,
    box: tuple[np.ndarray | None, np.ndarray | None],
    ghost: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
) -> None:
    """Append the box beside the robot, and the ghost's, as far as their poses (m, w x y z) are given and finite."""
    for (pos, quat), rgba in ((box, BOX_RGBA), (ghost, RGBA)):
        if size is None or pos is None or quat is None or scene.ngeom >= scene.maxgeom:
            continue
        if np.isfinite(pos).all() and np.isfinite(quat).all():
            draw_box(scene.geoms[scene.ngeom], size, pos, quat, rgba)
            scene.ngeom += 1


def look_direction(camera: mujoco.MjvCamera) -> np.ndarray:
    """[3] unit vector that a free or tracking camera looks along."""
    azimuth, elevation = np.radians(camera.azimuth), np.radians(camera.elevation)
    flat = np.cos(elevation)
    return np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])
