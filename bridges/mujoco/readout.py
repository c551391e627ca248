"""The `SimState` that MuJoCo's coordinates mean: one pure function, for MuJoCo and for MuJoCo Warp.

Both simulators give coordinates and contact forces; link poses and velocities follow from the
coordinates (`bridges.kinematics`), by the same code for both.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

from bridges import kinematics
from bridges.mujoco.model import CONTACT, OBJECT
from bridges.protocol import SimState
from holosoma_jax import rotations
from holosoma_jax.robots.robot import Robot


class Layout(NamedTuple):
    """Where a robot's links, joints and contact sensors are in MuJoCo's arrays.

    Tuples all the way down, so that it hashes, as a static argument of jit must.
    """

    tree: kinematics.Tree
    root: int
    """index of the root body among the robot's"""
    joint_pos: tuple[int, ...]
    """[J] addresses in qpos"""
    joint_vel: tuple[int, ...]
    """[J] addresses in qvel"""
    sensed: tuple[int, ...]
    """[S] bodies with a contact sensor: those that have a geom which collides"""
    forces: tuple[tuple[int, int, int], ...]
    """[S, 3] addresses of their forces in sensordata"""
    object: tuple[int, int] | None = None
    """addresses of the object's pose in qpos and of its velocity in qvel; None: there is no object"""


def layout(model: mujoco.MjModel, robot: Robot) -> Layout:
    """The layout of `robot` in `model`, which `mujoco_model.build` made.

    Raises:
      ValueError: `kinematics.tree` cannot follow the robot.
    """
    joints = [model.joint(name) for name in robot.joint_names]
    sensors = {model.sensor(i).name: int(model.sensor_adr[i]) for i in range(model.nsensor)}
    sensed = tuple(b for b, name in enumerate(robot.body_names) if CONTACT + name in sensors)
    first = [sensors[CONTACT + robot.body_names[b]] for b in sensed]
    return Layout(
        kinematics.tree(model, robot.root_body, robot.body_names),
        robot.body_names.index(robot.root_body),
        tuple(int(joint.qposadr[0]) for joint in joints),
        tuple(int(joint.dofadr[0]) for joint in joints),
        sensed,
        tuple((adr, adr + 1, adr + 2) for adr in first),
        _object_addresses(model) if robot.object is not None else None,
    )


def _object_addresses(model: mujoco.MjModel) -> tuple[int, int]:
    joint = model.joint(OBJECT)
    return int(joint.qposadr[0]), int(joint.dofadr[0])


@partial(jax.jit, static_argnums=0)
def sim_state(
    layout: Layout, qpos: jax.Array, qvel: jax.Array, contact_force: jax.Array, lost: jax.Array
) -> SimState:
    """The state at these coordinates; NaN in the environments that are lost.

    Called from Python it is a jitted function of its own, whoever asks, so equal coordinates give equal bits.

    Args:
      layout: of the robot.
      qpos: [E, nq], the root's position and quaternion (w x y z), then joints in the model's order.
      qvel: [E, nv], the root's linear velocity (world) and spin (its own axes), then joints.
      contact_force: [E, B, 3] N, handed on.
      lost: [E] bool, diverged.
    """
    links = kinematics.links(layout.tree, qpos, qvel)
    state = SimState(
        *(field[:, layout.root] for field in links),
        joint_pos=qpos[:, np.array(layout.joint_pos)],
        joint_vel=qvel[:, np.array(layout.joint_vel)],
        body_pos=links.pos,
        body_quat=links.quat,
        body_lin_vel=links.lin_vel,
        body_ang_vel=links.ang_vel,
        contact_force=contact_force,
        **({} if layout.object is None else _object_state(layout.object, qpos, qvel)),
    )
    lost = lost.reshape(-1, 1)
    return jax.tree.map(lambda x: jnp.where(lost[..., None] if x.ndim == 3 else lost, jnp.nan, x), state)


def _object_state(addresses: tuple[int, int], qpos: jax.Array, qvel: jax.Array) -> dict[str, jax.Array]:
    """The object's fields of `SimState`; a free joint's spin is in the body's own axes."""
    q, v = addresses
    quat = qpos[:, q + 3 : q + 7]
    return {
        "object_pos": qpos[:, q : q + 3],
        "object_quat": quat,
        "object_lin_vel": qvel[:, v : v + 3],
        "object_ang_vel": rotations.rotate(quat, qvel[:, v + 3 : v + 6]),
    }
