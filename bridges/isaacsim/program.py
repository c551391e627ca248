"""What the worker of Isaac Lab is told: settings, and the arrays in memory shared with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bridges.ground import triangles
from bridges.protocol import BridgeSpec, Ground
from bridges.remote import coordinates
from bridges.remote.program import Program
from holosoma_jax.robots.model import markers
from holosoma_jax.robots.usd import prim_name

if TYPE_CHECKING:
    from holosoma_jax.config.schema import SimulatorConfig
    from holosoma_jax.robots.robot import Robot


BASE_THICKNESS = 1.0
"""m of solid ground under the lowest point of a height field"""


def lifted(ground: Ground) -> tuple[Ground, float]:
    """The ground raised until a row of zeros behind its last one is `BASE_THICKNESS` below its lowest point.

    Newton 1.6 gives a height field no thickness under its lowest point, where feet then sink in, and puts it
    too high by that point's height once a shape's properties have been written. Such a row is a way round both.

    Returns:
      That ground, and by how much it was raised, m.
    """
    assert ground.heights is not None
    heights = np.asarray(ground.heights, np.float64)
    lift = BASE_THICKNESS - float(heights.min())
    return replace(ground, heights=np.pad(heights + lift, ((0, 1), (0, 0)))), lift


def program(
    cfg: SimulatorConfig, robot: Robot, ground: Ground, spec: BridgeSpec, model: Any, usd: str, python: str
) -> Program:
    """The worker that runs `backend.py` in `python` with the robot of the file `usd`.

    `model` is the robot in MuJoCo.
    """
    isaacsim, physx, remote = cfg.config.isaacsim, cfg.config.sim.physx, cfg.config.remote
    dofs = [int(model.joint(name).dofadr[0]) for name in robot.joint_names]
    left_out = markers(model)
    bodies = [i for i, name in enumerate(robot.body_names) if name not in left_out]
    settings: dict[str, Any] = {
        "num_envs": spec.num_envs,
        "dt": spec.physics_dt,
        "decimation": spec.decimation,
        "device": isaacsim.device,
        "physics": isaacsim.physics,
        "newton": {
            "iterations": isaacsim.iterations,
            "ls_iterations": isaacsim.ls_iterations,
            "nconmax": isaacsim.nconmax_per_env,
            "njmax": isaacsim.njmax_per_env,
        },
        "physx": {
            "solver_type": physx.solver_type,
            "num_position_iterations": physx.num_position_iterations,
            "num_velocity_iterations": physx.num_velocity_iterations,
            "bounce_threshold_velocity": physx.bounce_threshold_velocity,
            "max_gpu_contact_pairs": physx.max_gpu_contact_pairs,
        },
        "usd": usd,
        "joint_names": [prim_name(name) for name in robot.joint_names],
        "body_names": [prim_name(robot.body_names[i]) for i in bodies],
        "bodies": bodies,
        "init_pos": list(robot.init_pos),
        "joint_damping": [float(model.dof_damping[i]) for i in dofs],
        "joint_friction": [float(model.dof_frictionloss[i]) for i in dofs],
    }
    for name in ("kp", "kd", "torque_limit", "velocity_limit", "armature"):
        settings[name] = getattr(robot, name)
    settings["lift"] = 0.0
    if ground.heights is not None:
        raised, settings["lift"] = lifted(ground)
        settings["ground_vertices"], settings["ground_triangles"] = triangles(raised)
        settings["ground_cell"] = ground.cell
    return Program(
        title="isaacsim",
        backend=str(Path(__file__).with_name("backend.py")),
        calls=(*coordinates.CALLS, "usage"),
        arrays=coordinates.arrays(spec),
        settings=settings,
        python=python,
        start_timeout_s=remote.start_timeout_s,
        timeout_s=remote.timeout_s,
    )
