"""What the worker of IsaacGym is told beyond what every simulator in a worker is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridges.ground import triangles
from bridges.protocol import BridgeSpec, Ground
from bridges.remote import coordinate_program
from bridges.remote.program import Program

if TYPE_CHECKING:
    from holosoma_jax.config.schema import SimulatorConfig
    from holosoma_jax.robots.robot import Robot

PACKAGES = ("isaacgym", "torch")
"""Whose versions a report says."""
_BACKEND = Path(__file__).with_name("backend.py")


def program(
    cfg: SimulatorConfig,
    robot: Robot,
    ground: Ground,
    spec: BridgeSpec,
    model: Any,
    folder: str,
    python: str,
    self_collisions: bool,
) -> Program:
    """The worker that runs `backend.py` in `python`, with the URDF in `folder`; `model` is the robot in MuJoCo."""
    physx = cfg.config.sim.physx
    settings: dict[str, Any] = {
        "device": physx.device,
        "physx": coordinate_program.physx(cfg) | {"num_threads": physx.num_threads},
        "asset_folder": folder,
        "asset_file": "robot.urdf",
        "joint_names": list(robot.joint_names),
        "body_names": list(robot.body_names),
        "root_body": robot.root_body,
        "self_collisions": self_collisions,
        "body_friction": {
            model.body(int(model.geom_bodyid[g])).name: float(model.geom_friction[g, 0])
            for g in range(model.ngeom)
        },
    }
    if ground.heights is not None:
        settings["ground_vertices"], settings["ground_triangles"] = triangles(ground)
    prefix = os.path.dirname(os.path.dirname(os.path.abspath(python)))
    libraries = os.pathsep.join(filter(None, [f"{prefix}/lib", os.environ.get("LD_LIBRARY_PATH", "")]))
    # the binaries look for libpython3.8 there
    environment = {"LD_LIBRARY_PATH": libraries}
    return coordinate_program.program(
        cfg, robot, spec, model, python, _BACKEND, settings, packages=PACKAGES, environment=environment
    )
