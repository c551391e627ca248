"""What makes a physics step quicker changes no motion: pairs with the ground, sparse matrices, no passive forces."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from bridges.mujoco import model as mujoco_model
from bridges.mujoco.model import PASSIVE
from bridges.protocol import Ground
from tests.support.biped import BIPED, config

HEIGHTS = np.random.default_rng(0).uniform(0.0, 0.04, (41, 41)).astype(np.float32)
GROUNDS = {"plane": Ground(), "rough": Ground(heights=HEIGHTS, cell=0.1, corner=(-2.0, -2.0))}


def build(ground: Ground = GROUNDS["plane"], robot=BIPED, **options) -> mujoco.MjModel:
    return mujoco_model.build(robot, ground, config(), **options)


def fall(model: mujoco.MjModel, steps: int = 150) -> dict[str, np.ndarray]:
    """A robot that is dropped aslant, onto feet, legs and trunk: contacts, forces and speeds of every step."""
    data, rows = mujoco.MjData(model), {"ncon": [], "qvel": [], "force": []}
    data.qpos[2:7] = 0.9, np.cos(0.3), np.sin(0.3), 0.0, 0.0
    data.qvel[:2] = 1.0, -0.5
    for _ in range(steps):
        mujoco.mj_step(model, data)
        for name, value in (("ncon", data.ncon), ("qvel", data.qvel), ("force", data.sensordata)):
            rows[name].append(np.copy(value))
    return {name: np.array(values) for name, values in rows.items()}


@pytest.mark.parametrize("name", GROUNDS)
def test_pairs_give_the_same_contacts_bit_for_bit(name):
    searched, paired = build(GROUNDS[name]), build(GROUNDS[name], pair_with_ground=True)
    assert paired.npair > 0 and not paired.geom_contype.any()
    wanted, got = fall(searched), fall(paired)
    assert wanted["ncon"].max() > 3
    for quantity, values in wanted.items():
        np.testing.assert_array_equal(got[quantity], values, err_msg=quantity)


@pytest.mark.parametrize("name", GROUNDS)
def test_sparse_matrices_give_the_speeds_that_dense_ones_give(name):
    sparse, dense = build(GROUNDS[name]), build(GROUNDS[name])
    assert mujoco.mj_isSparse(sparse)
    dense.opt.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
    # Rounding differs, and grows from contact to contact: only the first of them are compared.
    got, wanted = fall(sparse, 60), fall(dense, 60)
    assert wanted["ncon"].max() > 0
    np.testing.assert_allclose(got["qvel"], wanted["qvel"], atol=1e-9)


@pytest.mark.parametrize("integrator", ["mjINT_EULER", "mjINT_IMPLICITFAST"])
def test_without_passive_forces_none_are_looked_for(integrator):
    skipped, looked = build(), build()
    skipped.opt.integrator = looked.opt.integrator = getattr(mujoco.mjtIntegrator, integrator)
    assert skipped.opt.disableflags & PASSIVE == PASSIVE
    looked.opt.disableflags &= ~PASSIVE
    for quantity, values in fall(looked).items():
        np.testing.assert_array_equal(fall(skipped)[quantity], values, err_msg=quantity)


@pytest.mark.parametrize("cause", ['damping="0.01"', 'stiffness="3"'])
def test_passive_forces_that_exist_act(cause, tmp_path):
    text = BIPED.mjcf.read_text().replace('<joint name="neck"', f'<joint name="neck" {cause}')
    assert text != BIPED.mjcf.read_text()
    (tmp_path / "passive.xml").write_text(text)
    assert not build(robot=replace(BIPED, mjcf=tmp_path / "passive.xml")).opt.disableflags & PASSIVE


def test_a_robot_that_touches_more_than_the_ground_is_searched():
    assert build(pair_with_ground=True, self_collisions=True).npair == 0


def test_a_margin_keeps_the_search(tmp_path):
    """Of two geoms' margins MuJoCo makes one; a pair's is its own."""
    text = BIPED.mjcf.read_text().replace('priority="1"', 'priority="1" margin="0.01"')
    assert text != BIPED.mjcf.read_text()
    (tmp_path / "margin.xml").write_text(text)
    model = build(robot=replace(BIPED, mjcf=tmp_path / "margin.xml"), pair_with_ground=True)
    assert model.npair == 0 and model.geom_contype.any()
