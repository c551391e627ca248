"""Isaac Sim, or Isaac Lab without it: what is theirs alone on the host's side."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bridges import specs
from bridges.isaacsim.install import interpreter
from bridges.isaacsim.program import program
from bridges.mujoco import model as mujoco_model
from bridges.mujoco import readout
from bridges.protocol import Ground
from bridges.remote.coordinates import CoordinateBridge
from bridges.remote.program import StartError
from holosoma_jax.robots.usd import usda

if TYPE_CHECKING:
    from holosoma_jax.config.schema import SimulatorConfig
    from holosoma_jax.robots.robot import Robot


class IsaacSimBridge(CoordinateBridge):
    """`bridges.protocol.Bridge` over Isaac Lab 3, with Newton's or PhysX' physics.

    Raises:
      ConfigError: there is no Python with Isaac Lab; says how to get one.
      StartError: it does not start.
      ValueError: the robot's model cannot be described in USD (`holosoma_jax.robots.usd`).
    """

    def __init__(
        self,
        cfg: SimulatorConfig,
        robot: Robot,
        ground: Ground,
        num_envs: int,
        *,
        self_collisions: bool = False,
    ):
        # Both engines start their solvers from the last solution, which cannot be saved.
        spec = specs.spec("isaacsim", cfg, robot, num_envs, repeatable=False)
        python = interpreter(cfg)
        model = mujoco_model.build(robot, Ground(), cfg)
        self._folder = tempfile.TemporaryDirectory(prefix="holosoma-isaacsim-")
        path = Path(self._folder.name) / "robot.usda"
        path.write_text(usda(robot, self_collisions=self_collisions))
        settings = program(cfg, robot, ground, spec, model, str(path), python)
        try:
            super().__init__(spec, robot, readout.layout(model, robot), settings)
        except StartError:
            self._folder.cleanup()
            raise

    def close(self) -> None:
        """End the worker."""
        super().close()
        self._folder.cleanup()
