"""The toy's robot and simulator, in closed form: the whole `Bridge` interface.

Joints follow their targets by a first-order lag; the root glides at constant velocity and drops to the ground
while a joint is outside its range. The bridge behaves like the worst simulator allowed: its state lives in NumPy
arrays that it overwrites in place, and what it hands over are views of them, valid until its next call only.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import (
    BridgeSpec,
    PhysicsParams,
    Pose,
    SimState,
    StalePhysicsError,
    UnsupportedRandomization,
)

JOINTS = 3
BODIES = ("base", "foot")
LAG = 0.05  # s, time constant of every joint
RANGE = 0.9  # rad
MASS = 10.0  # kg
HEIGHT = 0.8  # m, of the base while it stands
FIELDS = ("root_pos", "root_quat", "root_lin_vel", "root_ang_vel", "joint_pos", "joint_vel", "mass")


class ToyBridge:
    """`bridges.protocol.Bridge` in closed form; float64 inside, float32 views outside.

    poison_at: control step at which environment 0 turns non-finite (None: never), like a simulator
    whose solver diverged.
    """

    def __init__(self, num_envs: int, *, poison_at: int | None = None):
        self.spec = BridgeSpec(
            simulator="toy",
            num_envs=num_envs,
            joint_names=tuple(f"joint_{i}" for i in range(JOINTS)),
            body_names=BODIES,
            physics_dt=0.005,
            decimation=4,
            randomizes=frozenset({"mass_ratio"}),
        )
        e, b = num_envs, len(BODIES)
        self.calls = {"reset": 0, "step": 0, "randomize": 0, "set_root_velocity": 0}
        self._poison_at, self._token = poison_at, 0
        self._s = {
            "root_pos": np.tile([0.0, 0.0, HEIGHT], (e, 1)),
            "root_quat": np.tile([1.0, 0.0, 0.0, 0.0], (e, 1)),
            "root_lin_vel": np.zeros((e, 3)),
            "root_ang_vel": np.zeros((e, 3)),
            "joint_pos": np.zeros((e, JOINTS)),
            "joint_vel": np.zeros((e, JOINTS)),
            "mass": np.full((e, b), MASS / b),
        }
        shapes = SimState(
            (e, 3), (e, 4), (e, 3), (e, 3), (e, JOINTS), (e, JOINTS),
            (e, b, 3), (e, b, 4), (e, b, 3), (e, b, 3), (e, b, 3),
        )  # fmt: skip
        self._views = [SimState(*map(_aligned, shapes[:11])) for _ in range(2)]

    def init(self) -> int:
        return self._token

    def step(self, physics, targets, torque_offset=None):
        self._use(physics)
        self.calls["step"] += 1
        s, dt = self._s, self.spec.control_dt
        target = np.asarray(targets, np.float64)
        before = s["joint_pos"].copy()
        s["joint_pos"] += (1.0 - np.exp(-dt / LAG)) * (target - s["joint_pos"])
        if torque_offset is not None:
            s["joint_pos"] += 1e-3 * np.asarray(torque_offset, np.float64).mean(1)
        s["joint_vel"][:] = (s["joint_pos"] - before) / dt
        fallen = (np.abs(s["joint_pos"]) > RANGE).any(-1)
        s["root_pos"] += s["root_lin_vel"] * dt
        s["root_pos"][:, 2] = np.where(fallen, 0.0, s["root_pos"][:, 2])
        if self.calls["step"] == self._poison_at:
            s["joint_pos"][0] = np.nan
        return self._hand_over()

    def reset(self, physics, mask, pose: Pose):
        self._use(physics)
        self.calls["reset"] += 1
        rows = np.asarray(mask)
        for name in FIELDS[:6]:
            value = getattr(pose, name)
            self._s[name][rows] = np.asarray(value, np.float64)[rows]
        return self._hand_over()

    def randomize(self, physics, params: PhysicsParams, mask):
        self._use(physics)
        self.calls["randomize"] += 1
        for name, value in params._asdict().items():
            if value is not None and name not in self.spec.randomizes:
                raise UnsupportedRandomization(f"toy: cannot randomise '{name}'")
        if params.mass_ratio is not None:
            rows = np.asarray(mask)
            self._s["mass"][rows] = (MASS / len(BODIES)) * np.asarray(params.mass_ratio, np.float64)[rows]
        return self._next()

    def set_root_velocity(self, physics, mask, lin, ang):
        self._use(physics)
        self.calls["set_root_velocity"] += 1
        rows = np.asarray(mask)
        self._s["root_lin_vel"][rows] = np.asarray(lin, np.float64)[rows]
        self._s["root_ang_vel"][rows] = np.asarray(ang, np.float64)[rows]
        return self._hand_over()

    def get_state(self, physics) -> Mapping[str, np.ndarray]:
        if physics != self._token:
            raise StalePhysicsError("toy: stale physics value")
        return {name: self._s[name].copy() for name in FIELDS}

    def set_state(self, physics, state: Mapping[str, np.ndarray]):
        self._use(physics)
        for name in FIELDS:
            if name not in state or state[name].shape != self._s[name].shape:
                raise ValueError(f"toy: array '{name}' is missing or misshapen")
            self._s[name][:] = state[name]
        return self._next()

    def close(self) -> None:
        self._token = -1

    def _use(self, physics) -> None:
        if physics != self._token:
            raise StalePhysicsError(f"toy: physics value {physics} is not the newest ({self._token})")
        for view in self._views:  # whoever still reads a borrowed array now reads rubbish
            for array in view[:11]:
                array.fill(np.nan)

    def _next(self) -> int:
        self._token += 1
        return self._token

    def _hand_over(self):
        token, view, s = self._next(), self._views[self._token % 2], self._s
        for name in SimState._fields[:6]:
            getattr(view, name)[:] = s[name]
        view.body_pos[:] = s["root_pos"][:, None]
        view.body_pos[:, 1, 2] -= HEIGHT
        view.body_quat[:] = s["root_quat"][:, None]
        view.body_lin_vel[:] = s["root_lin_vel"][:, None]
        view.body_ang_vel[:] = s["root_ang_vel"][:, None]
        view.contact_force[:] = 0.0
        if not np.isfinite(s["root_ang_vel"]).all():
            raise ValueError("toy: a push came with angular velocities that were taken back before")
        weight = 9.81 * s["mass"].sum(-1)
        down = s["root_pos"][:, 2] < 0.1
        view.contact_force[:, 0, 2] = np.where(down, weight, 0.0)
        view.contact_force[:, 1, 2] = np.where(down, 0.0, weight)
        return token, jax.tree.map(jnp.from_dlpack, view)


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Zeros at a 64-byte boundary, which is what lets JAX's CPU backend share them without a copy."""
    count = int(np.prod(shape))
    raw = np.zeros(4 * count + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + 4 * count].view(np.float32).reshape(shape)
