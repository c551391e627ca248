"""Simulators behind one interface (`bridges.protocol`); `make` starts the one that the config names."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridges.protocol import Bridge, Ground
    from holosoma_jax.config.schema import SimulatorConfig
    from holosoma_jax.robots.robot import Robot

SIMULATORS = {
    "mujoco": "bridges.mujoco:make",
    "mjwarp": "bridges.mjwarp:make",
    "isaacgym": "bridges.isaacgym:make",
    "isaacsim": "bridges.isaacsim:make",
}
"""`simulator.name` -> a function of `make`'s first arguments; imported when asked for. Others name their own."""

REMOTE_ONLY = frozenset({"isaacgym", "isaacsim"})
"""Simulators that run in a worker of their own kind, whatever the config says."""

_NO_GANTRY = (
    "simulator.config.virtual_gantry.enabled: got true, but {} has no gantry. Choose simulator:mujoco or "
    "simulator:mjwarp, or leave it out."
)
_NO_OBJECT = (
    "robot.object.enabled: got true, but {} does not take an object. Choose simulator:mujoco or simulator:mjwarp, or "
    "a preset without one."
)
_NEEDS = {"mjwarp": "mujoco_warp"}
"""Simulator -> the optional module that it needs."""


def require(cfg: SimulatorConfig) -> None:
    """Check, before anything is built, that there is a bridge to the simulator and the package it needs.

    Raises:
      ConfigError: there is not; says what is missing and what to choose instead.
    """
    from holosoma_jax.config import extensions, extras
    from holosoma_jax.config.errors import ConfigError

    name = cfg.name
    if ":" in name:
        start = extensions.imported(name, "simulator.name")
        if not callable(start):
            raise ConfigError(
                f"simulator.name: '{name}' is a {type(start).__name__}; wanted a function like bridges.make."
            )
        return
    if name not in SIMULATORS:
        known = " or ".join(f"simulator:{other}" for other in SIMULATORS)
        there = "" if extras.is_installed(name) else f", nor is the package {name} installed"
        raise ConfigError(
            f"simulator:{name}: the bridge to it is not part of this version{there}. Choose {known}; "
            "what another simulator cannot randomise is skipped with --randomization.ignore_unsupported=True."
        )
    if name == "isaacgym":
        from bridges.isaacgym import install

        install.interpreter(cfg)
    if name == "isaacsim":
        from bridges.isaacsim import install

        install.interpreter(cfg)
    if name in _NEEDS:
        extras.require(f"simulator:{name}", _NEEDS[name])


def is_available(name: str) -> bool:
    """Whether the simulator `name` is there, in this Python or in the one that the environment names."""
    from holosoma_jax.config.errors import ConfigError
    from holosoma_jax.config.schema import SimulatorConfig

    try:
        require(SimulatorConfig(name=name))
    except ConfigError:
        return False
    return True


def make(
    cfg: SimulatorConfig,
    robot: Robot,
    ground: Ground,
    num_envs: int,
    *,
    self_collisions: bool = False,
    devices: int = 1,
    axis_name: str = "devices",
    in_process: bool = False,
) -> Bridge:
    """Start the simulator that `cfg` names.

    A simulator whose own `make` takes `devices` puts a share of the environments on each: its methods are then JAX
    functions of one device's rows, for `jax.pmap` over `axis_name`. Any other has all rows in one place.

    Args:
      cfg: simulator, rates, and the settings of each simulator.
      robot: the robot to build.
      ground: what it stands on.
      num_envs: environments in this process.
      self_collisions: whether the robot's own links collide.
      devices: accelerators of this process.
      axis_name: of the axis over them in compiled programs.
      in_process: start it in this process, whatever ``cfg.config.remote`` says.

    Raises:
      ConfigError: the simulator is not available.
    """
    from bridges.protocol import Bridge, Hanging
    from holosoma_jax.config import extensions
    from holosoma_jax.config.errors import ConfigError

    hangs, elsewhere = cfg.config.virtual_gantry.enabled, cfg.name in REMOTE_ONLY or cfg.config.remote.python
    if elsewhere and not in_process:
        where = f"simulator:{cfg.name}" + (" in a process of its own" if cfg.name not in REMOTE_ONLY else "")
        for asked, refusal in ((hangs, _NO_GANTRY), (robot.object is not None, _NO_OBJECT)):
            if asked:
                raise ConfigError(refusal.format(where))
    if cfg.config.remote.python and cfg.name not in REMOTE_ONLY and not in_process:
        from bridges import remote

        return remote.make(cfg, robot, ground, num_envs, self_collisions=self_collisions)
    require(cfg)
    start: Any = extensions.resolve(SIMULATORS, cfg.name, "simulator.name")
    options: dict[str, Any] = {"self_collisions": self_collisions}
    if devices > 1 and "devices" in inspect.signature(start).parameters:
        options |= {"devices": devices, "axis_name": axis_name}
    bridge = start(cfg, robot, ground, num_envs, **options)
    if not isinstance(bridge, Bridge):
        raise ConfigError(
            f"simulator.name: '{cfg.name}' returned a {type(bridge).__name__}; wanted a bridges.protocol.Bridge."
        )
    if hangs and not isinstance(bridge, Hanging):
        bridge.close()
        raise ConfigError(_NO_GANTRY.format(f"simulator:{cfg.name}"))
    if robot.object is not None and not bridge.spec.has_object:
        bridge.close()
        raise ConfigError(_NO_OBJECT.format(f"simulator:{cfg.name}"))
    return bridge
