"""Plain MuJoCo on the CPU: many environments of one robot, stepped by `mujoco.batch` on all cores.

PD control is the engine's own: one affine actuator a joint (`bridges.mujoco.model`), evaluated at every
physics sub-step from the current joint state and clipped to the torque limit. What a control step
returns describes the state *after* it, contact forces apart: those are of its last sub-step.

A diverged environment (a value became non-finite or huge) does not disturb the others: its row of
`SimState` is NaN until it is reset.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from bridges import checks, exchange, pd_stability, specs
from bridges.mujoco import gantry, model, readout, targets
from bridges.mujoco.engine import Engine
from bridges.mujoco.state import Coordinates
from bridges.protocol import (
    Array,
    Ground,
    Physics,
    PhysicsParams,
    Pose,
    SimState,
)
from bridges.stateful import Stateful, Token
from holosoma_jax import machine

if TYPE_CHECKING:
    from holosoma_jax.config.schema import SimulatorConfig
    from holosoma_jax.robots.robot import Robot


def make(
    cfg: SimulatorConfig, robot: Robot, ground: Ground, num_envs: int, *, self_collisions: bool = False
) -> MujocoBridge:
    """A bridge to `num_envs` copies of `robot` on `ground`."""
    return MujocoBridge(cfg, robot, ground, num_envs, self_collisions=self_collisions)


class MujocoBridge(Stateful):
    """`bridges.protocol.Bridge` over `mujoco.batch.Batch`.

    Its `SimState`s are given, not lent (`bridges.exchange`): they stay valid for ever.
    Every method but `init` raises `StalePhysicsError` for a token that is not the newest, and
    ValueError for an array of the wrong shape or type, or with a value that makes no sense in an
    environment that the call acts on. Such a call has changed nothing.
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
        super().__init__()
        self.spec = specs.spec("mujoco", cfg, robot, num_envs)
        _keep_folders_clean()
        settings = cfg.config.mujoco
        self.model = model.build(robot, ground, cfg, self_collisions=self_collisions, pair_with_ground=True)
        if settings.integrator == "euler":
            option = "--simulator.config.mujoco.integrator=implicitfast"
            pd_stability.warn(self.spec, robot, self.model, implicit_damping=True, option=option)
        self._robot = robot
        self._gantry = cfg.config.virtual_gantry
        if self._gantry.enabled:
            gantry.attached(self._gantry, robot, self.model)
        self._threads = settings.num_threads or machine.usable_cores()
        self._layout = readout.layout(self.model, robot)
        fixed = settings.foot_friction == "fixed"
        self._targets = targets.targets(self.model, robot, fixed_foot_friction=fixed)
        self._engine: Engine
        self._latest: Coordinates  # read-only
        self._given: SimState  # what they mean

    def init(self) -> Token:
        """Fresh environments: nominal parameters, robots at their initial pose and at rest."""
        self._check_open()
        engine, e, robot = self._fresh_engine(), self.spec.num_envs, self._robot
        engine.place(np.arange(e, dtype=np.int32), specs.initial_pose(robot, e)._asdict())
        self._engine = engine
        self._hand_over(engine.observe(np.zeros((e, robot.num_bodies, 3), np.float32)))
        return self._next()

    def reset(self, physics: Physics, mask: Array, pose: Pose) -> tuple[Token, SimState]:
        """Start anew at `pose` where `mask`; contact forces read zero there until the next step."""
        engine = self._current(physics)
        ids = self._ids(mask)
        rows = self._rows("pose.", pose._asdict(), ids)
        if ids.size:
            engine.place(ids, rows)
            force = self._latest.contact_force.copy()
            force[ids] = 0.0
            self._hand_over(engine.observe(force))
        return self._next(), self._given

    def step(
        self, physics: Physics, targets: Array, torque_offset: Array | None = None
    ) -> tuple[Token, SimState]:
        """Advance one control step; see `bridges.protocol.Bridge.step`."""
        engine = self._current(physics)
        e, joints, decimation = self.spec.num_envs, len(self.spec.joint_names), self.spec.decimation
        wanted = checks.finite("targets", checks.array("targets", targets, (e, joints)))
        offset = None
        if torque_offset is not None:
            offset = checks.array("torque_offset", torque_offset, (e, decimation, joints))
            checks.finite("torque_offset", offset)
            checks.stiff(self.spec.joint_names, self._robot.kp)
        self._hand_over(engine.step(wanted, offset, decimation))
        return self._next(), self._given

    def randomize(self, physics: Physics, params: PhysicsParams, mask: Array) -> Token:
        """Set the given parameters where `mask`; MuJoCo can change all of them."""
        engine = self._current(physics)
        ids = self._ids(mask)
        given = engine.params.read(params, ids)
        if ids.size:
            engine.params.write(given, ids)
        return self._next()

    def set_root_velocity(
        self, physics: Physics, mask: Array, lin: Array, ang: Array
    ) -> tuple[Token, SimState]:
        """Replace the root's world velocity where `mask`."""
        engine = self._current(physics)
        ids = self._ids(mask)
        rows = self._rows("", {"lin": lin, "ang": ang}, ids)
        if ids.size:
            engine.set_root_velocity(ids, **rows)
            self._hand_over(engine.observe(self._latest.contact_force))
        return self._next(), self._given

    def hang(self, physics: Physics, mask: Array, length: Array) -> Token:
        """Hold the robots of `mask` by ropes; see `bridges.protocol.Hanging.hang`.

        Raises:
          RuntimeError: ``simulator.config.virtual_gantry`` is off.
        """
        engine = self._current(physics)
        gantry.require(self._gantry)
        ids = self._ids(mask)
        rows = gantry.finite_length(checks.array("length", length, (self.spec.num_envs,))[ids])
        engine.hang(ids, checks.at_least("length", rows, 0.0, ids))
        return self._next()

    def get_state(self, physics: Physics) -> dict[str, np.ndarray]:
        """Everything needed to continue bit for bit, in this process or another.

        Keys: ``integration`` [E, n] float64 (MuJoCo's integration state, warm start included),
        ``warnings`` [E, w, 2] int32, ``contact_force`` [E, B, 3] float32 and, for each field of
        `PhysicsParams` that was ever set, ``params/<field>`` [E, ...] float32, NaN where it was not.
        The float64 must come back as float64: restore it as a NumPy array.
        """
        engine = self._current(physics)
        return {**engine.save(), "contact_force": self._latest.contact_force.copy()}

    def set_state(self, physics: Physics, state: Mapping[str, np.ndarray]) -> Token:
        """Inverse of `get_state`. `reset` with an empty mask then returns the `SimState` of `state`.

        Raises:
          ValueError: an array is missing, unknown, or has another shape or type; names it.
        """
        required, extra = self._current(physics).formats()
        required["contact_force"] = (self._latest.contact_force.shape, np.dtype(np.float32))
        arrays = {name: np.asarray(value) for name, value in state.items()}
        checks.state(arrays, required, extra)
        contact_force = arrays.pop("contact_force")
        engine = self._fresh_engine()
        engine.load(arrays)
        self._engine = engine
        self._hand_over(engine.observe(contact_force))
        return self._next()

    def close(self) -> None:
        """Release threads and memory; every later call raises RuntimeError."""
        self._closed = True
        for name in ("_engine", "_latest", "_given"):
            self.__dict__.pop(name, None)

    def _fresh_engine(self) -> Engine:
        return Engine(
            self.model,
            self._layout,
            self._targets,
            self.spec.num_envs,
            threads=self._threads,
            gantry=(self._gantry, self._robot) if self._gantry.enabled else None,
        )

    def _current(self, physics: Physics) -> Engine:
        """The engine, if `physics` stands for its present state."""
        self._use(physics)
        return self._engine

    def _hand_over(self, latest: Coordinates) -> None:
        """Give `latest` away: from here on nobody writes it."""
        self._latest = latest
        given = (exchange.give(array) for array in latest)
        self._given = readout.sim_state(self._layout, *given)


def _keep_folders_clean() -> None:
    """No MUJOCO_LOG.TXT in the working directory; MuJoCo's warnings still go to the terminal."""
    config = mujoco.MjLogConfig.get()
    config.logto_file = False
    config.set()
