"""Physical parameters of each environment, as per-environment fields of a MuJoCo batch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mujoco.batch import Batch

from bridges import checks
from bridges.protocol import PhysicsParams
from holosoma_jax.robots.robot import Robot

_POSITIVE = frozenset({"mass_ratio", "kp_scale"})
"""fields that may not be 0; the others, but for the centre of mass, may"""
_DERIVED = frozenset({"mass_ratio", "com_offset", "armature_ratio"})
"""fields from which MuJoCo derives constants, such as the inverse weights of bodies and joints"""


class Parameters:
    """Writes `PhysicsParams` into a batch, and remembers them.

    A field of the model becomes per-environment when it is first written; until then all
    environments share the model's.
    """

    def __init__(self, batch: Batch, robot: Robot, *, fixed_foot_friction: bool):
        """`fixed_foot_friction`: friction leaves the geoms of `robot.feet_bodies` as they are."""
        model = batch.model
        self._batch, self._model = batch, model
        self._bodies = np.array([model.body(name).id for name in robot.body_names])
        self._dofs = np.array([model.joint(name).dofadr[0] for name in robot.joint_names])
        feet = robot.feet_bodies if fixed_foot_friction else ()
        kept = [0, *(model.body(name).id for name in feet)]  # 0: the ground, which never decides
        self._geoms = np.flatnonzero(~np.isin(model.geom_bodyid, kept))
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
                label = f"params.{name}"
                rows = checks.array(label, value, self.shape(name))[ids].astype(np.float32)
                low = -np.inf if name == "com_offset" else 0.0
                given[name] = checks.at_least(label, rows, low, ids, exclusive=name in _POSITIVE)
        return given

    def write(self, given: Mapping[str, np.ndarray], ids: np.ndarray) -> None:
        """Put `given` (see `read`) into force for the environments `ids`; equal values cost nothing."""
        derive = False
        for name, rows in given.items():
            known = self.values.setdefault(name, np.full(self.shape(name), np.nan, np.float32))
            if not np.array_equal(known[ids], rows):
                known[ids] = rows
                self._put(name, rows.astype(np.float64), ids)
                derive |= name in _DERIVED
        if derive:
            self._batch.set_const(ids)

    def restore(self, values: Mapping[str, np.ndarray]) -> None:
        """Put saved `values` into force; only for a fresh batch, in which nothing was written."""
        for name, rows in values.items():
            ids = np.flatnonzero(~np.isnan(rows.reshape(len(rows), -1)[:, 0]))
            self.write({name: rows[ids]}, ids)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of the field `name` of `PhysicsParams`."""
        num_envs, bodies, joints = self._batch.nsim, len(self._bodies), len(self._dofs)
        shapes = {"mass_ratio": (bodies,), "com_offset": (bodies, 3), "friction": ()}
        return (num_envs, *shapes.get(name, (joints,)))

    def _put(self, name: str, rows: np.ndarray, ids: np.ndarray) -> None:
        """Nominal value and `rows` into the model's fields."""
        model, expand = self._model, self._batch.expand
        bodies, joints = np.ix_(ids, self._bodies), np.ix_(ids, self._dofs)
        match name:
            case "mass_ratio":  # the inertia tensor goes with the mass
                expand("body_mass")[bodies] = model.body_mass[self._bodies] * rows
                expand("body_inertia")[bodies] = model.body_inertia[self._bodies] * rows[..., None]
            case "com_offset":
                expand("body_ipos")[bodies] = model.body_ipos[self._bodies] + rows
            case "friction":
                expand("geom_friction")[ids[:, None], self._geoms, 0] = rows[:, None]
            case "kp_scale":
                expand("actuator_gainprm")[ids, :, 0] = model.actuator_gainprm[:, 0] * rows
                expand("actuator_biasprm")[ids, :, 1] = model.actuator_biasprm[:, 1] * rows
            case "kd_scale":
                expand("actuator_biasprm")[ids, :, 2] = model.actuator_biasprm[:, 2] * rows
            case "armature_ratio":
                expand("dof_armature")[joints] = model.dof_armature[self._dofs] * rows
            case _:
                raise KeyError(name)
