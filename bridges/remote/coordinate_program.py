"""What the worker of a simulator that hands over coordinates is told: settings, and the arrays shared with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bridges import specs
from bridges.protocol import BridgeSpec
from bridges.remote.program import Program

if TYPE_CHECKING:
    from holosoma_jax.config.schema import SimulatorConfig
    from holosoma_jax.robots.robot import Robot

STATE = ("state/root", "state/joint_pos", "state/joint_vel", "state/contact_force")
"""[E, 13] position, quaternion w x y z, velocity, angular velocity; [E, J] rad, rad/s; [E, B, 3] N"""
CALLS = ("step", "randomize", "body_positions")
"""Methods of the backend; see those of `bridges.isaacgym.backend`."""
_OF_PHYSX = (
    "solver_type",
    "num_position_iterations",
    "num_velocity_iterations",
    "bounce_threshold_velocity",
    "max_gpu_contact_pairs",
)
_OF_THE_ROBOT = ("kp", "kd", "torque_limit", "velocity_limit", "armature")


def arrays(spec: BridgeSpec) -> dict[str, tuple[tuple[int, ...], type]]:
    """What is in memory shared with the worker: name -> shape and type."""
    e, joints, bodies = spec.num_envs, len(spec.joint_names), len(spec.body_names)
    shared: dict[str, tuple[tuple[int, ...], type]] = {
        "state/root": ((e, 13), np.float32),
        "state/joint_pos": ((e, joints), np.float32),
        "state/joint_vel": ((e, joints), np.float32),
        "state/contact_force": ((e, bodies, 3), np.float32),
        "write_root": ((e,), np.bool_),
        "write_dof": ((e,), np.bool_),
        "targets": ((e, joints), np.float32),
        "torque_offset": ((e, spec.decimation, joints), np.float32),
        "mask": ((e,), np.bool_),
    }
    params = specs.param_shapes(e, joints, bodies)
    return shared | {f"params/{name}": (shape, np.float32) for name, shape in params.items()}


def physx(cfg: SimulatorConfig) -> dict[str, Any]:
    """The settings that PhysX takes in IsaacGym and in Isaac Sim."""
    return {name: getattr(cfg.config.sim.physx, name) for name in _OF_PHYSX}


def program(
    cfg: SimulatorConfig,
    robot: Robot,
    spec: BridgeSpec,
    model: Any,
    python: str,
    backend: Path,
    settings: Mapping[str, Any],
    *,
    calls: tuple[str, ...] = (),
    packages: tuple[str, ...] = (),
    environment: Mapping[str, str | None] | None = None,
) -> Program:
    """The worker that runs the file `backend` in `python`.

    Args:
      cfg: has the time-outs.
      robot: has the gains, limits and rotor inertias.
      spec: of the bridge.
      model: the robot in MuJoCo, which has the joints' passive forces.
      python: the interpreter.
      backend: the worker's file.
      settings: of this simulator alone.
      calls: methods of its backend beyond `CALLS`.
      packages: whose versions are reported.
      environment: changes to this process' environment.
    """
    remote = cfg.config.remote
    dofs = [int(model.joint(name).dofadr[0]) for name in robot.joint_names]
    shared: dict[str, Any] = {
        "num_envs": spec.num_envs,
        "dt": spec.physics_dt,
        "decimation": spec.decimation,
        "init_pos": list(robot.init_pos),
        "joint_damping": [float(model.dof_damping[i]) for i in dofs],
        "joint_friction": [float(model.dof_frictionloss[i]) for i in dofs],
        **{name: getattr(robot, name) for name in _OF_THE_ROBOT},
    }
    return Program(
        title=spec.simulator,
        backend=str(backend),
        calls=(*CALLS, *calls),
        arrays=arrays(spec),
        settings=shared | dict(settings),
        python=python,
        packages=packages,
        environment=environment or {},
        start_timeout_s=remote.start_timeout_s,
        timeout_s=remote.timeout_s,
    )
