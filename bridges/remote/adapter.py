"""The backend of `bridges.remote.bridge.RemoteBridge`: a bridge of this package, run in a worker."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import bridges
from bridges.protocol import OBJECT_STATE, Bounded, Bridge, Ground, PhysicsParams, Pose, SimState
from holosoma_jax.config.schema import SimulatorConfig
from holosoma_jax.robots.robot import Robot

POSE = tuple(name for name in Pose._fields if name not in OBJECT_STATE)
"""A worker has no object."""


class Adapter:
    """Calls a bridge with the arrays in shared memory, and puts the states that it returns there."""

    def __init__(self, bridge: Bridge, arrays: Mapping[str, np.ndarray]):
        self._bridge, self._arrays = bridge, arrays
        self._physics: Any = None

    def describe(self) -> dict[str, Any]:
        """For JSON: the spec of the bridge, and whether it is `Bounded`."""
        spec = dataclasses.asdict(self._bridge.spec)
        spec.update(traceable=False, randomizes=sorted(spec["randomizes"]))
        return {"spec": spec, "bounded": isinstance(self._bridge, Bounded)}

    def init(self, flags: int, message: object) -> None:
        """`Bridge.init`."""
        self._physics = self._bridge.init()

    def reset(self, flags: int, message: object) -> None:
        """`Bridge.reset`."""
        pose = Pose(*(self._arrays[f"pose/{name}"] for name in POSE))
        self._keep(self._bridge.reset(self._physics, self._arrays["mask"], pose))

    def step(self, flags: int, message: object) -> None:
        """`Bridge.step`; flags 1: with a torque offset."""
        offset = self._arrays["torque_offset"] if flags else None
        self._keep(self._bridge.step(self._physics, self._arrays["targets"], offset))

    def randomize(self, flags: int, message: object) -> None:
        """`Bridge.randomize`; flags: bit i means that field i of `PhysicsParams` is given."""
        names = PhysicsParams._fields
        given = {name: self._arrays[f"params/{name}"] for i, name in enumerate(names) if flags >> i & 1}
        self._physics = self._bridge.randomize(self._physics, PhysicsParams(**given), self._arrays["mask"])

    def set_root_velocity(self, flags: int, message: object) -> None:
        """`Bridge.set_root_velocity`."""
        arrays = self._arrays
        self._keep(
            self._bridge.set_root_velocity(self._physics, arrays["mask"], arrays["lin"], arrays["ang"])
        )

    def get_state(self, flags: int, message: object) -> dict[str, Any]:
        """`Bridge.get_state`."""
        return {name: np.asarray(value) for name, value in self._bridge.get_state(self._physics).items()}

    def set_state(self, flags: int, message: Mapping[str, np.ndarray]) -> None:
        """`Bridge.set_state`."""
        self._physics = self._bridge.set_state(self._physics, message)

    def usage(self, flags: int, message: object) -> dict[str, Any]:
        """`Bounded.usage`."""
        assert isinstance(self._bridge, Bounded)
        return {"text": self._bridge.usage(self._physics)}

    def check(self, flags: int, message: object) -> None:
        """`Bounded.check`."""
        assert isinstance(self._bridge, Bounded)
        self._bridge.check(self._physics)

    def close(self) -> None:
        """`Bridge.close`."""
        self._bridge.close()

    def _keep(self, result: tuple[Any, SimState]) -> None:
        self._physics, sim = result
        for name, value in sim._asdict().items():
            if value is not None:  # of an object
                np.copyto(self._arrays[f"out/{name}"], np.asarray(value))


def create(settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Adapter:
    """The bridge of `settings` (see `settings_of`), started in this process."""
    cfg = _dataclass(SimulatorConfig, settings["cfg"])
    fields: dict[str, Any] = {}
    for name, kind in typing.get_type_hints(Robot).items():
        value = settings[f"robot.{name}"]
        if value is not None and Path in (kind, *typing.get_args(kind)):
            value = Path(value)
        fields[name] = tuple(value) if isinstance(value, list) else value
    record = Robot(**fields)
    ground = Ground(settings.get("heights"), settings["cell"], tuple(settings["corner"]))
    return Adapter(
        bridges.make(
            cfg,
            record,
            ground,
            settings["num_envs"],
            self_collisions=settings["self_collisions"],
            in_process=True,
        ),
        arrays,
    )


def settings_of(
    cfg: SimulatorConfig, robot: Robot, ground: Ground, num_envs: int, *, self_collisions: bool
) -> dict[str, Any]:
    """What `create` needs, as a message of `bridges.remote.worker`."""
    settings: dict[str, Any] = {
        "cfg": dataclasses.asdict(cfg),
        "cell": ground.cell,
        "corner": list(ground.corner),
        "num_envs": num_envs,
        "self_collisions": self_collisions,
    }
    if ground.heights is not None:
        settings["heights"] = np.asarray(ground.heights)
    for field in dataclasses.fields(robot):
        value = getattr(robot, field.name)
        settings[f"robot.{field.name}"] = str(value) if isinstance(value, Path) else value
    return settings


def _dataclass(kind: type, values: Mapping[str, Any]) -> Any:
    """A (nested) dataclass from what `dataclasses.asdict` made of it and JSON transmitted."""
    hints = typing.get_type_hints(kind)
    return kind(
        **{
            name: _dataclass(hints[name], value) if dataclasses.is_dataclass(hints[name]) else value
            for name, value in values.items()
        }
    )
