"""The clips of a run, and the reference state that each environment is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from holosoma_jax import rotations
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs.scene import Scene
from holosoma_jax.envs.view import View
from holosoma_jax.motion.batch import Clips, Frames

MOTION = "motion_command"
"""The command term that the terms of this folder read."""
ASSET = "motion"
"""Where `Scene.assets` holds the `Motion`."""


@dataclass(frozen=True, eq=False)
class Motion:
    """M clips of one robot with K tracked bodies; arrays are on the device, facts are Python values."""

    clips: Clips
    names: tuple[str, ...]
    """[M]"""
    weights: np.ndarray
    """[M] how often each clip is started, relative to the others"""
    bodies: tuple[str, ...]
    """[K] tracked bodies"""
    anchor: int
    """index of the anchor in `bodies`"""
    rows: np.ndarray
    """[K] int32, the tracked bodies among the robot's"""


class MotionState(struct.PyTreeNode):
    """State of the motion command; F frames of all clips, S bins of the sampler."""

    frame: jax.Array
    """[E] int32 in [0, F): the frame that the robot is to be in"""
    start: jax.Array
    """[E] int32, the frame that the robot was last placed in"""
    replaced: jax.Array
    """[E] bool: the clip ended in this step, and the robot is placed anew within its episode"""
    target_pos: jax.Array
    """[E, K, 3] m, tracked bodies' positions, aligned with the robot (`align`)"""
    target_quat: jax.Array
    """[E, K, 4]"""
    failures: jax.Array
    """[S] moving average of failures per control step; with several devices the mean of theirs, once an iteration"""
    counted: jax.Array
    """[S] failures of this control step"""


class Bodies(NamedTuple):
    """Poses and velocities of the tracked bodies, world frame."""

    pos: jax.Array
    """[E, K, 3] m"""
    quat: jax.Array
    """[E, K, 4]"""
    lin_vel: jax.Array
    """[E, K, 3] m/s"""
    ang_vel: jax.Array
    """[E, K, 3] rad/s"""

    def row(self, index: int) -> Bodies:
        """The one body, each [E, 3] or [E, 4]."""
        return Bodies(*(x[:, index] for x in self))


def motion_of(scene: Scene) -> Motion:
    """The clips of the run.

    Raises:
      ConfigError: there are none, because the task is another.
    """
    found = scene.assets.get(ASSET)
    if not isinstance(found, Motion):
        raise ConfigError(
            f"command.setup_terms.{MOTION}: only the task 'tracking' reads motion clips; choose task:tracking, or a "
            "preset such as exp:g1-29dof-wbt."
        )
    return found


def clip_bounds(scene: Scene, frame: jax.Array) -> tuple[jax.Array, jax.Array]:
    """First frame and end (last frame + 1) [E] int32 of the clips that `frame` [E] int32 lies in."""
    clips = motion_of(scene).clips
    clip = jnp.asarray(clips.clip)[frame]
    first = jnp.asarray(clips.start)[clip]
    return first, first + jnp.asarray(clips.length)[clip]


def state_of(view: View) -> MotionState:
    """The motion command's state; raises ConfigError where the config has no such command."""
    return view.commands[MOTION]


def frames_at(view: View, frame: jax.Array) -> Frames:
    """The reference states at `frame` [E] int32, with the origins of the environments added."""
    found = motion_of(view.scene).clips.at(frame)
    origin = view.origin
    moved = found._replace(root_pos=found.root_pos + origin, body_pos=found.body_pos + origin[:, None])
    return moved if found.object_pos is None else moved._replace(object_pos=found.object_pos + origin)


def reference(view: View) -> Frames:
    """The reference state of every environment."""
    return frames_at(view, state_of(view).frame)


def reference_bodies(view: View) -> Bodies:
    """The tracked bodies as the clip has them."""
    found = reference(view)
    return Bodies(found.body_pos, found.body_quat, found.body_lin_vel, found.body_ang_vel)


def robot_bodies(view: View) -> Bodies:
    """The tracked bodies as the robot has them."""
    rows, sim = motion_of(view.scene).rows, view.sim
    arrays = (sim.body_pos, sim.body_quat, sim.body_lin_vel, sim.body_ang_vel)
    return Bodies(*(x[:, rows] for x in arrays))


def anchors(view: View) -> tuple[Bodies, Bodies]:
    """The anchor body: the clip's and the robot's."""
    index = motion_of(view.scene).anchor
    return reference_bodies(view).row(index), robot_bodies(view).row(index)


def align(
    anchor_pos: jax.Array,
    anchor_quat: jax.Array,
    robot_pos: jax.Array,
    robot_quat: jax.Array,
    body_pos: jax.Array,
    body_quat: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The clip's bodies moved to the robot's place and heading; heights stay the clip's.

    The turn is the yaw of the rotation between the anchors, which is not the difference of their yaws
    where roll or pitch differ.

    Args:
      anchor_pos: [E, 3] m, of the clip.
      anchor_quat: [E, 4]
      robot_pos: [E, 3] m, the robot's anchor.
      robot_quat: [E, 4]
      body_pos: [E, K, 3] m, of the clip.
      body_quat: [E, K, 4]

    Returns:
      Positions [E, K, 3] and orientations [E, K, 4].
    """
    delta = rotations.multiply(robot_quat, rotations.conjugate(anchor_quat))
    turn = rotations.about_z(rotations.heading(delta))[:, None]
    place = robot_pos.at[:, 2].set(anchor_pos[:, 2])
    pos = place[:, None] + rotations.rotate(turn, body_pos - anchor_pos[:, None])
    return pos, rotations.multiply(turn, body_quat)
