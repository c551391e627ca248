"""The two calls into MuJoCo Warp: a control step, and derived constants of the model.

Each is a pure function of arrays. MuJoCo Warp works on a `Data` that is shared by all calls; what it
leaves there is never read by a later one, and the arrays of the state are replaced by the caller's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import mujoco_warp as mjw
import warp as wp

from bridges.mjwarp import call, kernels
from bridges.mjwarp.call import Kind
from bridges.mjwarp.model import Built, with_fields

DERIVED = ("body_subtreemass", "body_invweight0", "dof_invweight0")
"""fields that MuJoCo computes from masses, inertias, centres of mass and armatures"""
_INERTIAL = ("body_mass", "body_inertia", "body_ipos", "dof_armature")


class Gantry(NamedTuple):
    """What the calls have to know of the ropes; all environments have the same."""

    stiffness: float
    """N/m"""
    damping: float
    """N s/m"""
    body: int
    """index of the link that is held"""


class Programs:
    """The calls for one model; `close` lets go of its memory."""

    def __init__(
        self, built: Built, decimation: int, graph: wp.JaxCallableGraphMode, gantry: Gantry | None = None
    ):
        self._built: Built | None = built
        self._decimation, self._gantry = decimation, gantry
        e, host, fields = built.num_envs, built.host, built.kinds()
        env, nv = Kind(wp.int32, (e,)), Kind(wp.float32, (e, host.nv))
        self._step = call.make(
            "mjwarp_step",
            self._on_device(self._run_step),
            reads={
                **fields,
                "ctrl": Kind(wp.float32, (decimation, e, host.nu)),
                **({"anchor": Kind(wp.vec3, (e,)), "length": Kind(wp.float32, (e,))} if gantry else {}),
            },
            updates={
                "qpos": Kind(wp.float32, (e, host.nq)),
                "qvel": nv,
                "qacc_warmstart": nv,
                "time": Kind(wp.float32, (e,)),
                "diverged": env,
                "rows": env,
                "contacts": Kind(wp.int32, (1,)),
                "overflow": env,
            },
            writes={"sensordata": Kind(wp.float32, (e, host.nsensordata))},
            graph=graph,
        )
        self._constants = call.make(
            "mjwarp_constants",
            self._on_device(self._run_constants),
            reads={name: fields[name] for name in _INERTIAL},
            updates={},
            writes={name: fields[name] for name in DERIVED},
            graph=graph,
        )

    def step(self, arrays: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """`decimation` physics sub-steps.

        Args:
          arrays: `Fields`; ``ctrl`` [n, E, nu] rad, targets of every sub-step, or one row for all; the
            state (``qpos, qvel, qacc_warmstart, time``), ``diverged`` int32 [E], and `Usage`; with a gantry also
            ``anchor`` [E, 3] m and ``length`` [E] m of the ropes.

        Returns:
          The state, ``diverged`` and usage anew; ``sensordata`` of the last sub-step.
        """
        return self._step(arrays)

    def constants(self, arrays: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """The `DERIVED` fields of models with these masses, inertias, centres of mass, armatures."""
        return self._constants(arrays)

    def load(self) -> None:
        """Run every kernel once, so that those which are not in the cache are built now."""
        built = self.require_open()
        with wp.ScopedDevice(built.device):
            data = built.data
            rows, contacts = wp.zeros(built.num_envs, dtype=wp.int32), wp.zeros(1, dtype=wp.int32)
            for model in (built.quiet, built.full):
                mjw.step(model, data)
            _park_diverged(built, data, wp.zeros(built.num_envs, dtype=wp.int32), rows, contacts)
            if self._gantry is not None:
                anchor, length = (wp.zeros(built.num_envs, dtype=kind) for kind in (wp.vec3, wp.float32))
                _hang(built, data, self._gantry, anchor, length)
            _constants(_with_room(built), data)
            mjw.reset_data(built.full, data)
            wp.synchronize_device(built.device)

    def close(self) -> None:
        """Let go of the model; later calls raise RuntimeError, those in compiled functions too."""
        if self._built is not None:
            wp.synchronize_device(self._built.device)  # what was called may still be running in that memory
        self._built = None
        self._step.forget()
        self._constants.forget()

    def require_open(self) -> Built:
        """The model; raises RuntimeError after `close`."""
        if self._built is None:
            raise RuntimeError("this MJWarp bridge was closed; make a new one.")
        return self._built

    def _on_device(self, body: Callable[[SimpleNamespace], None]) -> Callable[[SimpleNamespace], None]:
        """`body`, whose temporary arrays lie where the model is, not on the first GPU."""

        def run(a: SimpleNamespace) -> None:
            with wp.ScopedDevice(self.require_open().device):
                body(a)

        return run

    def _run_step(self, a: SimpleNamespace) -> None:
        built = self.require_open()
        full, quiet = with_fields(built.full, a), with_fields(built.quiet, a)
        data = copy.copy(built.data)
        for name in ("qpos", "qvel", "qacc_warmstart", "time", "overflow"):
            setattr(data, name, getattr(a, name))
        for k in range(self._decimation):
            data.ctrl = a.ctrl[min(k, a.ctrl.shape[0] - 1)]
            if self._gantry is not None:
                _hang(built, data, self._gantry, a.anchor, a.length)
            mjw.step(full if k == self._decimation - 1 else quiet, data)
            _park_diverged(built, data, a.diverged, a.rows, a.contacts)
        wp.copy(a.sensordata, data.sensordata)

    def _run_constants(self, a: SimpleNamespace) -> None:
        built = self.require_open()
        model = copy.copy(_with_room(built))
        for name in (*_INERTIAL, *DERIVED):
            setattr(model, name, getattr(a, name))
        _constants(model, built.data)


class DevicePrograms:
    """`Programs` for every device of this process; each device runs its own, with its own model and memory.

    XLA compiles one function for all devices, so a call chooses by the device's place on the axis. Warp's recorded
    graphs belong to a call, not to a device, which is why one call would not do.
    """

    def __init__(self, each: Sequence[Programs], axis_name: str):
        self._each, self._axis_name = tuple(each), axis_name

    def step(self, arrays: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """`Programs.step` of this device."""
        return self._choose([programs.step for programs in self._each], arrays)

    def constants(self, arrays: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """`Programs.constants` of this device."""
        return self._choose([programs.constants for programs in self._each], arrays)

    def load(self) -> None:
        """`Programs.load` of every device."""
        for programs in self._each:
            programs.load()

    def close(self) -> None:
        """`Programs.close` of every device."""
        for programs in self._each:
            programs.close()

    def require_open(self) -> None:
        """Raise RuntimeError after `close`."""
        self._each[0].require_open()

    def _choose(
        self, calls: Sequence[Callable[..., Any]], arrays: Mapping[str, jax.Array]
    ) -> dict[str, jax.Array]:
        here = jax.lax.axis_index(self._axis_name) % len(calls)  # every process has as many
        return jax.lax.switch(here, calls, dict(arrays))


def _hang(built: Built, data: mjw.Data, gantry: Gantry, anchor: wp.array, length: wp.array) -> None:
    inputs = [anchor, length, gantry.stiffness, gantry.damping, gantry.body, data.qpos, data.qvel]
    wp.launch(kernels.hang, dim=built.num_envs, inputs=inputs, outputs=[data.xfrc_applied])


def _park_diverged(
    built: Built, data: mjw.Data, diverged: wp.array, rows: wp.array, contacts: wp.array
) -> None:
    state = [data.qpos, data.qvel, data.qacc_warmstart, diverged, rows, contacts]
    needs = [built.parked, data.nefc, data.nacon, data.ncollision]
    wp.launch(kernels.park_diverged, dim=built.num_envs, inputs=needs, outputs=state)


def _constants(model: mjw.Model, data: mjw.Data) -> None:
    groups = mjw.SetConstGroup.FIXED | mjw.SetConstGroup.INERT0
    mjw.set_const(model, data, groups=groups, restore=False)


def _with_room(built: Built) -> mjw.Model:
    """The model with arrays of its own for what `set_const` derives and we do not use."""
    model = copy.copy(built.full)
    for name in ("actuator_acc0", "tendon_invweight0", "geom_size", "geom_aabb", "geom_rbound", *DERIVED):
        setattr(model, name, wp.clone(getattr(built.full, name)))
    return model
