"""What the worker of Isaac Lab is told beyond what every simulator in a worker is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bridges.ground import triangles
from bridges.protocol import BridgeSpec, Ground
from bridges.remote import coordinate_program
from bridges.remote.program import Program
from holosoma_jax.robots.model import markers
from holosoma_jax.robots.usd import prim_name

if TYPE_CHECKING:
    from holosoma_jax.config.schema import SimulatorConfig
    from holosoma_jax.robots.robot import Robot


PACKAGES = ("isaaclab", "newton", "warp-lang", "mujoco-warp", "torch", "isaacsim")
"""Whose versions a report says."""
_BACKEND = Path(__file__).with_name("backend.py")
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
    isaacsim = cfg.config.isaacsim
    left_out = markers(model)
    bodies = [i for i, name in enumerate(robot.body_names) if name not in left_out]
    settings: dict[str, Any] = {
        "device": isaacsim.device,
        "physics": isaacsim.physics,
        "newton": {
            "iterations": isaacsim.iterations,
            "ls_iterations": isaacsim.ls_iterations,
            "nconmax": isaacsim.nconmax_per_env,
            "njmax": isaacsim.njmax_per_env,
        },
        "physx": coordinate_program.physx(cfg),
        "usd": usd,
        "joint_names": [prim_name(name) for name in robot.joint_names],
        "body_names": [prim_name(robot.body_names[i]) for i in bodies],
        "bodies": bodies,
        "lift": 0.0,
    }
    if ground.heights is not None:
        raised, settings["lift"] = lifted(ground)
        settings["ground_vertices"], settings["ground_triangles"] = triangles(raised)
        settings["ground_cell"] = ground.cell
    return coordinate_program.program(
        cfg, robot, spec, model, python, _BACKEND, settings, calls=("usage",), packages=PACKAGES
    )
