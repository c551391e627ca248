"""What a check says, and what it is made on."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np

from bridges.protocol import Bridge, Physics, Pose, SimState
from holosoma_jax.robots.robot import Robot

GRAVITY = 9.81
"""m/s^2"""
HEIGHT = 20.0
"""m above the ground, for whatever must not touch it"""


@dataclass(frozen=True)
class Result:
    """One quantity, measured and wanted; passes if they differ by no more than the tolerance."""

    check: str
    quantity: str
    measured: float
    wanted: float
    tolerance: float
    unit: str = ""

    @property
    def passed(self) -> bool:
        """Whether it is within the tolerance; a NaN never is."""
        return abs(self.measured - self.wanted) <= self.tolerance

    def __str__(self) -> str:
        """One line for a terminal."""
        verdict = "ok  " if self.passed else "FAIL"
        numbers = (
            f"{self.measured:.6g}, wanted {self.wanted:.6g} +- {self.tolerance:.2g} {self.unit}".rstrip()
        )
        return f"{verdict} {self.check}: {self.quantity}: {numbers}"


@dataclass(frozen=True, eq=False)
class Subject:
    """A running bridge on a plane, with at least four environments, and the robot in it."""

    bridge: Bridge
    robot: Robot

    @property
    def num_envs(self) -> int:
        """E."""
        return self.bridge.spec.num_envs

    @property
    def everyone(self) -> np.ndarray:
        """[E] bool, all true."""
        return np.ones(self.num_envs, bool)

    def only(self, *envs: int) -> np.ndarray:
        """[E] bool, true for `envs`."""
        return np.isin(np.arange(self.num_envs), envs)

    def pose(self, *, height: float = HEIGHT, **fields: object) -> Pose:
        """The robot's initial pose, its root at `height` m, in every environment, but for `fields`."""
        robot, joints = self.robot, self.robot.num_joints
        rows = {
            "root_pos": (*robot.init_pos[:2], height),
            "root_quat": robot.init_quat,
            "root_lin_vel": (0.0, 0.0, 0.0),
            "root_ang_vel": (0.0, 0.0, 0.0),
            "joint_pos": robot.default_joint_pos,
            "joint_vel": np.zeros(joints),
        }
        arrays = {name: np.asarray(value, np.float32) for name, value in (rows | fields).items()}
        e = self.num_envs
        return Pose(
            **{n: np.ascontiguousarray(np.broadcast_to(x, (e, x.shape[-1]))) for n, x in arrays.items()}
        )

    def random_pose(self, seed: int, *, moving: bool = True) -> Pose:
        """Any attitude in the air, other joint angles and (if `moving`) velocities in every environment."""
        rng, e = np.random.default_rng(seed), self.num_envs
        quat = rng.standard_normal((e, 4))
        middle = np.clip(self.robot.default_joint_pos, self.robot.joint_lower, self.robot.joint_upper)
        low, high = 0.7 * middle + 0.3 * self.robot.joint_lower, 0.7 * middle + 0.3 * self.robot.joint_upper
        speed = 1.0 if moving else 0.0
        return self.pose(
            root_pos=rng.uniform(-1, 1, (e, 3)) + np.array([0, 0, HEIGHT]),
            root_quat=quat / np.linalg.norm(quat, axis=1, keepdims=True),
            root_lin_vel=speed * rng.standard_normal((e, 3)),
            root_ang_vel=speed * rng.standard_normal((e, 3)),
            joint_pos=rng.uniform(low, high, (e, self.robot.num_joints)),
            joint_vel=speed * rng.standard_normal((e, self.robot.num_joints)),
        )

    def begin(self, pose: Pose) -> tuple[Physics, SimState]:
        """New environments, all at `pose`."""
        return self.bridge.reset(self.bridge.init(), self.everyone, pose)

    def slack(self, tolerance: float) -> float:
        """How far two runs may be apart that should be equal: 0, or `tolerance` if the simulator rounds anew."""
        return 0.0 if self.bridge.spec.repeatable else tolerance

    def gap(self, a: SimState, b: SimState, rows: np.ndarray | slice = slice(None)) -> float:
        """The largest difference of two states in the environments `rows`; infinite if only one is NaN.

        In the states' units, and forces as shares of the robot's weight.
        """
        weight = float(self.robot.body_mass.sum()) * GRAVITY
        largest = 0.0
        for name, x, y in zip(SimState._fields, a, b, strict=True):
            if x is None or y is None:  # an object where there is none
                continue
            x, y = x[rows], y[rows]
            apart = np.where(np.isnan(x) & np.isnan(y), 0.0, np.nan_to_num(np.abs(x - y), nan=np.inf))
            largest = max(largest, float(apart.max()) / (weight if name == "contact_force" else 1.0))
        return largest

    def hold(self, physics: Physics, targets: np.ndarray, steps: int) -> tuple[Physics, list[SimState]]:
        """Control steps with constant targets [E, J]; the states on the way, as NumPy arrays."""
        states = []
        for _ in range(steps):
            physics, sim = self.bridge.step(physics, targets)
            states.append(numpy(sim))
        return physics, states


def numpy(sim: SimState) -> SimState:
    """Copies in NumPy, finished before the simulator's next call."""
    return jax.tree.map(lambda x: np.array(jax.device_get(x)), sim)
