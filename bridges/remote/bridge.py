"""Any bridge, in a worker process; through this class it is used like one of this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bridges import checks, specs
from bridges.protocol import (
    OBJECT_STATE,
    Array,
    BridgeSpec,
    Ground,
    Physics,
    PhysicsParams,
    Pose,
    SimState,
)
from bridges.remote.adapter import POSE, settings_of
from bridges.remote.process import Worker
from bridges.remote.program import Program
from bridges.remote.unpack import unpacker
from bridges.stateful import Stateful, Token
from holosoma_jax.config import own_files

if TYPE_CHECKING:
    from holosoma_jax.config.schema import SimulatorConfig
    from holosoma_jax.robots.robot import Robot

_STATE = tuple(name for name in SimState._fields if name not in OBJECT_STATE)
"""A worker has no object."""
CALLS = (
    "init",
    "reset",
    "step",
    "randomize",
    "set_root_velocity",
    "get_state",
    "set_state",
    "usage",
    "check",
)
"""Of `bridges.remote.adapter.Adapter`."""
PACKAGES = ("mujoco", "mujoco-warp", "warp-lang", "jax")
"""Whose versions a report says."""


def make(
    cfg: SimulatorConfig, robot: Robot, ground: Ground, num_envs: int, *, self_collisions: bool = False
) -> RemoteBridge:
    """The bridge that `cfg` names, in a worker that runs ``cfg.config.remote.python``.

    Raises:
      StartError: the worker could not be started.
    """
    program = adapter_program(cfg, robot, ground, num_envs, self_collisions=self_collisions)
    worker = Worker(program)
    kind = BoundedRemoteBridge if worker.described["bounded"] else RemoteBridge
    return kind(worker)


class RemoteBridge(Stateful):
    """`bridges.protocol.Bridge` whose simulator runs in a worker.

    Its `SimState`s are copies: they stay valid. If the worker fails, the call raises
    `bridges.protocol.SimulatorError`, and `init` starts another worker.
    """

    def __init__(self, worker: Worker):
        super().__init__()
        self.worker = worker
        described = dict(worker.described["spec"])
        for name in ("joint_names", "body_names"):
            described[name] = tuple(described[name])
        described["randomizes"] = frozenset(described["randomizes"])
        self.spec = BridgeSpec(**described)
        self._unpack = unpacker(worker, [(f"out/{name}", name) for name in _STATE])
        self._given: SimState

    @property
    def versions(self) -> Mapping[str, str]:
        """See `bridges.protocol.Remote.versions`."""
        return self.worker.versions

    def init(self) -> Token:
        """Fresh environments; of a new worker, if the old one is gone."""
        self._check_open()
        if not self.worker.alive:
            self.worker.start()
        self.worker.call("init")
        return self._next()

    def reset(self, physics: Physics, mask: Array, pose: Pose) -> tuple[Token, SimState]:
        """See `bridges.protocol.Bridge.reset`."""
        self._use(physics)
        ids = self._ids(mask)
        self._rows("pose.", pose._asdict(), ids)
        self._put("mask", mask)
        for name in POSE:
            self._put(f"pose/{name}", getattr(pose, name))
        self.worker.call("reset")
        return self._state()

    def step(
        self, physics: Physics, targets: Array, torque_offset: Array | None = None
    ) -> tuple[Token, SimState]:
        """See `bridges.protocol.Bridge.step`."""
        self._use(physics)
        given = {"targets": targets} | ({} if torque_offset is None else {"torque_offset": torque_offset})
        for name, value in given.items():
            wanted = self.worker.arrays[name]
            wanted[...] = checks.finite(name, checks.array(name, value, wanted.shape))
        self.worker.call("step", flags=int(torque_offset is not None))
        return self._state()

    def randomize(self, physics: Physics, params: PhysicsParams, mask: Array) -> Token:
        """See `bridges.protocol.Bridge.randomize`."""
        self._use(physics)
        self._ids(mask)
        self._put("mask", mask)
        flags, shapes = 0, self._param_shapes()
        for bit, (name, value) in enumerate(params._asdict().items()):
            if value is not None:
                label = f"params.{name}"
                self._put(f"params/{name}", checks.array(label, value, shapes[name]))
                flags |= 1 << bit
        self.worker.call("randomize", flags)
        return self._next()

    def set_root_velocity(
        self, physics: Physics, mask: Array, lin: Array, ang: Array
    ) -> tuple[Token, SimState]:
        """See `bridges.protocol.Bridge.set_root_velocity`."""
        self._use(physics)
        self._rows("", {"lin": lin, "ang": ang}, self._ids(mask))
        for name, value in (("mask", mask), ("lin", lin), ("ang", ang)):
            self._put(name, value)
        self.worker.call("set_root_velocity")
        return self._state()

    def get_state(self, physics: Physics) -> dict[str, np.ndarray]:
        """The state that the bridge in the worker gives."""
        self._use(physics)
        return self.worker.call("get_state")

    def set_state(self, physics: Physics, state: Mapping[str, np.ndarray]) -> Token:
        """Inverse of `get_state`, also for a state that the same bridge saved in another process."""
        self._use(physics)
        self.worker.call("set_state", message={name: np.asarray(value) for name, value in state.items()})
        return self._next()

    def close(self) -> None:
        """End the worker."""
        self._closed = True
        self.worker.close()

    def _put(self, name: str, value: Array) -> None:
        self.worker.arrays[name][...] = np.asarray(value)

    def _state(self) -> tuple[Token, SimState]:
        return self._next(), SimState(**self._unpack())


class BoundedRemoteBridge(RemoteBridge):
    """One whose simulator works in buffers of a fixed size (`bridges.protocol.Bounded`)."""

    def usage(self, physics: Physics) -> str:
        """See `bridges.protocol.Bounded.usage`."""
        self._use(physics)
        return self.worker.call("usage")["text"]

    def check(self, physics: Physics) -> None:
        """See `bridges.protocol.Bounded.check`."""
        self._use(physics)
        self.worker.call("check")


def adapter_program(
    cfg: SimulatorConfig, robot: Robot, ground: Ground, num_envs: int, *, self_collisions: bool
) -> Program:
    """What the worker is to run: `bridges.remote.adapter` around the bridge that `cfg` names."""
    remote, sim = cfg.config.remote, cfg.config.sim
    e, joints, bodies = num_envs, robot.num_joints, robot.num_bodies
    arrays: dict[str, tuple[tuple[int, ...], type]] = {"mask": ((e,), np.bool_)}
    arrays |= {f"pose/{name}": (shape, np.float32) for name, shape in specs.pose_shapes(e, joints).items()}
    arrays |= {
        "targets": ((e, joints), np.float32),
        "torque_offset": ((e, sim.control_decimation, joints), np.float32),
        "lin": ((e, 3), np.float32),
        "ang": ((e, 3), np.float32),
    }
    for prefix, shapes in (
        ("params", specs.param_shapes(e, joints, bodies)),
        ("out", specs.state_shapes(e, joints, bodies)),
    ):
        arrays |= {f"{prefix}/{name}": (shape, np.float32) for name, shape in shapes.items()}
    return Program(
        title=cfg.name,
        backend="bridges.remote.adapter",
        calls=CALLS,
        arrays=arrays,
        settings=settings_of(cfg, robot, ground, num_envs, self_collisions=self_collisions),
        python=remote.python or sys.executable,
        path=(str(Path(__file__).resolve().parents[2]), *_folders(cfg.name)),
        packages=PACKAGES,
        environment={} if cfg.name == "mjwarp" else {"JAX_PLATFORMS": "cpu"},  # leaves a GPU to this process
        start_timeout_s=remote.start_timeout_s,
        timeout_s=remote.timeout_s,
    )


def _folders(name: str) -> list[str]:
    """Where the module of a simulator MODULE:NAME lies: beside a file of `--import-file`, or where one starts."""
    module, colon, _ = name.partition(":")
    file = own_files.FILES.get(module)
    return [*([str(file.parent)] if file else []), os.getcwd()] if colon else []
