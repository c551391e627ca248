"""A simulator in a worker that hands over coordinates: the host's side, with the state in memory shared with it.

A reset or a push changes that state at once, on this side, where link poses follow from the coordinates
(`bridges.kinematics`); the simulator learns of it at the next step. So a control step is one round trip
whatever happens between two of them. Both Isaacs run like this.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from bridges import checks, exchange, specs
from bridges.mujoco import readout, targets
from bridges.protocol import (
    Array,
    BridgeSpec,
    Physics,
    PhysicsParams,
    Pose,
    SimState,
    SimulatorError,
)
from bridges.remote.coordinate_program import STATE
from bridges.remote.process import Worker
from bridges.remote.program import Program
from bridges.remote.unpack import split
from bridges.stateful import Stateful, Token

if TYPE_CHECKING:
    from holosoma_jax.robots.robot import Robot

OFFSET, WRITE = 1, 2
LARGEST = 1e10
"""m, rad, m/s, rad/s; an environment beyond is taken to have diverged, as in MuJoCo"""
PLACE_TOLERANCE = 0.005
"""m between a link where the simulator has it and where the MJCF's kinematics do"""


class CoordinateBridge(Stateful):
    """`bridges.protocol.Bridge` over a simulator in a worker; the base of those of both Isaacs.

    Its `SimState`s are copies: they stay valid. If the worker fails, the call raises `SimulatorError`,
    and `init` starts another one.

    Args:
      spec: what it says of itself.
      robot: the robot.
      model: the robot in MuJoCo; gives kinematics.
      program: puts the robot's file into the folder that it is given, which lasts as long as the bridge, and
        returns what the worker runs.

    Raises:
      StartError: the simulator does not start.
    """

    def __init__(self, spec: BridgeSpec, robot: Robot, model: Any, program: Callable[[Path], Program]):
        super().__init__()
        self.spec = spec
        self._robot, self._layout = robot, readout.layout(model, robot)
        self._folder = tempfile.TemporaryDirectory(prefix=f"holosoma-{spec.simulator}-")
        try:
            self.worker = Worker(program(Path(self._folder.name)))
        except BaseException:
            self._folder.cleanup()
            raise
        self._arrays = self.worker.arrays
        self._block, self._starts = self.worker.block(STATE)
        self._shapes = tuple(self._arrays[name].shape for name in STATE)
        self._lost = np.zeros(spec.num_envs, bool)
        self._params: dict[str, np.ndarray] = {}  # field -> [E, ...] in force; NaN: nominal
        self._compared = False
        self._given: SimState

    @property
    def versions(self) -> Mapping[str, str]:
        """See `bridges.protocol.Remote.versions`."""
        return self.worker.versions

    def init(self) -> Token:
        """Fresh environments: nominal parameters, robots at their initial pose and at rest."""
        self._check_open()
        e = self.spec.num_envs
        if not self.worker.alive:
            self._params = {}
            self.worker.start()
        nominal = {name: np.full_like(value, np.nan) for name, value in self._params.items()}
        self._put_params(nominal, np.ones(e, bool))
        self._params = {}
        self._place(np.arange(e), specs.initial_pose(self._robot, e)._asdict())
        return self._next()

    def reset(self, physics: Physics, mask: Array, pose: Pose) -> tuple[Token, SimState]:
        """Start anew at `pose` where `mask`; contact forces read zero there until the next step."""
        self._use(physics)
        ids = self._ids(mask)
        rows = self._rows("pose.", pose._asdict(), ids)
        self._place(ids, rows)
        return self._next(), self._given

    def step(
        self, physics: Physics, targets: Array, torque_offset: Array | None = None
    ) -> tuple[Token, SimState]:
        """Advance one control step; see `bridges.protocol.Bridge.step`."""
        self._use(physics)
        given = {"targets": targets} | ({} if torque_offset is None else {"torque_offset": torque_offset})
        for name, value in given.items():
            wanted = self._arrays[name]
            wanted[...] = checks.finite(name, checks.array(name, value, wanted.shape))
        news = self._arrays["write_root"].any() or self._arrays["write_dof"].any()
        self.worker.call("step", OFFSET * (torque_offset is not None) + WRITE * bool(news))
        self._arrays["write_root"][...] = self._arrays["write_dof"][...] = False
        for name in STATE:
            rows = self._arrays[name].reshape(self.spec.num_envs, -1)
            # min and max pass NaN on; a comparison with NaN is false
            self._lost |= ~((rows.max(1) < LARGEST) & (rows.min(1) > -LARGEST))
        self._observe()
        if not self._compared:
            self._compare_places()
        return self._next(), self._given

    def randomize(self, physics: Physics, params: PhysicsParams, mask: Array) -> Token:
        """Set the given parameters where `mask`; see `bridges.protocol.Bridge.randomize`."""
        self._use(physics)
        ids, given = self._ids(mask), {}
        shapes = self._param_shapes()
        for name, value in params._asdict().items():
            if value is not None:
                label = f"params.{name}"
                rows = checks.array(label, value, shapes[name]).astype(np.float32)
                low, exclusive = targets.least(name)
                checks.at_least(label, rows[ids], low, ids, exclusive=exclusive)
                given[name] = rows
        self._put_params(given, np.isin(np.arange(self.spec.num_envs), ids))
        return self._next()

    def set_root_velocity(
        self, physics: Physics, mask: Array, lin: Array, ang: Array
    ) -> tuple[Token, SimState]:
        """Replace the root's world velocity where `mask`."""
        self._use(physics)
        ids = self._ids(mask)
        rows = self._rows("", {"lin": lin, "ang": ang}, ids)
        if ids.size:
            velocity = np.concatenate([rows["lin"], rows["ang"]], 1)
            # Faster than anything can be: the environment has diverged, and the simulator need not see that.
            sane = (np.abs(velocity) < LARGEST).all(1)
            self._arrays["state/root"][ids[sane], 7:] = velocity[sane]
            self._arrays["write_root"][ids[sane]] = True
            self._lost[ids] |= ~sane
            self._observe()
        return self._next(), self._given

    def get_state(self, physics: Physics) -> dict[str, np.ndarray]:
        """Coordinates, last contact forces and parameters.

        The solver's own memory of contacts is not among them: what continues from a saved state differs
        from what was not interrupted by about the solver's tolerance.
        """
        self._use(physics)
        params = {f"params/{name}": value.copy() for name, value in self._params.items()}
        state = {name.removeprefix("state/"): self._arrays[name].copy() for name in STATE}
        return {**state, "lost": self._lost.copy(), **params}

    def set_state(self, physics: Physics, state: Mapping[str, np.ndarray]) -> Token:
        """Inverse of `get_state`. `reset` with an empty mask then returns the `SimState` of `state`.

        Raises:
          ValueError: an array is missing, unknown, or has another shape or type; names it.
        """
        self._use(physics)
        e, float32 = self.spec.num_envs, np.dtype(np.float32)
        required: dict[str, checks.Format] = {
            name.removeprefix("state/"): (self._arrays[name].shape, float32) for name in STATE
        }
        required["lost"] = ((e,), np.dtype(np.bool_))
        extra: dict[str, checks.Format] = {
            f"params/{name}": (shape, float32) for name, shape in self._param_shapes().items()
        }
        arrays = {name: np.asarray(value) for name, value in state.items()}
        checks.state(arrays, required, extra)
        saved = {n.removeprefix("params/"): v for n, v in arrays.items() if n.startswith("params/")}
        nominal = {name: np.full_like(value, np.nan) for name, value in self._params.items()}
        self._put_params(nominal | saved, np.ones(e, bool))
        self._params = {name: value.copy() for name, value in saved.items()}
        for name in STATE:
            self._arrays[name][...] = arrays[name.removeprefix("state/")]
        self._lost = arrays["lost"].copy()
        self._arrays["write_root"][...] = self._arrays["write_dof"][...] = True
        self._observe()
        return self._next()

    def close(self) -> None:
        """End the worker, and remove the robot's file."""
        self._closed = True
        self.worker.close()
        self._folder.cleanup()

    def _place(self, ids: np.ndarray, rows: Mapping[str, np.ndarray]) -> None:
        """Rows of the state in shared memory, which the simulator gets at the next step."""
        if ids.size:
            quat = rows["root_quat"].astype(np.float64)
            quat = quat / np.linalg.norm(quat, axis=1, keepdims=True)
            root = [rows["root_pos"], quat, rows["root_lin_vel"], rows["root_ang_vel"]]
            self._arrays["state/root"][ids] = np.concatenate(root, 1)
            self._arrays["state/joint_pos"][ids] = rows["joint_pos"]
            self._arrays["state/joint_vel"][ids] = rows["joint_vel"]
            self._arrays["state/contact_force"][ids] = 0.0
            self._arrays["write_root"][ids] = self._arrays["write_dof"][ids] = True
            self._lost[ids] = False
        self._observe()

    def _observe(self) -> None:
        """The `SimState` of what is in shared memory, in arrays of its own."""
        block, lost = exchange.borrow(self._block), np.array(self._lost)
        self._given = jax.block_until_ready(_sim_state(self._layout, self._starts, self._shapes, block, lost))

    def _put_params(self, given: Mapping[str, np.ndarray], mask: np.ndarray) -> None:
        """Have the simulator take `given` [E, ...] (NaN: nominal) where `mask`, and remember it."""
        changed = {}
        for name, rows in given.items():
            known = self._params.setdefault(name, np.full(rows.shape, np.nan, np.float32))
            if not np.array_equal(known[mask], rows[mask], equal_nan=True):
                known[mask] = rows[mask]
                changed[name] = known
        if changed:
            self._apply_params(changed, mask)

    def _apply_params(self, values: Mapping[str, np.ndarray], mask: np.ndarray) -> None:
        """Have the simulator take `values` where `mask`."""
        self._send_params(values, mask)

    def _send_params(self, values: Mapping[str, np.ndarray], mask: np.ndarray) -> bool:
        """Whether the worker has refused some of `values`."""
        self._arrays["mask"][...] = mask
        flags = 0
        for name, rows in values.items():
            self._arrays[f"params/{name}"][...] = rows
            flags |= 1 << PhysicsParams._fields.index(name)
        return bool(self.worker.call("randomize", flags).get("refused"))

    def _compare_places(self) -> None:
        """The simulator's links must be where the MJCF has them; else every observation would be wrong."""
        found = self.worker.call("body_positions")
        ours = np.asarray(self._given.body_pos)[:, found["bodies"]]
        apart = np.linalg.norm(found["places"] - ours, axis=-1)
        kept = np.isfinite(apart).all(1)  # an environment that has diverged says nothing
        if not kept.any():
            return  # after another step
        apart = apart[kept].max(0)
        worst = int(apart.argmax())
        if apart[worst] > PLACE_TOLERANCE:
            name = self.spec.body_names[found["bodies"][worst]]
            raise SimulatorError(
                f"{self.spec.simulator} put body '{name}' {apart[worst]:.3f} m from where {self._robot.mjcf.name} has "
                "it. Report it with the output of: python -m holosoma_jax.doctor --conformance "
                f"simulator:{self.spec.simulator}."
            )
        self._compared = True


@partial(jax.jit, static_argnums=(0, 1, 2))
def _sim_state(layout: Any, starts: Any, shapes: Any, block: jax.Array, lost: jax.Array) -> SimState:
    """`SimState` from the state's arrays, which lie one behind the other in `block`."""
    root, joint_pos, joint_vel, contact_force = split(starts, shapes, block)
    pos, quat, lin, ang = root[:, :3], root[:, 3:7], root[:, 7:10], root[:, 10:]
    count = root.shape[0]
    qpos = jnp.zeros((count, 7 + joint_pos.shape[1])).at[:, :7].set(jnp.concatenate([pos, quat], 1))
    qvel = jnp.zeros((count, 6 + joint_vel.shape[1])).at[:, :3].set(lin).at[:, 3:6].set(_to_body(quat, ang))
    qpos = qpos.at[:, jnp.array(layout.joint_pos)].set(joint_pos)
    qvel = qvel.at[:, jnp.array(layout.joint_vel)].set(joint_vel)
    return readout.sim_state(layout, qpos, qvel, contact_force, lost)


def _to_body(quat: jax.Array, vector: jax.Array) -> jax.Array:
    """World vectors [E, 3] in the axes of frames with attitude `quat` [E, 4] (w x y z)."""
    w, axis = quat[:, :1], -quat[:, 1:]
    twice = 2.0 * jnp.cross(axis, vector)
    return vector + w * twice + jnp.cross(axis, twice)
