"""MuJoCo Warp: many environments of one robot, on a GPU (or, for tests, on the CPU), inside jitted functions.

The model is that of the MuJoCo bridge (`bridges.mujoco.model`): PD control is the engine's own, evaluated at
every physics sub-step. The physics value is the whole state, so every method is a pure function: it
may be called inside jit and scan, or outside. What a control step returns describes the state *after*
it, contact forces apart: those are of its last sub-step.

A diverged environment (a value became non-finite or huge) does not disturb the others: its row of
`SimState` is NaN until it is reset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from bridges import checks, pd_stability, specs
from bridges.mjwarp import inputs, model, start, state, usage
from bridges.mjwarp.inputs import Inputs
from bridges.mjwarp.params import Writer
from bridges.mjwarp.programs import DevicePrograms, Gantry, Programs
from bridges.mjwarp.state import Physics, Usage
from bridges.mujoco import gantry, readout, targets
from bridges.protocol import Array, Ground, PhysicsParams, Pose, SimState

if TYPE_CHECKING:
    from holosoma_jax.config.schema import SimulatorConfig
    from holosoma_jax.robots.robot import Robot


def make(
    cfg: SimulatorConfig,
    robot: Robot,
    ground: Ground,
    num_envs: int,
    *,
    self_collisions: bool = False,
    devices: int = 1,
    axis_name: str = "devices",
) -> MjwarpBridge:
    """A bridge to `num_envs` copies of `robot` on `ground`, shared out over `devices` of this process."""
    return MjwarpBridge(
        cfg,
        robot,
        ground,
        num_envs // devices,
        self_collisions=self_collisions,
        devices=devices,
        axis_name=axis_name,
    )


class MjwarpBridge:
    """`bridges.protocol.Bridge` over MuJoCo Warp; traceable, so its `SimState`s are ordinary values.

    Every method raises ValueError for an array of the wrong shape or type. Values are checked where
    there are values, that is outside of jit: ValueError for one that makes no sense in an environment
    that the call acts on. Inside jit such a value makes its environment diverge.

    With several `devices` each has a model and memory of its own, and `num_envs` environments: the methods take the
    rows of one device, and are called inside `jax.pmap` over `axis_name`, where every device runs its own.
    """

    def __init__(
        self,
        cfg: SimulatorConfig,
        robot: Robot,
        ground: Ground,
        num_envs: int,
        *,
        self_collisions: bool = False,
        devices: int = 1,
        axis_name: str = "devices",
    ):
        spec = specs.spec("mjwarp", cfg, robot, num_envs, traceable=True)
        settings = cfg.config.mujoco_warp
        where = start.devices(devices)
        device = where[0]
        graph, loops, graphs = start.graph_mode(device, settings.cuda_graph)
        start.print_line(start.describe(device, graphs, deterministic=settings.deterministic))
        with start.room(num_envs):
            each = [
                model.build(
                    robot, ground, cfg, num_envs, device, loops=loops, self_collisions=self_collisions
                )
                for device in where
            ]
        built = each[0]
        self.model = built.host
        if settings.integrator == "euler":
            option = "--simulator.config.mujoco-warp.integrator=implicitfast"
            pd_stability.warn(spec, robot, built.host, implicit_damping=True, option=option)
        # A GPU lists contacts in the order in which it finds them.
        self.spec = replace(spec, repeatable=not device.is_cuda)
        self._inputs = Inputs(self.spec)
        self._settings, self._robot, self._nominal = settings, robot, built.nominal
        self._layout = readout.layout(built.host, robot)
        fixed = settings.foot_friction == "fixed"
        self._targets = targets.targets(built.host, robot, fixed_foot_friction=fixed)
        self._gantry = cfg.config.virtual_gantry
        ropes = None
        if self._gantry.enabled:
            held = gantry.attached(self._gantry, robot, built.host)
            ropes = Gantry(self._gantry.stiffness, self._gantry.damping, held)
        programs = [Programs(built, spec.decimation, graph, ropes) for built in each]
        self._programs = programs[0] if devices == 1 else DevicePrograms(programs, axis_name)
        with start.room(num_envs), start.kernels_being_loaded():
            self._programs.load()
        # Called from Python, each is a jitted function; called inside another, it becomes part of that.
        self._step = jax.jit(self._step_arrays)
        self._reset = jax.jit(self._reset_arrays)
        self._hang = jax.jit(self._hang_arrays)
        self._push = jax.jit(state.push)
        self._randomize = jax.jit(partial(Writer(built.nominal, self._targets).write, self._programs))

    def init(self) -> Physics:
        """Fresh environments: nominal parameters, robots at their initial pose and at rest."""
        e, model, robot = self.spec.num_envs, self.model, self._robot
        qpos = np.array(model.qpos0, np.float32)
        qpos[:3], qpos[3:7] = robot.init_pos, robot.init_quat
        qpos[np.array(self._layout.joint_pos)] = robot.default_joint_pos
        rows, flags = jnp.zeros((e, model.nv)), jnp.zeros(e, jnp.int32)
        return Physics(
            qpos=jnp.tile(jnp.asarray(qpos)[None], (e, 1)),
            qvel=rows,
            warmstart=jnp.zeros_like(rows),
            time=jnp.zeros(e),
            contact_force=jnp.zeros((e, robot.num_bodies, 3)),
            diverged=jnp.zeros(e, bool),
            fields=jax.tree.map(
                lambda x: jnp.tile(jnp.asarray(x)[None], (e,) + (1,) * x.ndim), self._nominal
            ),
            usage=Usage(flags, jnp.zeros(1, jnp.int32), jnp.zeros_like(flags)),
            ropes=self._ropes_at(jnp.tile(jnp.asarray(qpos[None, :3]), (e, 1))),
        )

    def reset(self, physics: Physics, mask: Array, pose: Pose) -> tuple[Physics, SimState]:
        """Start anew at `pose` where `mask`; contact forces read zero there until the next step."""
        self._programs.require_open()
        mask, rows = self._inputs.mask(mask), self._inputs.rows("pose.", pose._asdict(), mask)
        if inputs.known(mask, rows["root_quat"]):
            ids = np.flatnonzero(mask)
            for name in {"root_quat", "object_quat"} & rows.keys():
                checks.unit(f"pose.{name}", np.asarray(rows[name])[ids], ids)
        return self._observed(self._reset(physics, mask, Pose(**rows)))

    def step(
        self, physics: Physics, targets: Array, torque_offset: Array | None = None
    ) -> tuple[Physics, SimState]:
        """Advance one control step; see `bridges.protocol.Bridge.step`."""
        self._programs.require_open()
        e, joints, decimation = self.spec.num_envs, len(self.spec.joint_names), self.spec.decimation
        targets = self._inputs.array("targets", targets, (e, joints))
        if torque_offset is not None:
            torque_offset = self._inputs.array("torque_offset", torque_offset, (e, decimation, joints))
            checks.stiff(self.spec.joint_names, self._robot.kp)
        return self._observed(self._step(physics, targets, torque_offset))

    def randomize(self, physics: Physics, params: PhysicsParams, mask: Array) -> Physics:
        """Set the given parameters where `mask`; MuJoCo Warp can change all of them."""
        self._programs.require_open()
        mask, given = self._inputs.mask(mask), {}
        for name, value in params._asdict().items():
            if value is not None:
                self._targets.require(name)
                shape, least = self._targets.shape(name, self.spec.num_envs), targets.least(name)
                given[name] = self._inputs.array(f"params.{name}", value, shape, mask, *least)
        return self._randomize(physics, PhysicsParams(**given), mask) if given else physics

    def set_root_velocity(
        self, physics: Physics, mask: Array, lin: Array, ang: Array
    ) -> tuple[Physics, SimState]:
        """Replace the root's world velocity where `mask`."""
        self._programs.require_open()
        mask = self._inputs.mask(mask)
        rows = self._inputs.rows("", {"lin": lin, "ang": ang}, mask)
        return self._observed(self._push(physics, mask, **rows))

    def hang(self, physics: Physics, mask: Array, length: Array) -> Physics:
        """Hold the robots of `mask` by ropes; see `bridges.protocol.Hanging.hang`.

        Raises:
          RuntimeError: ``simulator.config.virtual_gantry`` is off.
        """
        self._programs.require_open()
        gantry.require(self._gantry)
        mask, finite = self._inputs.mask(mask), gantry.finite_length(jnp.asarray(length), jnp)
        return self._hang(
            physics, mask, self._inputs.array("length", finite, (self.spec.num_envs,), mask, 0.0, False)
        )

    def get_state(self, physics: Physics) -> dict[str, Any]:
        """The arrays of `Physics` by name ('qpos', 'fields/body_mass', ...): all of the state."""
        return {name: x if isinstance(x, Tracer) else np.asarray(x) for name, x in _named(physics)}

    def set_state(self, physics: Physics, state: Mapping[str, Array]) -> Physics:
        """Inverse of `get_state`. `reset` with an empty mask then returns the `SimState` of `state`.

        Raises:
          ValueError: an array is missing, unknown, or has another shape or type; names it.
        """
        required = {name: (x.shape, np.dtype(x.dtype)) for name, x in _named(physics)}
        checks.state(state, required, {})
        return jax.tree.unflatten(
            jax.tree.structure(physics), [inputs.owned(state[name]) for name in required]
        )

    def usage(self, physics: Physics) -> str:
        """One line: contacts and constraint rows needed at most since `init`."""
        return usage.report(physics.usage, self._settings)

    def check(self, physics: Physics) -> None:
        """Make sure that all contacts and constraints have fitted.

        Raises:
          CapacityError: some were left out; names the setting and the value to use.
        """
        usage.check(physics.usage, self._settings)

    def close(self) -> None:
        """Release the model's memory; later calls that need it raise RuntimeError."""
        self._programs.close()

    # --- for arrays that were checked ----------------------------------------------------------------

    def _ropes_at(self, root_pos: jax.Array) -> gantry.Ropes | None:
        """Ropes of robots that start with their roots at `root_pos` [E, 3] m."""
        return gantry.at_start(self._gantry, self._robot, root_pos, jnp) if self._gantry.enabled else None

    def _reset_arrays(self, physics: Physics, mask: jax.Array, pose: Pose) -> Physics:
        """`state.place`, and new ropes."""
        new = self._ropes_at(pose.root_pos)
        tied = jax.tree.map(partial(state.where, mask), new, physics.ropes)
        placed = state.place(self._layout, self.model.qpos0, physics, mask, pose)
        return placed._replace(ropes=tied)

    def _hang_arrays(self, physics: Physics, mask: jax.Array, length: jax.Array) -> Physics:
        assert physics.ropes is not None
        new = gantry.over(physics.ropes, physics.qpos[:, :3], length, jnp)
        return physics._replace(ropes=jax.tree.map(partial(state.where, mask), new, physics.ropes))

    def _step_arrays(self, physics: Physics, targets: jax.Array, offset: jax.Array | None) -> Physics:
        """A torque offset enters as a shift of the target by offset / kp: the same torque before the clip."""
        ctrl = targets[None]
        if offset is not None:
            kp = physics.fields.actuator_gainprm[:, :, 0]
            ctrl = jnp.swapaxes(targets[:, None] + offset / kp[:, None], 0, 1)
        ropes = {}
        if physics.ropes is not None:
            length = gantry.rest_length(self._gantry, physics.ropes, physics.time, jnp)
            ropes = {"anchor": physics.ropes.anchor, "length": length}
        done = self._programs.step(
            {
                **ropes,
                **physics.fields._asdict(),
                **physics.usage._asdict(),
                "ctrl": ctrl,
                "qpos": physics.qpos,
                "qvel": physics.qvel,
                "qacc_warmstart": physics.warmstart,
                "time": physics.time,
                "diverged": physics.diverged.astype(jnp.int32),
            }
        )
        return physics._replace(
            qpos=done["qpos"],
            qvel=done["qvel"],
            warmstart=done["qacc_warmstart"],
            time=done["time"],
            contact_force=state.contact_forces(self._layout, done["sensordata"]),
            diverged=done["diverged"] > 0,
            usage=Usage(*(done[name] for name in Usage._fields)),
        )

    def _observed(self, physics: Physics) -> tuple[Physics, SimState]:
        """`physics`, and the state to hand over."""
        state = (physics.qpos, physics.qvel, physics.contact_force, physics.diverged)
        return physics, readout.sim_state(self._layout, *state)


def _named(physics: Physics) -> list[tuple[str, jax.Array]]:
    leaves = jax.tree_util.tree_leaves_with_path(physics)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), x) for path, x in leaves]
