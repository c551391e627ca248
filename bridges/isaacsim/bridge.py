"""Isaac Sim, or Isaac Lab without it: what is theirs alone on the host's side."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from bridges import pd_stability, specs
from bridges.isaacsim.install import interpreter
from bridges.isaacsim.program import program
from bridges.mujoco import model as mujoco_model
from bridges.protocol import CapacityError, Ground, Physics
from bridges.remote.coordinates import CoordinateBridge
from bridges.remote.program import Program
from holosoma_jax.robots.usd import usda

if TYPE_CHECKING:
    from holosoma_jax.config.schema import SimulatorConfig
    from holosoma_jax.robots.robot import Robot


_KEY = "simulator.config.isaacsim"
_MARGIN = 1.25
"""what to set, over what was seen"""


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
        self._settings = cfg.config.isaacsim
        python = interpreter(cfg)
        model = mujoco_model.build(robot, Ground(), cfg)
        pd_stability.warn(spec, robot, model, implicit_damping=self._settings.physics == "newton")

        def write_robot(folder: Path) -> Program:
            path = folder / "robot.usda"
            path.write_text(usda(robot, self_collisions=self_collisions))
            return program(cfg, robot, ground, spec, model, str(path), python)

        super().__init__(spec, robot, model, write_robot)


class NewtonBridge(IsaacSimBridge):
    """The same with Newton's physics, whose buffers have a fixed size (`bridges.protocol.Bounded`).

    MuJoCo Warp, its solver, leaves out what does not fit, and simulates on: the robot sinks into the ground.
    """

    def usage(self, physics: Physics) -> str:
        """One line: contacts and constraint rows needed at most since the worker started."""
        self._use(physics)
        found, settings = self.worker.call("usage"), self._settings
        return (
            f"Newton's buffers, at most so far: {found['contacts']:.1f} of {settings.nconmax_per_env} contacts per "
            f"environment ({_KEY}.nconmax_per_env), {found['rows']} of {settings.njmax_per_env} constraint rows "
            f"({_KEY}.njmax_per_env)."
        )

    def check(self, physics: Physics) -> None:
        """Make sure that all contacts and constraints have fitted.

        Raises:
          CapacityError: some were left out; names the setting and the value to use.
        """
        self._use(physics)
        found, settings = self.worker.call("usage"), self._settings
        if found["short_of_rows"]:
            raise CapacityError(
                f"{found['short_of_rows']} environment(s) needed up to {found['rows']} constraint rows, "
                f"{_KEY}.njmax_per_env is {settings.njmax_per_env}; the rest was left out. "
                f"{_fix('njmax-per-env', max(found['rows'], settings.njmax_per_env))}"
            )
        if found["short_of_contacts"]:
            raise CapacityError(
                f"the environments needed {found['contacts']:.1f} contacts each on average, {_KEY}.nconmax_per_env "
                f"is {settings.nconmax_per_env}; the rest was left out. "
                f"{_fix('nconmax-per-env', max(found['contacts'], settings.nconmax_per_env))}"
            )
        if found["short_of_cells"]:
            raise CapacityError(
                "a geom lies over more cells of the height field than Newton looks at; some were left out. "
                "Make the cells larger (--terrain.terrain-term.horizontal-scale) or the robot's geoms smaller."
            )


def _fix(option: str, needed: float) -> str:
    """What to type: a quarter more than was needed, in steps of 8."""
    value = math.ceil(_MARGIN * needed / 8) * 8
    return f"Pass --simulator.config.isaacsim.{option}={value}; checkpoints of this run still fit."
