"""A batch of MuJoCo environments in NumPy: no tokens, no JAX, inputs already checked.

`ids` are the environments a call acts on: sorted, unique int32.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import mujoco
import numpy as np
from mujoco.batch import Batch, SimulationError

from bridges import checks
from bridges.mujoco import gantry as ropes
from bridges.mujoco.params import Parameters
from bridges.mujoco.readout import Layout
from bridges.mujoco.state import BatchReader, Coordinates, cross
from bridges.mujoco.targets import Targets
from bridges.protocol import PhysicsParams

if TYPE_CHECKING:
    from holosoma_jax.config.schema import VirtualGantryConfig
    from holosoma_jax.robots.robot import Robot

_LOG = logging.getLogger(__name__)
_NOTHING = int(mujoco.mjtStage.mjSTAGE_NONE)
"""no computation after the last physics step: `bridges.kinematics` does it"""


class Engine:
    """The state of all environments, in place, and the calls that change or read it.

    There is one MjData a thread, not one an environment (`persistent`): for 1,024 G1s the latter
    takes 380 MB more and is no faster, as it saves kinematics and pays in cache misses.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        layout: Layout,
        targets: Targets,
        num_envs: int,
        *,
        threads: int,
        gantry: tuple[VirtualGantryConfig, Robot] | None = None,
    ):
        self._batch = Batch(model, num_envs, min(threads, num_envs))
        self._reader = BatchReader(self._batch, layout)
        self._qpos, self._qvel = np.array(layout.joint_pos), np.array(layout.joint_vel)
        self._object = layout.object
        self.params = Parameters(self._batch, targets)
        self._gantry = gantry
        if gantry is not None:
            self._held = ropes.attached(*gantry, model)
            self._ropes = ropes.at_start(*gantry, np.zeros((num_envs, 3), np.float32))

    def place(self, ids: np.ndarray, pose: Mapping[str, np.ndarray]) -> None:
        """Start the environments `ids` anew at `pose`: the fields of a `Pose`, [len(ids), ...]."""
        self._batch.reset(ids, stage=_NOTHING)
        quat = pose["root_quat"].astype(np.float64)
        qpos, qvel = self._batch.qpos, self._batch.qvel
        qpos[ids, :3] = pose["root_pos"]
        qpos[ids, 3:7] = quat / np.linalg.norm(quat, axis=1, keepdims=True)
        qpos[np.ix_(ids, self._qpos)] = pose["joint_pos"]
        qvel[np.ix_(ids, self._qvel)] = pose["joint_vel"]
        if self._object is not None and pose.get("object_pos") is not None:
            self._place_object(ids, *self._object, pose)
        if self._gantry is not None:
            self._tie(ids, ropes.at_start(*self._gantry, pose["root_pos"]))
        self.set_root_velocity(ids, pose["root_lin_vel"], pose["root_ang_vel"])

    def _place_object(self, ids: np.ndarray, q: int, v: int, pose: Mapping[str, np.ndarray]) -> None:
        """Without it the object stays at its initial place, where the reset has put it."""
        quat = pose["object_quat"].astype(np.float64)
        quat /= np.linalg.norm(quat, axis=1, keepdims=True)
        qpos, qvel = self._batch.qpos, self._batch.qvel
        qpos[ids, q : q + 3], qpos[ids, q + 3 : q + 7] = pose["object_pos"], quat
        qvel[ids, v : v + 3] = pose["object_lin_vel"]
        qvel[ids, v + 3 : v + 6] = _to_body(quat, pose["object_ang_vel"].astype(np.float64))

    def set_root_velocity(self, ids: np.ndarray, lin: np.ndarray, ang: np.ndarray) -> None:
        """World velocities [len(ids), 3] into the free joint, whose spin is in the body's axes."""
        self._batch.qvel[ids, :3] = lin
        self._batch.qvel[ids, 3:6] = _to_body(self._batch.qpos[ids, 3:7], ang.astype(np.float64))

    def step(self, targets: np.ndarray, torque_offset: np.ndarray | None, decimation: int) -> Coordinates:
        """Step all environments `decimation` times; the state reached.

        A torque offset [E, decimation, J] enters as a shift of the target by offset / kp: the same
        torque before the clip, which is the actuator's.
        """
        control = None
        if torque_offset is not None:
            control = targets.astype(np.float64)[:, None] + torque_offset / self.params.kp()[:, None]
        if self._gantry is None:
            self._advance(targets, control, decimation)
        else:
            self._advance_hanging(targets, control, decimation)
        return self._reader.coordinates()

    def hang(self, ids: np.ndarray, length: np.ndarray) -> None:
        """Hold the environments `ids` by ropes of rest length [len(ids)] m from above where they are."""
        now = ropes.Ropes(*(field[ids] for field in self._ropes))
        self._tie(ids, ropes.over(now, self._batch.qpos[ids, :3], length))

    def _advance(self, targets: np.ndarray, control: np.ndarray | None, steps: int) -> None:
        """`steps` sub-steps towards `targets` [E, J], or towards those of `control` [E, steps, J]."""
        if control is None:
            self._batch.ctrl[:] = targets
            self._run(self._batch.step, nstep=steps, stage=_NOTHING)
        else:
            self._run(self._batch.rollout, nstep=steps, control=control, record=())

    def _advance_hanging(self, targets: np.ndarray, control: np.ndarray | None, steps: int) -> None:
        """The same one by one, for the ropes' forces change with the robots' places."""
        assert self._gantry is not None
        cfg, batch = self._gantry[0], self._batch
        length = ropes.rest_length(cfg, self._ropes, batch.time)
        for k in range(steps):
            force = ropes.tension(cfg, self._ropes.anchor, length, batch.qpos[:, :3], batch.qvel[:, :3])
            batch.xfrc_applied[:, self._held, :3] = force
            self._advance(targets, None if control is None else control[:, k : k + 1], 1)

    def _tie(self, ids: np.ndarray, new: ropes.Ropes) -> None:
        for held, rows in zip(self._ropes, new, strict=True):
            held[ids] = rows

    def observe(self, contact_force: np.ndarray) -> Coordinates:
        """The present state, with `contact_force` [E, B, 3] of the step before it."""
        return self._reader.coordinates(contact_force)

    def save(self) -> dict[str, np.ndarray]:
        """What `load` needs to continue bit for bit; see `bridges.mujoco.MujocoBridge.get_state`."""
        params = {f"params/{name}": value.copy() for name, value in self.params.values.items()}
        hung = {f"gantry/{name}": held.copy() for name, held in self._named_ropes()}
        return {
            "integration": self._batch.state.copy(),
            "warnings": self._batch.warning.copy(),
            **hung,
            **params,
        }

    def load(self, saved: Mapping[str, np.ndarray]) -> None:
        """Inverse of `save`, for an engine whose parameters are still nominal."""
        prefix = "params/"
        self.params.restore({k.removeprefix(prefix): v for k, v in saved.items() if k.startswith(prefix)})
        self._batch.state[:] = saved["integration"]
        self._batch.warning[:] = saved["warnings"]
        for name, held in self._named_ropes():
            held[:] = saved[f"gantry/{name}"]

    def formats(self) -> tuple[dict[str, checks.Format], dict[str, checks.Format]]:
        """Shape and type of the arrays that `save` returns: always, and for parameters once set."""
        fixed = {"integration": self._batch.state, "warnings": self._batch.warning}
        fixed |= {f"gantry/{name}": held for name, held in self._named_ropes()}
        params = {f"params/{n}": (self.params.shape(n), np.dtype(np.float32)) for n in PhysicsParams._fields}
        return {name: (array.shape, array.dtype) for name, array in fixed.items()}, params

    def _named_ropes(self) -> list[tuple[str, np.ndarray]]:
        return [] if self._gantry is None else list(self._ropes._asdict().items())

    def _run(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """`call`, where an error of the engine in some environments counts as their divergence.

        They keep the state they had; the others run to completion (`mujoco.batch`).
        """
        try:
            call(*args, **kwargs)
        except SimulationError as error:
            _LOG.warning("%s", error)
            self._reader.mark_diverged(error.ids)


def _to_body(quat: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """World vectors [n, 3] in the axes of a body with the unit quaternions `quat` [n, 4] (w x y z)."""
    w, inverse = quat[:, :1], -quat[:, 1:]
    twice = 2.0 * cross(inverse, vector)
    return vector + w * twice + cross(inverse, twice)
