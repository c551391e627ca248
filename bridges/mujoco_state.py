"""Reading `SimState` out of a MuJoCo batch.

MuJoCo computes in float64 and gives body velocities as `cvel`: the spatial velocity of the body at
the centre of mass of its whole tree, axes of the world. Velocities of the link origins follow from
v(p) = v(c) + w x (p - c), evaluated in float64: terrain coordinates reach hundreds of metres.
"""

from __future__ import annotations

import mujoco
import numpy as np
from mujoco.batch import Batch

from bridges import exchange
from bridges.mujoco_model import CONTACT
from bridges.protocol import SimState
from holosoma_jax.robots.robot import Robot

_DIVERGED = [
    int(warning)
    for warning in (
        mujoco.mjtWarning.mjWARN_BADQPOS,
        mujoco.mjtWarning.mjWARN_BADQVEL,
        mujoco.mjtWarning.mjWARN_BADQACC,
    )
]


class Readout:
    """Fills `SimState`s of NumPy arrays from one batch."""

    def __init__(self, batch: Batch, robot: Robot):
        model = batch.model
        bodies = [model.body(name).id for name in robot.body_names]
        joints = [model.joint(name) for name in robot.joint_names]
        sensed = [b for b, name in enumerate(robot.body_names) if _has_sensor(model, name)]
        forces = [model.sensor(CONTACT + robot.body_names[b]).adr[0] for b in sensed]
        self._batch = batch
        self._root = robot.body_names.index(robot.root_body)
        self._tree = model.body(robot.root_body).id
        self._bodies = _as_slice(bodies)
        self._qpos = _as_slice([joint.qposadr[0] for joint in joints])
        self._qvel = _as_slice([joint.dofadr[0] for joint in joints])
        self._sensed = np.array(sensed, int)
        self._forces = np.array(forces, int)[:, None] + np.arange(3)
        e, b, j = batch.nsim, robot.num_bodies, robot.num_joints
        self.shapes = SimState(
            root_pos=(e, 3),
            root_quat=(e, 4),
            root_lin_vel=(e, 3),
            root_ang_vel=(e, 3),
            joint_pos=(e, j),
            joint_vel=(e, j),
            body_pos=(e, b, 3),
            body_quat=(e, b, 4),
            body_lin_vel=(e, b, 3),
            body_ang_vel=(e, b, 3),
            contact_force=(e, b, 3),
        )
        for name in ("xpos", "xquat", "cvel", "subtree_com", "sensordata"):
            batch.bind(name)  # MuJoCo copies out what is bound before a call

    def empty(self) -> SimState:
        """Uninitialised arrays that JAX can share."""
        return SimState(*exchange.empty(self.shapes))

    def kinematics(self, out: SimState, rows: np.ndarray | slice) -> None:
        """Write everything but contact forces of the environments `rows` into `out`.

        The batch must have computed mjSTAGE_VEL at their states.
        """
        batch = self._batch
        pos = batch.xpos[rows][:, self._bodies]
        arm = (pos - batch.subtree_com[rows][:, None, self._tree]).astype(np.float32)
        velocity = batch.cvel[rows][:, self._bodies].astype(np.float32)
        spin, lin = velocity[..., :3], velocity[..., 3:]
        out.body_pos[rows] = pos
        out.body_quat[rows] = batch.xquat[rows][:, self._bodies]
        out.body_ang_vel[rows] = spin
        out.body_lin_vel[rows] = lin + cross(spin, arm)
        out.joint_pos[rows] = batch.qpos[rows][:, self._qpos]
        out.joint_vel[rows] = batch.qvel[rows][:, self._qvel]
        for root, body in zip(out[:4], out[6:10], strict=True):
            root[rows] = body[rows][:, self._root]

    def contacts(self, out: SimState) -> None:
        """Write the contact forces of the last physics step into `out`."""
        out.contact_force[...] = 0.0
        out.contact_force[:, self._sensed] = self._batch.sensordata[:, self._forces]

    def diverged(self) -> np.ndarray:
        """[E] bool: environments whose state became non-finite or huge since their last reset.

        MuJoCo then counts a warning and starts the environment anew from the model's defaults.
        """
        return (self._batch.warning[:, _DIVERGED, 1] > 0).any(1)

    def mark_diverged(self, ids: np.ndarray) -> None:
        """Count the environments `ids` as diverged, until their next reset."""
        self._batch.warning[ids, _DIVERGED[-1], 1] += 1


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross product a x b along the last axis, both of one shape; several times faster than np.cross."""
    out = np.empty_like(b)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        np.multiply(a[..., j], b[..., k], out=out[..., i])
        out[..., i] -= a[..., k] * b[..., j]
    return out


def _has_sensor(model: mujoco.MjModel, body: str) -> bool:
    return mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SENSOR, CONTACT + body) >= 0


def _as_slice(index: list[int]) -> slice | np.ndarray:
    """The same indices as a slice, which copies nothing, where they are consecutive."""
    first = int(index[0])
    if list(index) == list(range(first, first + len(index))):
        return slice(first, first + len(index))
    return np.array(index)
