"""Whether PD control is stable whose torques are held over a physics step, and at which rates it is.

Both Isaacs get torques; MuJoCo's Euler integrator computes an actuator's damping from the velocity before the step.
With inertia M, gains K and D and a step of h seconds, joints at x (measured from the target) then follow

    v' = v - h M^-1 (K x + D v),    x' = x + h v'

Solutions z^t u obey (M (z - 1)^2 + h D (z - 1) + h^2 K z) u = 0. For a single joint the roots stay within the unit
circle if h D / M + h^2 K / (2 M) < 2. For several joints the same holds of the largest eigenvalue of
M^-1 (h D + h^2 K / 2): below 2 every u* (...) u is such a scalar equation; above it, the matrix in brackets, which is
symmetric for real z, is indefinite at z = -1 and positive at z = -inf, so it is singular at some z < -1.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import mujoco
import numpy as np

if TYPE_CHECKING:
    from bridges.protocol import BridgeSpec
    from holosoma_jax.robots.robot import Robot

_LOG = logging.getLogger(__name__)

LIMIT = 2.0
"""Largest eigenvalue with which PD control is stable."""
ADVISED = 1.5
"""Largest eigenvalue of a rate to advise: a quarter is left to randomised gains, masses and rotor inertias."""
_FASTEST = 2_000
"""Hz; nobody trains with more"""


class Stiffest(NamedTuple):
    """The mode that becomes unstable first."""

    eigenvalue: float
    """of M^-1 (h D + h^2 K / 2); stable below `LIMIT`"""
    joint: int
    """in the robot's order: the one that moves most in it, weighed with its gains"""


def warn(
    spec: BridgeSpec, robot: Robot, model: mujoco.MjModel, *, implicit_damping: bool, option: str = ""
) -> None:
    """Log one line if `robot` cannot be controlled at the rates of `spec`: the joint, and the rate that would do.

    Args:
      spec: of the bridge.
      robot: has the gains.
      model: the robot in MuJoCo, which has inertias, rotors and passive damping.
      implicit_damping: as for `stiffest`.
      option: a flag of this simulator that would do, too.
    """
    found = stiffest(robot, model, implicit_damping=implicit_damping)
    worst = found(spec.physics_dt)
    if worst.eigenvalue < LIMIT:
        return
    fps = round(1.0 / spec.physics_dt)
    decimation = advised_decimation(found, fps, spec.decimation)
    advice = "lower its gains or raise its armature"
    if decimation is not None:
        rate = fps * decimation // spec.decimation
        advice = (
            f"pass --simulator.config.sim.fps={rate} --simulator.config.sim.control-decimation={decimation}, "
            "which leaves the control rate as it is"
        )
    if option:
        advice += f", or {option}"
    _LOG.warning(
        "simulator:%s: PD control of joint '%s' is unstable at %d Hz, as its torque is held over a physics step "
        "(kd dt / I + kp dt^2 / (2 I) is %.2f, wanted below %g): %s.",
        spec.simulator,
        robot.joint_names[worst.joint],
        fps,
        worst.eigenvalue,
        LIMIT,
        advice,
    )


def stiffest(robot: Robot, model: mujoco.MjModel, *, implicit_damping: bool) -> Callable[[float], Stiffest]:
    """The stiffest mode of `robot` in the air, in its default pose, as a function of the physics step in s.

    Contacts only add inertia to joints, so in the air is where they are unstable first.

    Args:
      robot: has the gains.
      model: has inertias, with rotors, and passive damping.
      implicit_damping: the simulator integrates passive damping implicitly, as MuJoCo does; else it is a torque, too.
    """
    data = mujoco.MjData(model)
    joints = [model.joint(name) for name in robot.joint_names]
    for joint, angle in zip(joints, robot.default_joint_pos, strict=True):
        data.qpos[joint.qposadr[0]] = angle
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_crb(model, data)
    inertia = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, inertia)
    dofs = np.array([joint.dofadr[0] for joint in joints])
    kp, kd, passive = robot.kp.astype(np.float64), robot.kd.astype(np.float64), model.dof_damping

    def at(dt: float) -> Stiffest:
        # Implicit damping B adds h B (z - 1) z u, which at z = -1 is as much as inertia h B / 2.
        heavier = inertia + np.diag(0.5 * dt * passive) if implicit_damping else inertia
        gains = dt * (kd if implicit_damping else kd + passive[dofs]) + 0.5 * dt * dt * kp
        root = np.sqrt(gains)
        mobility = np.linalg.inv(heavier)[np.ix_(dofs, dofs)]  # the root is free to move
        values, vectors = np.linalg.eigh(root[:, None] * mobility * root)
        return Stiffest(float(values[-1]), int(np.abs(vectors[:, -1]).argmax()))

    return at


def advised_decimation(found: Callable[[float], Stiffest], fps: int, decimation: int) -> int | None:
    """The least physics steps per control step with which the eigenvalue is below `ADVISED` at the same control rate.

    None: none is.

    Args:
      found: the stiffest mode at a physics step in s.
      fps: Hz, physics rate.
      decimation: of `fps`.
    """
    for more in range(decimation + 1, _FASTEST * decimation // fps + 1):
        rate, rest = divmod(fps * more, decimation)
        if rest == 0 and found(1.0 / rate).eigenvalue < ADVISED:
            return more
    return None
