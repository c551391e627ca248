"""Whether a robot that is set down lands on its feet: a check of robots that are not ours."""

from __future__ import annotations

import mujoco
import numpy as np

from bridges.mujoco import model as mujoco_model
from bridges.protocol import Ground
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import SimulatorConfig
from holosoma_jax.robots.model import hangs_from
from holosoma_jax.robots.robot import Robot

SECONDS = 1.0
"""of simulated time within which a foot has to touch the ground"""
DIVERGED = (
    mujoco.mjtWarning.mjWARN_BADQPOS,
    mujoco.mjtWarning.mjWARN_BADQVEL,
    mujoco.mjtWarning.mjWARN_BADQACC,
)
MAX_DEPTH = 0.02
"""m that the robot's start pose may lie in the ground: what reset noise and soft contacts leave"""


def require(robot: Robot, cfg: SimulatorConfig) -> None:
    """Build the model that is stepped, drop it on a plane, and see that a foot touches the ground first.

    Raises:
      ConfigError: the start pose lies in the ground, nothing touches it, or something else does so first.
    """
    where = f"robot '{robot.name}' ({robot.mjcf.name})"
    try:
        model = mujoco_model.build(robot, Ground(), cfg)
    except ValueError as error:
        raise ConfigError(f"{where}: the model cannot be built: {' '.join(str(error).split())}") from None
    data = mujoco.MjData(model)
    data.qpos[:3], data.qpos[3:7] = robot.init_pos, robot.init_quat
    for name, q in zip(robot.joint_names, robot.default_joint_pos, strict=True):
        data.qpos[model.joint(name).qposadr[0]] = q
    data.ctrl[:] = robot.default_joint_pos
    mujoco.mj_forward(model, data)
    depth = max((-contact.dist for contact in data.contact), default=0.0)
    if depth > MAX_DEPTH:
        raise ConfigError(
            f"{where}: init_pos {list(robot.init_pos)} puts it {depth:.3f} m into the ground; raise it by that much."
        )
    feet = {model.body(name).id for name in robot.feet_bodies}
    for _ in range(round(SECONDS / model.opt.timestep)):
        mujoco.mj_step(model, data)
        # MuJoCo puts a state that it finds too large back to zero, and counts a warning.
        if not np.isfinite(data.qpos).all() or any(data.warning[kind].number for kind in DIVERGED):
            raise ConfigError(
                f"{where}: it diverges within {data.time:.3f} s at its default pose; check gains and masses."
            )
        touching = {b for c in data.contact for g in c.geom if (b := int(model.geom_bodyid[g]))}
        if any(hangs_from(model, body, feet) for body in touching):
            return
        if touching:
            names = ", ".join(sorted(model.body(body).name for body in touching))
            raise ConfigError(
                f"{where}: {names} touches the ground before a foot does ({', '.join(robot.feet_bodies)}); "
                "check init_quat, the default pose, and which geoms of the feet collide."
            )
    raise ConfigError(
        f"{where}: dropped from init_pos {list(robot.init_pos)}, nothing of it touched the ground within "
        f"{SECONDS:g} s. Lower init_pos, or let the feet's geoms collide."
    )
