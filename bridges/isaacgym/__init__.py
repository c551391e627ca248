"""IsaacGym (Preview 4), in a worker that runs the Python 3.8 it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridges.isaacgym.bridge import IsaacGymBridge
    from bridges.protocol import Ground
    from holosoma_jax.config.schema import SimulatorConfig
    from holosoma_jax.robots.robot import Robot


def make(
    cfg: SimulatorConfig, robot: Robot, ground: Ground, num_envs: int, *, self_collisions: bool = False
) -> IsaacGymBridge:
    """A bridge to `num_envs` copies of `robot` on `ground`, in a worker of its own.

    Raises:
      ConfigError: no Python with IsaacGym is named; says where IsaacGym comes from.
      StartError: it does not start.
    """
    from bridges.isaacgym.bridge import IsaacGymBridge  # JAX: not for `install`

    return IsaacGymBridge(cfg, robot, ground, num_envs, self_collisions=self_collisions)
