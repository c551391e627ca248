"""Observations of whole-body tracking: `View` -> [E, dim].

J joints, K tracked bodies. "In the anchor's frame": turned and shifted into the frame of the robot's anchor body.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp
from pydantic import Field

from holosoma_jax import rotations
from holosoma_jax.config.schema.types import PositiveFloat
from holosoma_jax.envs.terms.motion import objects
from holosoma_jax.envs.terms.motion.reference import (
    anchors,
    clip_bounds,
    frames_at,
    motion_of,
    reference,
    robot_bodies,
    state_of,
)
from holosoma_jax.envs.view import View

Frames = Annotated[int, Field(ge=1, le=1000)]


def motion_command(view: View) -> jax.Array:
    """[E, 2 J] rad, rad/s: the clip's joint positions (not relative to the default pose) and velocities."""
    found = reference(view)
    return jnp.concatenate([found.joint_pos, found.joint_vel], axis=-1)


def motion_ref_ori_b(view: View) -> jax.Array:
    """[E, 6] the clip's anchor orientation in the anchor's frame, two columns of its matrix."""
    theirs, ours = anchors(view)
    return rotations.two_columns(rotations.multiply(rotations.conjugate(ours.quat), theirs.quat))


def motion_ref_pos_b(view: View) -> jax.Array:
    """[E, 3] m, the clip's anchor position in the anchor's frame."""
    theirs, ours = anchors(view)
    return rotations.rotate_inverse(ours.quat, theirs.pos - ours.pos)


def robot_body_pos_b(view: View) -> jax.Array:
    """[E, 3 K] m, the robot's tracked bodies in the anchor's frame, body by body."""
    bodies, (_, anchor) = robot_bodies(view), anchors(view)
    local = rotations.rotate_inverse(anchor.quat[:, None], bodies.pos - anchor.pos[:, None])
    return local.reshape(local.shape[0], -1)


def robot_body_ori_b(view: View) -> jax.Array:
    """[E, 6 K] orientations of the robot's tracked bodies in the anchor's frame, two columns of each matrix."""
    bodies, (_, anchor) = robot_bodies(view), anchors(view)
    local = rotations.multiply(rotations.conjugate(anchor.quat)[:, None], bodies.quat)
    return rotations.two_columns(local).reshape(local.shape[0], -1)


def motion_future(view: View, *, frames: Frames = 10, dt: PositiveFloat = 0.1) -> jax.Array:
    """[E, frames (2 J + 6)] what is to come: `motion_command` and `motion_ref_ori_b` of later frames.

    Args:
      view: the state.
      frames: how many, the nearest first; the clip's last frame stands in for those beyond its end.
      dt: s between them, rounded to whole control steps.
    """
    return _window(view, frames, dt)


def motion_past(view: View, *, frames: Frames = 10, dt: PositiveFloat = 0.1) -> jax.Array:
    """[E, frames (2 J + 6)] the same of earlier frames, the nearest first; the clip's first stands in before it."""
    return _window(view, frames, -dt)


def _window(view: View, frames: int, dt: float) -> jax.Array:
    motion, now = motion_of(view.scene), state_of(view).frame
    first, end = clip_bounds(view.scene, now)
    stride = max(1, round(abs(dt) / view.control_dt)) * (1 if dt > 0 else -1)
    inverse, parts = rotations.conjugate(robot_bodies(view).row(motion.anchor).quat), []
    for k in range(1, frames + 1):
        found = frames_at(view, jnp.clip(now + k * stride, first, end - 1))
        turned = rotations.multiply(inverse, found.body_quat[:, motion.anchor])
        parts += [found.joint_pos, found.joint_vel, rotations.two_columns(turned)]
    return jnp.concatenate(parts, axis=-1)


TERMS: dict[str, Callable[..., jax.Array]] = {
    "motion_command": motion_command,
    "motion_ref_ori_b": motion_ref_ori_b,
    "motion_ref_pos_b": motion_ref_pos_b,
    "robot_body_pos_b": robot_body_pos_b,
    "robot_body_ori_b": robot_body_ori_b,
    "motion_future": motion_future,
    "motion_past": motion_past,
    **objects.OBSERVATIONS,
}
