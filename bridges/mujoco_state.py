"""Reading `SimState` out of a MuJoCo batch.

The batch gives coordinates and contact forces; link poses and velocities follow from the coordinates
in one compiled program (`bridges.kinematics`).
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from mujoco.batch import Batch

from bridges import exchange, kinematics
from bridges.mujoco_model import CONTACT
from bridges.protocol import Array, SimState
from holosoma_jax.robots.robot import Robot

_DIVERGED = [
    int(warning)
    for warning in (
        mujoco.mjtWarning.mjWARN_BADQPOS,
        mujoco.mjtWarning.mjWARN_BADQVEL,
        mujoco.mjtWarning.mjWARN_BADQACC,
    )
]


class Coordinates(NamedTuple):
    """All that a `SimState` is made from: NumPy arrays that JAX can share, or the JAX arrays that share them."""

    qpos: Array
    """[E, nq] float32"""
    qvel: Array
    """[E, nv] float32"""
    contact_force: Array
    """[E, B, 3] N float32, of the last physics step"""
    lost: Array
    """[E] bool: diverged"""


class Readout:
    """Takes `Coordinates` out of one batch."""

    def __init__(self, batch: Batch, robot: Robot):
        model = batch.model
        sensed = [b for b, name in enumerate(robot.body_names) if _has_sensor(model, name)]
        forces = [model.sensor(CONTACT + robot.body_names[b]).adr[0] for b in sensed]
        self._batch = batch
        self._sensed = np.array(sensed, int)
        self._forces = np.array(forces, int)[:, None] + np.arange(3)
        e = batch.nsim
        self._shapes = ((e, model.nq), (e, model.nv), (e, robot.num_bodies, 3))
        batch.bind("sensordata")  # MuJoCo copies out what is bound before a call

    def coordinates(self, contact_force: np.ndarray | None = None) -> Coordinates:
        """The present ones.

        contact_force: [E, B, 3] to put in place of the batch's, which hold only after a step.
        """
        qpos, qvel, force = exchange.empty(self._shapes)
        qpos[...] = self._batch.qpos
        qvel[...] = self._batch.qvel
        if contact_force is None:
            force[...] = 0.0
            force[:, self._sensed] = self._batch.sensordata[:, self._forces]
        else:
            force[...] = contact_force
        return Coordinates(qpos, qvel, force, self.diverged())

    def diverged(self) -> np.ndarray:
        """[E] bool: environments whose state became non-finite or huge since their last reset.

        MuJoCo then counts a warning and starts the environment anew from the model's defaults.
        """
        return (self._batch.warning[:, _DIVERGED, 1] > 0).any(1)

    def mark_diverged(self, ids: np.ndarray) -> None:
        """Count the environments `ids` as diverged, until their next reset."""
        self._batch.warning[ids, _DIVERGED[-1], 1] += 1


class Layout(NamedTuple):
    """Where a robot's links and joints are among the coordinates; hashes, as an argument of jit must."""

    tree: kinematics.Tree
    root: int
    """index of the root body"""
    joint_pos: tuple[int, ...]
    joint_vel: tuple[int, ...]


def layout(model: mujoco.MjModel, robot: Robot) -> Layout:
    """The layout of `robot` in `model`.

    Raises:
      ValueError: `kinematics.tree` cannot follow the robot.
    """
    joints = [model.joint(name) for name in robot.joint_names]
    return Layout(
        kinematics.tree(model, robot.root_body, robot.body_names),
        robot.body_names.index(robot.root_body),
        tuple(int(joint.qposadr[0]) for joint in joints),
        tuple(int(joint.dofadr[0]) for joint in joints),
    )


@partial(jax.jit, static_argnums=0)
def read(layout: Layout, at: Coordinates) -> SimState:
    """The state that `at`, as JAX arrays, means; NaN in the environments that are lost."""
    links = kinematics.links(layout.tree, at.qpos, at.qvel)
    state = SimState(
        *(field[:, layout.root] for field in links),
        joint_pos=at.qpos[:, np.array(layout.joint_pos)],
        joint_vel=at.qvel[:, np.array(layout.joint_vel)],
        body_pos=links.pos,
        body_quat=links.quat,
        body_lin_vel=links.lin_vel,
        body_ang_vel=links.ang_vel,
        contact_force=at.contact_force,
    )
    lost = at.lost.reshape(-1, 1)
    return SimState(*(jnp.where(lost[..., None] if x.ndim == 3 else lost, jnp.nan, x) for x in state))


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross product a x b along the last axis, both of one shape; several times faster than np.cross."""
    out = np.empty_like(b)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        np.multiply(a[..., j], b[..., k], out=out[..., i])
        out[..., i] -= a[..., k] * b[..., j]
    return out


def _has_sensor(model: mujoco.MjModel, body: str) -> bool:
    return mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SENSOR, CONTACT + body) >= 0
