"""The bridge as a value-in, value-out interface: masks, tokens, saved states, divergence, bad input."""

from __future__ import annotations

import os
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bridges
from bridges.mujoco import MujocoBridge, engine
from bridges.protocol import Bridge, Ground, PhysicsParams, Pose, StalePhysicsError
from holosoma_jax.config.errors import ConfigError
from tests.support.biped import BIPED, config, everyone, numpy, only, pose, random_pose, start
from tests.support.recorded import recorded

NUM, JOINTS = 4, 5
TARGETS = np.full((NUM, JOINTS), 0.1, np.float32)


def assert_same(a, b, rows=slice(None)):
    for name, x in numpy(a)._asdict().items():
        if x is not None:
            np.testing.assert_array_equal(x[rows], getattr(numpy(b), name)[rows], err_msg=name)


def assert_any_change(a, b):
    assert any((x != y).any() for x, y in zip(numpy(a), numpy(b), strict=True))


def advance(bridge, physics, steps, targets=TARGETS):
    sim = None
    for _ in range(steps):
        physics, sim = bridge.step(physics, targets)
    return physics, sim


def fallen(num=NUM, **settings):
    """A bridge in the middle of things: different environments, contacts, parameters of their own."""
    bridge, physics = start(num, **settings)
    rng = np.random.default_rng(5)
    params = PhysicsParams(
        mass_ratio=rng.uniform(0.8, 1.3, (num, 8)).astype(np.float32),
        kp_scale=rng.uniform(0.9, 1.1, (num, JOINTS)).astype(np.float32),
        friction=rng.uniform(0.3, 1.0, num).astype(np.float32),
    )
    physics = bridge.randomize(physics, params, only(num, *range(num - 1)))  # the last stays nominal
    physics, _ = bridge.reset(physics, everyone(num), random_pose(num, height=0.5))
    return bridge, *advance(bridge, physics, 5, np.full((num, JOINTS), 0.1, np.float32))


def test_it_is_a_bridge_and_its_arrays_are_jax():
    bridge, physics = start(NUM)
    assert isinstance(bridge, Bridge)
    _, sim = bridge.step(physics, jnp.asarray(TARGETS))
    assert sim.object_pos is None
    for name, array in sim._asdict().items():
        if array is None:  # of an object
            continue
        assert isinstance(array, jax.Array) and array.dtype == jnp.float32, name
        assert array.shape[0] == NUM, name


def test_states_are_given_for_good():
    """No later call changes a state that was handed out."""
    bridge, physics, first = fallen()
    kept = jax.tree.map(np.array, first)
    physics, _ = bridge.reset(physics, only(NUM, 1), pose(NUM))
    zeros = np.zeros((NUM, 3), np.float32)
    physics, _ = bridge.set_root_velocity(physics, everyone(NUM), zeros, zeros)
    advance(bridge, physics, 3)
    assert_same(first, kept)


def test_dispatched_work_never_sees_the_next_step():
    bridge, physics = start(NUM)

    @jax.jit
    def slow(sim):
        x = jnp.broadcast_to(sim.root_pos.sum(), (200, 200))
        return sim.root_pos.sum(), jax.lax.fori_loop(0, 10, lambda _, y: jnp.sin(y) + x, x).sum()

    pending, wanted = [], []
    for _ in range(50):
        physics, sim = bridge.step(physics, TARGETS)
        pending.append((slow(sim), sim))
    for (total, _), sim in pending:
        wanted.append(float(jnp.sum(sim.root_pos)))
        assert float(total) == wanted[-1]
    assert len(set(wanted)) == 50  # the states did differ


# --- reset and pushes ---------------------------------------------------------------------------


def test_reset_leaves_the_others_alone_bit_for_bit():
    """Now and in all that follows: as if the reset had not been."""
    bridge, physics, before = fallen()
    physics, after = bridge.reset(physics, only(NUM, 2), random_pose(NUM, seed=9))
    others = [0, 1, 3]
    assert_same(before, after, others)
    assert_any_change(before, after)
    _, after = advance(bridge, physics, 5)
    undisturbed, physics, _ = fallen()
    _, wanted = advance(undisturbed, physics, 5)
    assert_same(after, wanted, others)


def test_reset_environments_start_afresh():
    """No contact force is left, and what follows is what follows in a new bridge (no warm start left)."""
    begin = random_pose(NUM, seed=9)
    bridge, physics = start(NUM)
    physics, _ = bridge.reset(physics, everyone(NUM), random_pose(NUM, height=0.5))
    physics, _ = advance(bridge, physics, 5)
    physics, sim = bridge.reset(physics, only(NUM, 2), begin)
    assert (np.asarray(sim.contact_force)[2] == 0.0).all()
    np.testing.assert_allclose(sim.root_pos[2], begin.root_pos[2], atol=1e-6)
    np.testing.assert_allclose(sim.joint_vel[2], begin.joint_vel[2], atol=1e-6)
    _, sim = advance(bridge, physics, 3)
    new, physics = start(NUM)
    physics, _ = new.reset(physics, everyone(NUM), begin)
    _, wanted = advance(new, physics, 3)
    assert_same(sim, wanted, 2)


def test_rows_outside_the_mask_may_hold_anything():
    bridge, physics = start(NUM)
    rubbish = jax.tree.map(lambda x: np.where(only(NUM, 1)[:, None], x, np.nan), pose(NUM))
    physics, _ = bridge.reset(physics, only(NUM, 1), rubbish)
    nan = np.full((NUM, 3), np.nan, np.float32)
    _, sim = bridge.set_root_velocity(physics, only(NUM), nan, nan)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(sim))


def test_an_empty_mask_changes_nothing():
    bridge, physics, before = fallen()
    physics, after = bridge.reset(physics, only(NUM), pose(NUM))
    assert after is before
    _, after = bridge.set_root_velocity(physics, only(NUM), np.zeros((NUM, 3)), np.zeros((NUM, 3)))
    assert after is before


def test_push_replaces_the_roots_velocity_only():
    bridge, physics, before = fallen()
    rng = np.random.default_rng(0)
    lin, ang = rng.standard_normal((2, NUM, 3)).astype(np.float32)
    _, after = bridge.set_root_velocity(physics, only(NUM, 0, 3), lin, ang)
    assert_same(before, after, [1, 2])
    np.testing.assert_allclose(after.root_lin_vel[0], lin[0], atol=1e-5)
    np.testing.assert_allclose(after.root_ang_vel[3], ang[3], atol=1e-5)
    np.testing.assert_allclose(after.body_lin_vel[0, 0], lin[0], atol=1e-5)
    for name in ("root_pos", "root_quat", "joint_pos", "joint_vel", "body_pos", "contact_force"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name), err_msg=name)


# --- tokens and saved states --------------------------------------------------------------------


def test_a_stale_token_is_refused_by_every_call():
    bridge, old = start(NUM)
    physics, _ = bridge.step(old, TARGETS)
    zeros = np.zeros((NUM, 3))
    calls = (
        lambda p: bridge.step(p, TARGETS),
        lambda p: bridge.reset(p, everyone(NUM), pose(NUM)),
        lambda p: bridge.randomize(p, PhysicsParams(), everyone(NUM)),
        lambda p: bridge.set_root_velocity(p, everyone(NUM), zeros, zeros),
        lambda p: bridge.get_state(p),
        lambda p: bridge.set_state(p, bridge.get_state(physics)),
    )
    _, foreign = start(NUM)
    for call in calls:
        for token in (old, foreign, None, 0):
            with pytest.raises(StalePhysicsError, match="pass on what the last call returned"):
                call(token)
    bridge.step(physics, TARGETS)


def test_init_begins_again():
    bridge, physics, _ = fallen()
    fresh = bridge.init()
    with pytest.raises(StalePhysicsError):
        bridge.step(physics, TARGETS)
    _, sim = advance(bridge, fresh, 3)
    other, physics = start(NUM)
    assert_same(sim, advance(other, physics, 3)[1])


def test_a_new_bridge_continues_a_saved_state_bit_for_bit():
    """Contacts, warm start and parameters included; torque offsets too, which take another path."""
    bridge, physics, before = fallen()
    saved = bridge.get_state(physics)
    offset = np.random.default_rng(0).standard_normal((NUM, 4, JOINTS)).astype(np.float32)

    def continued(bridge, physics):
        states = []
        for k in range(6):
            physics, sim = bridge.step(physics, TARGETS, offset if k % 2 else None)
            states.append(sim)
            physics, sim = bridge.reset(physics, only(NUM, k % NUM), random_pose(NUM, seed=k))
            states.append(sim)
        return states

    wanted = continued(bridge, physics)
    other, physics = start(NUM)
    physics = other.set_state(physics, saved)
    physics, restored = other.reset(physics, only(NUM), pose(NUM))
    assert_same(before, restored)
    for a, b in zip(wanted, continued(other, physics), strict=True):
        assert_same(a, b)


def test_a_saved_state_replaces_all_that_was():
    """Also parameters that the saved state does not have."""
    bridge, physics = start(NUM)
    saved = bridge.get_state(physics)
    _, wanted = advance(bridge, physics, 4)
    other, physics, _ = fallen()
    physics = other.set_state(physics, saved)
    assert other.get_state(physics).keys() == saved.keys()
    assert_same(wanted, advance(other, physics, 4)[1])


def test_saved_states_are_copies():
    bridge, physics, _ = fallen()
    saved = bridge.get_state(physics)
    copies = {name: value.copy() for name, value in saved.items()}
    physics, _ = advance(bridge, physics, 2)
    bridge.init()
    for name, value in saved.items():
        np.testing.assert_array_equal(value, copies[name], err_msg=name)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda s: s.pop("integration"), "state: no array 'integration'"),
        (lambda s: s.update(qpos=np.zeros(3)), "state: unknown array 'qpos'"),
        (lambda s: s.update(integration=s["integration"][:2]), "state: 'integration' is float64"),
        (lambda s: s.update(integration=s["integration"].astype(np.float32)), "was cast on the way"),
    ],
)
def test_misfitting_states_are_refused_and_change_nothing(change, line):
    bridge, physics, _ = fallen()
    saved = bridge.get_state(physics)
    change(saved)
    with pytest.raises(ValueError, match=line):
        bridge.set_state(physics, saved)
    bridge.step(physics, TARGETS)


@pytest.mark.parametrize("threads", [2, 3, 0])
def test_any_number_of_threads_gives_the_same_bits(threads):
    alone, physics, _ = fallen(num=7)
    wanted = advance(alone, physics, 5, np.zeros((7, JOINTS), np.float32))[1]
    many, physics, _ = fallen(num=7, num_threads=threads)
    assert_same(wanted, advance(many, physics, 5, np.zeros((7, JOINTS), np.float32))[1])


# --- divergence ---------------------------------------------------------------------------------


def blow_up(bridge, physics, env):
    speed = np.zeros((NUM, 3), np.float32)
    speed[env] = 1e30
    physics, _ = bridge.set_root_velocity(physics, only(NUM, env), np.zeros((NUM, 3)), speed)
    return physics


def test_a_diverged_environment_is_nan_alone_until_its_reset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bridge, physics, _ = fallen()
    others = [0, 1, 3]
    physics, sim = advance(bridge, blow_up(bridge, physics, 2), 1)
    undisturbed, token, _ = fallen()
    token, wanted = advance(undisturbed, token, 1)
    assert all(np.isnan(x[2]).all() for x in jax.tree.leaves(sim))
    assert_same(sim, wanted, others)

    physics, sim = advance(bridge, physics, 2)  # nobody reset it: it stays out
    token, wanted = advance(undisturbed, token, 2)
    assert all(np.isnan(x[2]).all() for x in jax.tree.leaves(sim))
    assert_same(sim, wanted, others)

    begin = random_pose(NUM, seed=9)
    physics, sim = bridge.reset(physics, only(NUM, 2), begin)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(sim))
    token, _ = undisturbed.reset(token, only(NUM, 2), begin)
    assert_same(advance(bridge, physics, 4)[1], advance(undisturbed, token, 4)[1])
    assert os.listdir(tmp_path) == []  # MuJoCo's own log file


def test_divergence_is_part_of_a_saved_state():
    bridge, physics, _ = fallen()
    physics, sim = advance(bridge, blow_up(bridge, physics, 1), 1)
    other, token = start(NUM)
    token, restored = other.reset(other.set_state(token, bridge.get_state(physics)), only(NUM), pose(NUM))
    assert_same(sim, restored)
    assert np.isnan(np.asarray(restored.root_pos)[1]).all()


def test_an_error_inside_the_engine_counts_as_divergence(caplog, monkeypatch):
    batches = recorded(monkeypatch, engine, "Batch")
    bridge, physics, _ = fallen()
    kind = batches[-1].expand("actuator_trntype")
    nominal = kind[0].copy()
    kind[3] = 99
    physics, sim = advance(bridge, physics, 1)
    assert np.isnan(np.asarray(sim.root_pos)[3]).all()
    assert np.isfinite(np.asarray(sim.root_pos)[:3]).all()
    assert "simulations (3)" in caplog.text
    kind[3] = nominal
    physics, sim = bridge.reset(physics, only(NUM, 3), pose(NUM))
    assert np.isfinite(np.asarray(advance(bridge, physics, 1)[1].root_pos)).all()


# --- bad input, and the rest --------------------------------------------------------------------


def spoiled(name: str, value: float) -> Pose:
    array = np.array(getattr(pose(NUM), name))
    array[1, 0] = value
    return pose(NUM)._replace(**{name: array})


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda b, p: b.step(p, TARGETS[:2]), r"^targets: got shape \(2, 5\), wanted \(4, 5\)"),
        (lambda b, p: b.step(p, TARGETS.astype(int)), r"^targets: got int64, wanted floating"),
        (lambda b, p: b.step(p, TARGETS * np.nan), r"^targets: got nan .*\b0, entry 0"),
        (lambda b, p: b.step(p, TARGETS, TARGETS), r"^torque_offset: .*\(4, 5\).*\(4, 4, 5\)"),
        (
            lambda b, p: b.step(p, TARGETS, np.full((NUM, 4, JOINTS), np.inf)),
            r"^torque_offset: got inf .*\b0, entry \(0, 0\)",
        ),
        (lambda b, p: b.reset(p, np.ones(NUM), pose(NUM)), "^mask: got float64, wanted bool"),
        (lambda b, p: b.reset(p, everyone(3), pose(NUM)), r"^mask: got shape \(3,\), wanted \(4,\)"),
        (lambda b, p: b.reset(p, everyone(NUM), pose(3)), r"^pose.root_pos: got shape \(3, 3\)"),
        (
            lambda b, p: b.reset(p, only(NUM, 1, 2), spoiled("joint_vel", np.inf)),
            r"^pose.joint_vel: got inf .*\b1, entry 0",
        ),
        (
            lambda b, p: b.reset(p, everyone(NUM), spoiled("root_quat", 0.0)),
            r"^pose.root_quat: .*norm 0 .*environment 1\b.*unit",
        ),
        (
            lambda b, p: b.set_root_velocity(p, everyone(NUM), np.zeros((NUM, 2)), np.zeros((NUM, 3))),
            r"^lin: got shape \(4, 2\)",
        ),
        (
            lambda b, p: b.set_root_velocity(p, everyone(NUM), np.zeros((NUM, 3)), np.full((NUM, 3), np.nan)),
            r"^ang: got nan .*\b0",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line_and_changes_nothing(call, line):
    bridge, physics = start(NUM)
    with pytest.raises(ValueError, match=line) as error:
        call(bridge, physics)
    assert "\n" not in str(error.value)
    _, sim = bridge.step(physics, TARGETS)
    other, token = start(NUM)
    assert_same(sim, other.step(token, TARGETS)[1])


def test_a_closed_bridge_says_so():
    bridge, physics = start(NUM)
    bridge.close()
    for call in (bridge.init, lambda: bridge.step(physics, TARGETS)):
        with pytest.raises(RuntimeError, match="was closed"):
            call()
    bridge.close()  # twice is fine


def test_no_environments_are_refused():
    with pytest.raises(ValueError, match="num_envs: got 0, wanted 1 or more"):
        start(0)


def test_make_starts_the_simulator_of_the_config():
    bridge = bridges.make(config(), BIPED, Ground(), 2)
    assert isinstance(bridge, MujocoBridge) and bridge.spec.num_envs == 2
    with pytest.raises(ConfigError, match=r"simulator:bullet: .* Choose simulator:mujoco"):
        bridges.make(replace(config(), name="bullet"), BIPED, Ground(), 2)


def test_runs_where_the_system_knows_no_affinity(monkeypatch):
    """As on macOS."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    bridge, physics = start(2, num_threads=0)
    _, sim = bridge.step(physics, TARGETS[:2])
    assert np.isfinite(np.asarray(sim.root_pos)).all()
