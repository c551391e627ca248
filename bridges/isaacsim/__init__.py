"""Isaac Sim through Isaac Lab 3, on Newton or PhysX, in a worker that runs the Python 3.12 it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridges.isaacsim.bridge import IsaacSimBridge
    from bridges.protocol import Ground
    from holosoma_jax.config.schema import SimulatorConfig
    from holosoma_jax.robots.robot import Robot


def make(
    cfg: SimulatorConfig, robot: Robot, ground: Ground, num_envs: int, *, self_collisions: bool = False
) -> IsaacSimBridge:
    """A bridge to `num_envs` copies of `robot` on `ground`, in a worker of its own.

    Raises:
      ConfigError: there is no Python with Isaac Lab; says how to get one.
      StartError: it does not start.
    """
    from bridges.isaacsim.bridge import IsaacSimBridge, NewtonBridge  # JAX: not for `install`

    kind = NewtonBridge if cfg.config.isaacsim.physics == "newton" else IsaacSimBridge
    return kind(cfg, robot, ground, num_envs, self_collisions=self_collisions)
