"""Inverse kinematics of legs and arms by damped least squares, frame after frame on MuJoCo's model."""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.motion import rotations
from holosoma_jax.motion.kinematics import Skeleton

FOOT_TOLERANCE = 5e-4
"""m and rad; the error that the soles may have"""
DAMPING = 1e-6
ARM_DAMPING = 2e-3


class Leg(NamedTuple):
    """The six joints before a foot."""

    body: int
    """MuJoCo's number of the foot body"""
    joints: np.ndarray
    """[6] places in the robot's joint order"""
    sole: np.ndarray
    """[3] m: middle of the sole in the foot's frame, which is level when the foot is"""


class Arm(NamedTuple):
    """Shoulder, elbow and the far end of the hand."""

    joints: np.ndarray
    """places in the robot's joint order"""
    shoulder: int
    elbow: int
    """MuJoCo's numbers of bodies at whose origins the joints lie"""
    hand: int
    tip: np.ndarray
    """[3] m in the hand body's frame"""


class Limbs:
    """A robot's two legs and two arms, left first; raises ConfigError for a robot that is built otherwise."""

    def __init__(self, skeleton: Skeleton):
        """Find them by the robot's feet and by joints called shoulder and elbow."""
        self.skeleton = skeleton
        self.model, self._data = skeleton.model, mujoco.MjData(skeleton.model)
        robot = skeleton.robot
        margin = 0.02 * (robot.joint_upper - robot.joint_lower)
        self.lower = np.asarray(robot.joint_lower + margin, np.float64)
        self.upper = np.asarray(robot.joint_upper - margin, np.float64)
        self.legs = tuple(self._leg(name) for name in robot.feet_bodies)
        self.arms = tuple(self._arm(side) for side in ("left", "right"))

    def solve_legs(
        self, qpos: np.ndarray, place: np.ndarray, yaw: np.ndarray, pitch: np.ndarray
    ) -> np.ndarray:
        """`qpos` [T, 7 + J] with leg joints that put soles at `place` [T, 2, 3], heading `yaw`, pitched `pitch` [T, 2].

        Raises:
          ConfigError: a foot cannot be reached within the joints' limits; names the frame.
        """
        out = qpos.copy()
        guess = out[0, 7:].copy()
        for t in range(len(out)):
            for k, leg in enumerate(self.legs):
                out[t, 7 + leg.joints] = guess[leg.joints]
                goal = rotations.multiply(rotations.about(2, yaw[t, k]), rotations.about(1, pitch[t, k]))
                error = self._foot(out[t], leg, place[t, k], goal)
                if error > FOOT_TOLERANCE:
                    side = ("left", "right")[k]
                    raise ConfigError(
                        f"frame {t}: the {side} foot misses its place by {error:.4f} (m, rad) within the joints' "
                        "limits; take shorter steps, or bend less."
                    )
            guess = out[t, 7:].copy()
        return out

    def solve_arms(self, qpos: np.ndarray, upper: np.ndarray, fore: np.ndarray) -> np.ndarray:
        """`qpos` [T, 7 + J] with arm joints that point upper arms and forearms along given directions.

        Args:
          qpos: [T, 7 + J]; only its joints matter.
          upper: [T, 2, 3] unit vectors in the frame of the body that carries the arms.
          fore: likewise, of the forearms.
        """
        out = qpos.copy()
        rest = np.asarray(self.skeleton.robot.default_joint_pos, np.float64)
        for k, arm in enumerate(self.arms):
            q = rest[arm.joints]
            for t in range(len(out)):
                frame = np.concatenate([[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], rest])
                frame[7 + arm.joints] = q
                for _ in range(60 if t == 0 else 6):
                    q = self._point(frame, arm, upper[t, k], fore[t, k], rest[arm.joints])
                    frame[7 + arm.joints] = q
                out[t, 7 + arm.joints] = q
        return out

    def hands(self, qpos: np.ndarray) -> np.ndarray:
        """The far ends of both hands [T, 2, 3] m at `qpos` [T, 7 + J]."""
        pos, quat = self.skeleton.poses(qpos)
        rows = [arm.hand - 1 for arm in self.arms]
        tips = np.stack([arm.tip for arm in self.arms])
        return pos[:, rows] + rotations.rotate(quat[:, rows], np.broadcast_to(tips, (len(qpos), 2, 3)))

    def _foot(self, qpos: np.ndarray, leg: Leg, place: np.ndarray, goal: np.ndarray) -> float:
        """Change `qpos` in place; the error that is left, m and rad."""
        model, data = self.model, self._data
        error = np.inf
        jacobian = np.zeros((6, model.nv))
        for _ in range(40):
            data.qpos[:] = qpos
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            quat = data.xquat[leg.body]
            point = data.xpos[leg.body] + rotations.rotate(quat, leg.sole)
            turn = rotations.to_rotvec(rotations.multiply(goal, rotations.conjugate(quat)))
            residual = np.concatenate([place - point, turn])
            error = float(np.abs(residual).max())
            if error < 1e-7:
                break
            mujoco.mj_jac(model, data, jacobian[:3], jacobian[3:], point, leg.body)
            j = jacobian[:, 6 + leg.joints]
            step = j.T @ np.linalg.solve(j @ j.T + DAMPING * np.eye(6), residual)
            moved = qpos[7 + leg.joints] + np.clip(step, -0.3, 0.3)
            qpos[7 + leg.joints] = np.clip(moved, self.lower[leg.joints], self.upper[leg.joints])
        return error

    def _point(
        self, qpos: np.ndarray, arm: Arm, upper: np.ndarray, fore: np.ndarray, rest: np.ndarray
    ) -> np.ndarray:
        model, data = self.model, self._data
        data.qpos[:] = qpos
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        shoulder, elbow = data.xpos[arm.shoulder].copy(), data.xpos[arm.elbow].copy()
        tip = data.xpos[arm.hand] + data.xmat[arm.hand].reshape(3, 3) @ arm.tip
        first, second = np.linalg.norm(elbow - shoulder), np.linalg.norm(tip - elbow)
        jacobian, blank = np.zeros((2, 3, model.nv)), np.zeros((3, model.nv))
        mujoco.mj_jac(model, data, jacobian[0], blank, elbow, arm.elbow)
        mujoco.mj_jac(model, data, jacobian[1], blank, tip, arm.hand)
        j = jacobian.reshape(6, -1)[:, 6 + arm.joints]
        goal = np.concatenate([shoulder + first * upper, shoulder + first * upper + second * fore])
        residual = goal - np.concatenate([elbow, tip])
        q = qpos[7 + arm.joints]
        pull = ARM_DAMPING * np.eye(len(q))
        step = np.linalg.solve(j.T @ j + 2.0 * pull, j.T @ residual + 0.1 * pull @ (rest - q))
        return np.clip(q + np.clip(step, -0.25, 0.25), self.lower[arm.joints], self.upper[arm.joints])

    def _leg(self, name: str) -> Leg:
        robot = self.skeleton.robot
        joints = [robot.joint_names.index(n) for n in self.skeleton.joints_above(name)][-6:]
        if len(joints) < 6:
            raise ConfigError(
                f"robot '{robot.name}': the leg to {name} has {len(joints)} joints; clips need 6."
            )
        row = robot.body_names.index(name)
        points = np.concatenate([p - [0, 0, 1] * r[:, None] for b, p, r in self.skeleton.surface if b == row])
        bottom = points[:, 2].min()
        sole = points[points[:, 2] < bottom + 0.005]
        middle = 0.5 * (sole.min(0) + sole.max(0))
        return Leg(row + 1, np.array(joints), np.array([middle[0], 0.0, bottom]))

    def _arm(self, side: str) -> Arm:
        robot, model = self.skeleton.robot, self.model

        def joints(word: str) -> list[int]:
            return [i for i, n in enumerate(robot.joint_names) if side in n.lower() and word in n.lower()]

        shoulder, elbow = joints("shoulder"), joints("elbow")
        if len(shoulder) < 2 or not elbow:
            raise ConfigError(
                f"robot '{robot.name}' has no {side} shoulder and elbow joints; clips need them."
            )

        def body(joint: int) -> int:
            return int(model.jnt_bodyid[joint + 1])

        below = {body(elbow[-1])}
        for b in range(1, model.nbody):
            if int(model.body_parentid[b]) in below:
                below.add(b)
        origin, far, best = self._rest(body(elbow[-1])), (body(elbow[-1]), np.zeros(3)), -1.0
        for row, points, _ in self.skeleton.surface:
            if row + 1 in below:
                world = self._rest(row + 1, points)
                distance = np.linalg.norm(world - origin, axis=1)
                if distance.max() > best:
                    best = float(distance.max())
                    far = (row + 1, points[[int(distance.argmax())]].mean(0))
        return Arm(np.array(shoulder + elbow), body(shoulder[1]), body(elbow[-1]), *far)

    def _rest(self, body: int, points: np.ndarray | None = None) -> np.ndarray:
        data = self._data
        data.qpos[:] = self.model.qpos0
        mujoco.mj_kinematics(self.model, data)
        mat = data.xmat[body].reshape(3, 3)
        return data.xpos[body].copy() if points is None else data.xpos[body] + points @ mat.T
