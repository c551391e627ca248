"""Taking out of a MuJoCo batch what a `SimState` is made from (`bridges.mujoco.readout`)."""

from __future__ import annotations

from typing import NamedTuple

import mujoco
import numpy as np
from mujoco.batch import Batch

from bridges import exchange
from bridges.mujoco.readout import Layout
from bridges.protocol import Array

_DIVERGED = [
    int(warning)
    for warning in (
        mujoco.mjtWarning.mjWARN_BADQPOS,
        mujoco.mjtWarning.mjWARN_BADQVEL,
        mujoco.mjtWarning.mjWARN_BADQACC,
    )
]


class Coordinates(NamedTuple):
    """All that a `SimState` is made from: NumPy arrays that JAX can share, or the JAX arrays that share them."""

    qpos: Array
    """[E, nq] float32"""
    qvel: Array
    """[E, nv] float32"""
    contact_force: Array
    """[E, B, 3] N float32, of the last physics step"""
    lost: Array
    """[E] bool: diverged"""


class BatchReader:
    """Takes `Coordinates` out of one batch."""

    def __init__(self, batch: Batch, layout: Layout):
        e, model = batch.nsim, batch.model
        self._batch = batch
        self._sensed = np.array(layout.sensed, int)
        self._forces = np.array(layout.forces, int).reshape(-1, 3)
        self._shapes = ((e, model.nq), (e, model.nv), (e, len(layout.tree.order), 3))
        batch.bind("sensordata")  # MuJoCo copies out what is bound before a call

    def coordinates(self, contact_force: np.ndarray | None = None) -> Coordinates:
        """The present ones.

        contact_force: [E, B, 3] to put in place of the batch's, which hold only after a step.
        """
        qpos, qvel, force = exchange.empty(self._shapes)
        qpos[...] = self._batch.qpos
        qvel[...] = self._batch.qvel
        if contact_force is None:
            force[...] = 0.0
            force[:, self._sensed] = self._batch.sensordata[:, self._forces]
        else:
            force[...] = contact_force
        return Coordinates(qpos, qvel, force, self.diverged())

    def diverged(self) -> np.ndarray:
        """[E] bool: environments whose state became non-finite or huge since their last reset.

        MuJoCo then counts a warning and starts the environment anew from the model's defaults.
        """
        return (self._batch.warning[:, _DIVERGED, 1] > 0).any(1)

    def mark_diverged(self, ids: np.ndarray) -> None:
        """Count the environments `ids` as diverged, until their next reset."""
        self._batch.warning[ids, _DIVERGED[-1], 1] += 1


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross product a x b along the last axis, both of one shape; several times faster than np.cross."""
    out = np.empty_like(b)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        np.multiply(a[..., j], b[..., k], out=out[..., i])
        out[..., i] -= a[..., k] * b[..., j]
    return out
