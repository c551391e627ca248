"""Physical parameters of each environment, as per-environment fields of a MuJoCo batch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mujoco.batch import Batch

from bridges import checks
from bridges.mujoco import targets
from bridges.mujoco.targets import INERTIAL, Targets
from bridges.protocol import PhysicsParams


class Parameters:
    """Writes `PhysicsParams` into a batch, and remembers them.

    A field of the model becomes per-environment when it is first written; until then all
    environments share the model's.
    """

    def __init__(self, batch: Batch, targets: Targets):
        self._batch, self._model, self._targets = batch, batch.model, targets
        self.values: dict[str, np.ndarray] = {}
        """field -> [E, ...] float32 in force; NaN where an environment has the model's value"""

    def kp(self) -> np.ndarray:
        """[E or 1, J] N m/rad in force."""
        gains = self._batch.expanded("actuator_gainprm")
        return self._model.actuator_gainprm[None, :, 0] if gains is None else gains[:, :, 0]

    def read(self, params: PhysicsParams, ids: np.ndarray) -> dict[str, np.ndarray]:
        """The given fields of the environments `ids`, as float32 [len(ids), ...].

        Raises:
          ValueError: wrong shape or type, or a value that makes no sense in one of `ids`.
        """
        given = {}
        for name, value in params._asdict().items():
            if value is not None:
                self._targets.require(name)
                label = f"params.{name}"
                rows = checks.array(label, value, self.shape(name))[ids].astype(np.float32)
                low, exclusive = targets.least(name)
                given[name] = checks.at_least(label, rows, low, ids, exclusive=exclusive)
        return given

    def write(self, given: Mapping[str, np.ndarray], ids: np.ndarray) -> None:
        """Put `given` (see `read`) into force for the environments `ids`; equal values cost nothing."""
        derive = False
        for name, rows in given.items():
            known = self.values.setdefault(name, np.full(self.shape(name), np.nan, np.float32))
            if not np.array_equal(known[ids], rows):
                known[ids] = rows
                self._put(name, rows.astype(np.float64), ids)
                derive |= name in INERTIAL
        if derive:
            self._batch.set_const(ids)

    def restore(self, values: Mapping[str, np.ndarray]) -> None:
        """Put saved `values` into force; only for a fresh batch, in which nothing was written."""
        for name, rows in values.items():
            ids = np.flatnonzero(~np.isnan(rows.reshape(len(rows), -1)[:, 0]))
            self.write({name: rows[ids]}, ids)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of the field `name` of `PhysicsParams`."""
        return self._targets.shape(name, self._batch.nsim)

    def _put(self, name: str, rows: np.ndarray, ids: np.ndarray) -> None:
        """Nominal value and `rows` into the model's fields."""
        model, expand, at = self._model, self._batch.expand, self._targets
        bodies, joints = np.ix_(ids, at.bodies), np.ix_(ids, at.dofs)
        match name:
            case "mass_ratio":  # the inertia tensor goes with the mass
                expand("body_mass")[bodies] = model.body_mass[at.bodies] * rows
                expand("body_inertia")[bodies] = model.body_inertia[at.bodies] * rows[..., None]
            case "com_offset":
                expand("body_ipos")[bodies] = model.body_ipos[at.bodies] + rows
            case "friction":
                expand("geom_friction")[ids[:, None], at.geoms, 0] = rows[:, None]
                if at.pairs.size:  # both tangential directions
                    expand("pair_friction")[ids[:, None], at.pairs, :2] = rows[:, None, None]
            case "kp_scale":
                expand("actuator_gainprm")[ids, :, 0] = model.actuator_gainprm[:, 0] * rows
                expand("actuator_biasprm")[ids, :, 1] = model.actuator_biasprm[:, 1] * rows
            case "kd_scale":
                expand("actuator_biasprm")[ids, :, 2] = model.actuator_biasprm[:, 2] * rows
            case "armature_ratio":
                expand("dof_armature")[joints] = model.dof_armature[at.dofs] * rows
            case "object_mass_ratio" | "object_inertia_ratio":
                self._put_object_inertia(ids)
            case "object_friction":
                assert at.object is not None
                expand("geom_friction")[ids, at.object[1], 0] = rows
            case _:
                raise KeyError(name)

    def _put_object_inertia(self, ids: np.ndarray) -> None:
        """Mass and inertia of the object from both of its ratios in force; 1 where one was not written."""
        model, at = self._model, self._targets
        assert at.object is not None
        body = at.object[0]

        def ratio(name: str) -> np.ndarray:
            known = self.values.get(name)
            if known is None:
                return np.ones(self.shape(name))[ids]
            return np.nan_to_num(known[ids].astype(np.float64), nan=1.0)

        mass, inertia = ratio("object_mass_ratio"), ratio("object_inertia_ratio")
        self._batch.expand("body_mass")[ids, body] = model.body_mass[body] * mass
        self._batch.expand("body_inertia")[ids, body] = model.body_inertia[body] * mass[:, None] * inertia
