"""What bridges share that keep their state in place: tokens for it, and checks of what they are handed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from bridges import checks, specs
from bridges.protocol import Array, BridgeSpec, Physics, StalePhysicsError

_SERIAL = itertools.count(1)


class Token(NamedTuple):
    """Stands for the state that a bridge holds in place."""

    bridge: int
    """number of the bridge in this process"""
    calls: int
    """how many calls have changed that state"""


class Stateful:
    """Tokens and checks; the base of a bridge whose simulator keeps its state in place."""

    spec: BridgeSpec

    def __init__(self) -> None:
        self._token = Token(next(_SERIAL), 0)
        self._closed = False

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError(f"this {self.spec.simulator} bridge was closed; make a new one.")

    def _use(self, physics: Physics) -> None:
        """Raises StalePhysicsError unless `physics` stands for the present state."""
        self._check_open()
        if not isinstance(physics, Token) or physics != self._token:
            raise StalePhysicsError(
                f"physics: got {physics}, the newest is {self._token}. {self.spec.simulator} keeps its state in "
                "place: pass on what the last call returned, as in `physics, sim = bridge.step(physics, "
                "targets)`; to go back to an earlier state, use get_state and set_state."
            )

    def _next(self) -> Token:
        self._token = self._token._replace(calls=self._token.calls + 1)
        return self._token

    def _ids(self, mask: Array) -> np.ndarray:
        """Environments where `mask`, int32."""
        return np.flatnonzero(checks.array("mask", mask, (self.spec.num_envs,), np.bool_)).astype(np.int32)

    def _param_shapes(self) -> specs.Shapes:
        """Of the fields of `PhysicsParams`."""
        return specs.param_shapes(self.spec.num_envs, len(self.spec.joint_names), len(self.spec.body_names))

    def _rows(self, prefix: str, fields: Mapping[str, Array], ids: np.ndarray) -> dict[str, np.ndarray]:
        """Rows `ids` of the fields of a pose or a push, checked; what the other rows hold does not matter."""
        e = self.spec.num_envs
        shapes = specs.pose_shapes(e, len(self.spec.joint_names)) | specs.object_shapes(e)
        push, rows = (e, 3), {}
        for name, value in specs.present_fields(self.spec, fields).items():
            label = prefix + name
            rows[name] = checks.finite(label, checks.array(label, value, shapes.get(name, push))[ids], ids)
            if name in ("root_quat", "object_quat"):
                checks.unit(label, rows[name], ids)
        return rows
