"""IsaacGym, which needs a Python of its own: what is its alone on the host's side."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bridges import pd_stability, specs
from bridges.isaacgym.asset import robot_urdf
from bridges.isaacgym.install import interpreter
from bridges.isaacgym.program import program
from bridges.mujoco import model as mujoco_model
from bridges.protocol import Ground
from bridges.remote.coordinates import CoordinateBridge
from bridges.remote.program import Program

if TYPE_CHECKING:
    from holosoma_jax.config.schema import SimulatorConfig
    from holosoma_jax.robots.robot import Robot

_LOG = logging.getLogger(__name__)


class IsaacGymBridge(CoordinateBridge):
    """`bridges.protocol.Bridge` over IsaacGym Preview 4.

    IsaacGym gets at most one indexed write of each tensor a step, as it must: a later one could undo an
    earlier one. On the GPU pipeline it takes all parameters but the gains before the first step only.
    Afterwards `randomize` builds the simulation anew, which takes as long as the start did.

    Raises:
      ConfigError: no Python with IsaacGym is named; says where IsaacGym comes from.
      StartError: it does not start.
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
        # PhysX keeps contacts from step to step that cannot be saved.
        spec = specs.spec("isaacgym", cfg, robot, num_envs, repeatable=False)
        python = interpreter(cfg)
        model = mujoco_model.build(robot, Ground(), cfg)
        pd_stability.warn(spec, robot, model, implicit_damping=False)

        def write_robot(folder: Path) -> Program:
            (folder / "robot.urdf").write_text(robot_urdf(robot))
            return program(cfg, robot, ground, spec, model, str(folder), python, self_collisions)

        super().__init__(spec, robot, model, write_robot)

    def _apply_params(self, values: Mapping[str, np.ndarray], mask: np.ndarray) -> None:
        """As the base does; what the GPU pipeline refuses, another worker gets with the present state."""
        if not self._send_params(values, mask):
            return
        _LOG.warning(
            "IsaacGym's GPU pipeline takes masses, centres of mass, friction and armatures before the first step "
            "only: building the simulation anew. Randomise them at set-up."
        )
        self.worker.close()
        self.worker.start()
        self._send_params(self._params, np.ones(self.spec.num_envs, bool))
        self._arrays["write_root"][...] = self._arrays["write_dof"][...] = True
