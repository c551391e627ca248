"""The state of all environments as JAX arrays, and what is written into it: pure functions."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bridges.mjwarp.model import Fields
from bridges.mujoco.gantry import Ropes
from bridges.mujoco.readout import Layout
from bridges.protocol import Pose


class Usage(NamedTuple):
    """What the environments have needed of MuJoCo Warp's buffers since `init`: the most so far."""

    rows: jax.Array
    """[E] int32, constraint rows of each environment"""
    contacts: jax.Array
    """[1] int32, contacts (or pairs of geoms that may touch) of all environments at once"""
    overflow: jax.Array
    """[E] int32, bits of `mujoco_warp.OverflowType`"""


class Physics(NamedTuple):
    """All that the next control step depends on: save it, copy it, go back to it."""

    qpos: jax.Array
    """[E, nq] the root's position and quaternion (w x y z), then joints in the model's order"""
    qvel: jax.Array
    """[E, nv] the root's linear velocity (world) and spin (its own axes), then joints"""
    warmstart: jax.Array
    """[E, nv] accelerations that the constraint solver starts from"""
    time: jax.Array
    """[E] s since the last reset"""
    contact_force: jax.Array
    """[E, B, 3] N, of the last physics step"""
    diverged: jax.Array
    """[E] bool: waits for a reset"""
    fields: Fields
    usage: Usage
    ropes: Ropes | None = None
    """of the gantry, if there is one"""


def contact_forces(layout: Layout, sensordata: jax.Array) -> jax.Array:
    """[E, B, 3] N on every body; bodies without a geom that collides have none."""
    empty = jnp.zeros((sensordata.shape[0], len(layout.tree.order), 3), jnp.float32)
    sensed, forces = np.array(layout.sensed, int), np.array(layout.forces, int).reshape(-1, 3)
    return empty.at[:, sensed].set(sensordata[:, forces])


def place(layout: Layout, initial: np.ndarray, physics: Physics, mask: jax.Array, pose: Pose) -> Physics:
    """Start the environments `mask` [E] anew at `pose` [E, ...]; an object without pose at its `initial` [nq] place."""
    quat = pose.root_quat / jnp.linalg.norm(pose.root_quat, axis=-1, keepdims=True)
    root = jnp.concatenate([pose.root_pos, quat], -1)
    qpos = physics.qpos.at[:, :7].set(root).at[:, np.array(layout.joint_pos)].set(pose.joint_pos)
    zeros = jnp.zeros_like(physics.qvel)
    qvel = zeros.at[:, np.array(layout.joint_vel)].set(pose.joint_vel)
    if layout.object is not None:
        qpos, qvel = place_object(*layout.object, initial, qpos, qvel, pose)
    started = physics._replace(
        qpos=where(mask, qpos, physics.qpos),
        qvel=where(mask, qvel, physics.qvel),
        warmstart=where(mask, zeros, physics.warmstart),
        time=where(mask, jnp.zeros_like(physics.time), physics.time),
        contact_force=where(mask, jnp.zeros_like(physics.contact_force), physics.contact_force),
        diverged=physics.diverged & ~mask,
    )
    return push(started, mask, pose.root_lin_vel, pose.root_ang_vel)


def place_object(
    q: int, v: int, initial: np.ndarray, qpos: jax.Array, qvel: jax.Array, pose: Pose
) -> tuple[jax.Array, jax.Array]:
    """`qpos` and `qvel` with the object of `pose`, whose addresses are q and v."""
    pos, attitude, lin, ang = pose.object_pos, pose.object_quat, pose.object_lin_vel, pose.object_ang_vel
    if pos is None or attitude is None or lin is None or ang is None:
        return qpos.at[:, q : q + 7].set(jnp.asarray(initial[None, q : q + 7], jnp.float32)), qvel
    quat = attitude / jnp.linalg.norm(attitude, axis=-1, keepdims=True)
    velocity = jnp.concatenate([lin, _to_body(quat, ang)], -1)
    placed = qpos.at[:, q : q + 7].set(jnp.concatenate([pos, quat], -1))
    return placed, qvel.at[:, v : v + 6].set(velocity)


def push(physics: Physics, mask: jax.Array, lin: jax.Array, ang: jax.Array) -> Physics:
    """Replace the root's world velocity [E, 3] in the environments `mask` [E]."""
    local = _to_body(physics.qpos[:, 3:7], ang)
    qvel = physics.qvel.at[:, :6].set(jnp.concatenate([lin, local], -1))
    return physics._replace(qvel=where(mask, qvel, physics.qvel))


def where(mask: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    """Rows of `new` [E, ...] where `mask` [E], of `old` elsewhere."""
    return jnp.where(mask.reshape((-1,) + (1,) * (old.ndim - 1)), new, old)


def _to_body(quat: jax.Array, vector: jax.Array) -> jax.Array:
    """World vectors [E, 3] in the axes of a body with the unit quaternions `quat` [E, 4] (w x y z)."""
    w, inverse = quat[:, :1], -quat[:, 1:]
    twice = 2.0 * jnp.cross(inverse, vector)
    return vector + w * twice + jnp.cross(inverse, twice)
