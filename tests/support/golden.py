"""Reading `tests/data/golden`: arrays by name, PyTorch layers as Flax parameters, G1's layout."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from holosoma_jax.learn import symmetry
from holosoma_jax.learn.networks import ActorParams
from holosoma_jax.learn.ppo.state import Pair
from tests.support.shared import read_arrays

DATA = Path(__file__).parents[1] / "data" / "golden"

DIMS = {
    "actions": 29,
    "base_ang_vel": 3,
    "base_lin_vel": 3,
    "command_ang_vel": 1,
    "command_lin_vel": 2,
    "cos_phase": 2,
    "dof_pos": 29,
    "dof_vel": 29,
    "projected_gravity": 3,
    "sin_phase": 2,
}
"""Terms of the locomotion critic in order; the actor sees all but base_lin_vel."""

SIGNS = {
    "base_ang_vel": (-1, 1, -1),
    "base_lin_vel": (1, -1, 1),
    "command_ang_vel": (-1,),
    "command_lin_vel": (1, -1),
    "cos_phase": (1, 1),
    "projected_gravity": (1, -1, 1),
    "sin_phase": (1, 1),
}


class Term(NamedTuple):
    """One observation term, as the environment describes it."""

    group: str
    name: str
    dim: int
    history_length: int
    start: int
    mirror_index: tuple[int, ...]
    mirror_sign: tuple[float, ...]


def load(name: str) -> dict[str, np.ndarray]:
    """All arrays of one file."""
    return read_arrays(DATA / f"{name}.npz.xz")


def layout(history: int = 1) -> list[Term]:
    """The terms of the G1's two observation groups."""
    joints = load("symmetry_g1_hist1")
    terms = []
    for group, left_out in (("actor_obs", "base_lin_vel"), ("critic_obs", "")):
        start = 0
        for name, dim in DIMS.items():
            if name == left_out:
                continue
            index, sign = tuple(range(dim)), SIGNS.get(name)
            if sign is None:
                index, sign = tuple(joints["joint_index_map"]), tuple(joints["sign"])
            terms.append(Term(group, name, dim, history, start, index, sign))
            start += dim * history
    return terms


def mirror(history: int = 1, phase_mirror: symmetry.PhaseMirror = "swap") -> symmetry.Mirror:
    """The G1's mirror."""
    joints = load("symmetry_g1_hist1")
    return symmetry.mirror_from(layout(history), joints["joint_index_map"], joints["sign"], phase_mirror)


def parameters(data: dict[str, np.ndarray], when: str) -> Pair:
    """Actor and critic parameters of an update file, `when` in before, after0, after2."""

    def net(kind: str) -> dict[str, dict[str, jax.Array]]:
        stem = f"{when}/{kind}/{kind}_module.module"
        return {
            f"Dense_{i}": {
                "kernel": jnp.asarray(data[f"{stem}.{2 * i}.weight"].T),
                "bias": jnp.asarray(data[f"{stem}.{2 * i}.bias"]),
            }
            for i in range(3)
        }

    return Pair(ActorParams(net("actor"), jnp.asarray(data[f"{when}/actor/std"])), net("critic"))
