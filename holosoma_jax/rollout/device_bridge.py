"""A bridge as the devices of a run see it: what goes in and comes out has a device axis [D, n, ...].

The environments of a process are rows of one simulator, or, where the simulator is a JAX function, D simulators in one
program. Stepped rollouts, resets from Python and checkpoints take both the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from bridges.protocol import Array, Bounded, Bridge, Physics, PhysicsParams, Pose, SimState
from holosoma_jax.parallel.devices import Devices


def over_devices(bridge: Bridge, devices: Devices) -> Bridge:
    """`bridge` for arrays of `devices`; itself where the run has a single one."""
    if devices.axis_name is None:
        return bridge
    return OnDevices(bridge, devices) if bridge.spec.traceable else OnHost(bridge, devices)


def check_buffers(bridge: Bridge, devices: Devices, physics: Physics) -> None:
    """Raise CapacityError if a simulator with buffers of a fixed size has left something out on any device."""
    if isinstance(bridge, Bounded):
        for own in _each(bridge, devices, physics):
            bridge.check(own)


def usage(bridge: Bridge, devices: Devices, physics: Physics) -> str | None:
    """A line about the fill of the buffers, of the first device if each has some; None for a simulator without."""
    return bridge.usage(_each(bridge, devices, physics)[0]) if isinstance(bridge, Bounded) else None


def _each(bridge: Bridge, devices: Devices, physics: Physics) -> list[Physics]:
    return devices.each(physics) if bridge.spec.traceable else [physics]


class OnHost:
    """A `Bridge` over one simulator that holds all rows of the process: they are split and gathered on the way."""

    def __init__(self, bridge: Bridge, devices: Devices):
        """`bridge` has the environments of all `devices`, in their order."""
        self.spec, self._bridge, self._devices = bridge.spec, bridge, devices

    def init(self) -> Physics:
        """As `Bridge.init`."""
        return self._bridge.init()

    def reset(self, physics: Physics, mask: Array, pose: Pose) -> tuple[Physics, SimState]:
        """As `Bridge.reset`, of [D, n, ...]."""
        return self._split(*self._bridge.reset(physics, *self._rows(mask, pose)))

    def step(
        self, physics: Physics, targets: Array, torque_offset: Array | None = None
    ) -> tuple[Physics, SimState]:
        """As `Bridge.step`, of [D, n, ...]."""
        return self._split(*self._bridge.step(physics, *self._rows(targets, torque_offset)))

    def randomize(self, physics: Physics, params: PhysicsParams, mask: Array) -> Physics:
        """As `Bridge.randomize`, of [D, n, ...]."""
        return self._bridge.randomize(physics, *self._rows(params, mask))

    def set_root_velocity(
        self, physics: Physics, mask: Array, lin: Array, ang: Array
    ) -> tuple[Physics, SimState]:
        """As `Bridge.set_root_velocity`, of [D, n, ...]."""
        return self._split(*self._bridge.set_root_velocity(physics, *self._rows(mask, lin, ang)))

    def get_state(self, physics: Physics) -> dict[str, np.ndarray]:
        """As `Bridge.get_state`, with the device axis."""
        found = self._bridge.get_state(physics)
        return {name: np.stack(np.split(np.asarray(x), self._devices.count)) for name, x in found.items()}

    def set_state(self, physics: Physics, state: Mapping[str, np.ndarray]) -> Physics:
        """As `Bridge.set_state`, with the device axis."""
        return self._bridge.set_state(physics, {name: np.concatenate(x) for name, x in state.items()})

    def close(self) -> None:
        """As `Bridge.close`."""
        self._bridge.close()

    def _split(self, physics: Physics, sim: SimState) -> tuple[Physics, SimState]:
        return physics, self._devices.split(sim)

    def _rows(self, *trees: Any) -> Any:
        """Arrays [D * n, ...] on the first device; a simulator on an accelerator takes them from there."""
        return jax.device_put(self._devices.gather(trees), self._devices.local[0])


class OnDevices:
    """A `Bridge` over a simulator that is a JAX function: every device computes its own environments."""

    def __init__(self, bridge: Bridge, devices: Devices):
        """`bridge` takes the environments of one device."""
        self.spec, self._bridge, self._devices = bridge.spec, bridge, devices
        self.reset: Callable[..., Any] = devices.jit(bridge.reset)
        self.step: Callable[..., Any] = devices.jit(bridge.step)
        self.randomize: Callable[..., Any] = devices.jit(bridge.randomize)
        self.set_root_velocity: Callable[..., Any] = devices.jit(bridge.set_root_velocity)

    def init(self) -> Physics:
        """As `Bridge.init`."""
        return self._devices.create(self._bridge.init)

    def get_state(self, physics: Physics) -> Mapping[str, np.ndarray]:
        """As `Bridge.get_state`, with the device axis."""
        return self._bridge.get_state(physics)

    def set_state(self, physics: Physics, state: Mapping[str, np.ndarray]) -> Physics:
        """As `Bridge.set_state`, with the device axis."""
        return self._devices.commit(self._bridge.set_state(physics, state))

    def close(self) -> None:
        """As `Bridge.close`."""
        self._bridge.close()
