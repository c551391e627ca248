"""What the worker of IsaacGym is told: settings, and the arrays in memory shared with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridges.ground import triangles
from bridges.protocol import BridgeSpec, Ground
from bridges.remote import coordinates
from bridges.remote.program import Program

if TYPE_CHECKING:
    from holosoma_jax.config.schema import SimulatorConfig
    from holosoma_jax.robots.robot import Robot


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
    remote, physx = cfg.config.remote, cfg.config.sim.physx
    dofs = [int(model.joint(name).dofadr[0]) for name in robot.joint_names]
    settings: dict[str, Any] = {
        "num_envs": spec.num_envs,
        "dt": spec.physics_dt,
        "decimation": spec.decimation,
        "device": physx.device,
        "physx": {
            "solver_type": physx.solver_type,
            "num_position_iterations": physx.num_position_iterations,
            "num_velocity_iterations": physx.num_velocity_iterations,
            "bounce_threshold_velocity": physx.bounce_threshold_velocity,
            "num_threads": physx.num_threads,
            "max_gpu_contact_pairs": physx.max_gpu_contact_pairs,
        },
        "asset_folder": folder,
        "asset_file": "robot.urdf",
        "joint_names": list(robot.joint_names),
        "body_names": list(robot.body_names),
        "root_body": robot.root_body,
        "init_pos": list(robot.init_pos),
        "self_collisions": self_collisions,
        "joint_damping": [float(model.dof_damping[i]) for i in dofs],
        "joint_friction": [float(model.dof_frictionloss[i]) for i in dofs],
        "body_friction": {
            model.body(int(model.geom_bodyid[g])).name: float(model.geom_friction[g, 0])
            for g in range(model.ngeom)
        },
    }
    for name in ("kp", "kd", "torque_limit", "velocity_limit", "armature"):
        settings[name] = getattr(robot, name)
    if ground.heights is not None:
        settings["ground_vertices"], settings["ground_triangles"] = triangles(ground)
    prefix = os.path.dirname(os.path.dirname(os.path.abspath(python)))
    libraries = os.pathsep.join(filter(None, [f"{prefix}/lib", os.environ.get("LD_LIBRARY_PATH", "")]))
    return Program(
        title="isaacgym",
        backend=str(Path(__file__).with_name("backend.py")),
        calls=coordinates.CALLS,
        arrays=coordinates.arrays(spec),
        settings=settings,
        python=python,
        environment={"LD_LIBRARY_PATH": libraries},  # the binaries look for libpython3.8 there
        start_timeout_s=remote.start_timeout_s,
        timeout_s=remote.timeout_s,
    )
