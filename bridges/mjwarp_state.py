"""The state of all environments as JAX arrays, and what is read out of it: pure functions.

MuJoCo Warp computes in float32 and gives body velocities as `cvel`: the spatial velocity of the body
at the centre of mass of its whole tree, axes of the world. Velocities of the link origins follow from
v(p) = v(c) + w x (p - c).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from bridges.mjwarp_model import Fields
from bridges.mujoco_model import CONTACT
from bridges.protocol import Pose, SimState
from holosoma_jax.robots.robot import Robot


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


class Layout:
    """Where the robot's joints, bodies and contact sensors are in MuJoCo's arrays; static."""

    def __init__(self, model: mujoco.MjModel, robot: Robot):
        joints = [model.joint(name) for name in robot.joint_names]
        self.qpos = np.array([joint.qposadr[0] for joint in joints])
        self.qvel = np.array([joint.dofadr[0] for joint in joints])
        self.bodies = np.array([model.body(name).id for name in robot.body_names])
        self.root = robot.body_names.index(robot.root_body)
        self.tree = model.body(robot.root_body).id
        names = {model.sensor(i).name for i in range(model.nsensor)}
        self.sensed = np.array([b for b, n in enumerate(robot.body_names) if CONTACT + n in names], int)
        first = [model.sensor(CONTACT + robot.body_names[b]).adr[0] for b in self.sensed]
        self.forces = np.array(first, int)[:, None] + np.arange(3)


def observe(layout: Layout, physics: Physics, found: Mapping[str, jax.Array]) -> SimState:
    """The state to hand over; `found` are body poses and velocities computed at `physics`.

    Rows of diverged environments are NaN.
    """
    body_pos = found["xpos"][:, layout.bodies]
    velocity = found["cvel"][:, layout.bodies]
    spin, lin = velocity[..., :3], velocity[..., 3:]
    arm = body_pos - found["subtree_com"][:, layout.tree, None]
    body_quat, body_lin_vel = found["xquat"][:, layout.bodies], lin + jnp.cross(spin, arm)
    state = SimState(
        root_pos=body_pos[:, layout.root],
        root_quat=body_quat[:, layout.root],
        root_lin_vel=body_lin_vel[:, layout.root],
        root_ang_vel=spin[:, layout.root],
        joint_pos=physics.qpos[:, layout.qpos],
        joint_vel=physics.qvel[:, layout.qvel],
        body_pos=body_pos,
        body_quat=body_quat,
        body_lin_vel=body_lin_vel,
        body_ang_vel=spin,
        contact_force=physics.contact_force,
    )
    return SimState(*(where(physics.diverged, jnp.full_like(x, jnp.nan), x) for x in state))


def contact_forces(layout: Layout, num_bodies: int, sensordata: jax.Array) -> jax.Array:
    """[E, B, 3] N on every body; bodies without a geom that collides have none."""
    empty = jnp.zeros((sensordata.shape[0], num_bodies, 3), jnp.float32)
    return empty.at[:, layout.sensed].set(sensordata[:, layout.forces])


def place(layout: Layout, physics: Physics, mask: jax.Array, pose: Pose) -> Physics:
    """Start the environments `mask` [E] anew at `pose` [E, ...]."""
    quat = pose.root_quat / jnp.linalg.norm(pose.root_quat, axis=-1, keepdims=True)
    root = jnp.concatenate([pose.root_pos, quat], -1)
    qpos = physics.qpos.at[:, :7].set(root).at[:, layout.qpos].set(pose.joint_pos)
    zeros = jnp.zeros_like(physics.qvel)
    started = physics._replace(
        qpos=where(mask, qpos, physics.qpos),
        qvel=where(mask, zeros.at[:, layout.qvel].set(pose.joint_vel), physics.qvel),
        warmstart=where(mask, zeros, physics.warmstart),
        time=where(mask, jnp.zeros_like(physics.time), physics.time),
        contact_force=where(mask, jnp.zeros_like(physics.contact_force), physics.contact_force),
        diverged=physics.diverged & ~mask,
    )
    return push(started, mask, pose.root_lin_vel, pose.root_ang_vel)


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
