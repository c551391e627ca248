"""MuJoCo Warp as pure functions: inside programs and out, against MuJoCo, with full buffers and bad input.

What every bridge must do is in tests/conformance.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bridges
from bridges.mujoco import MujocoBridge
from bridges.protocol import Bounded, Bridge, CapacityError, Ground, PhysicsParams
from holosoma_jax.config import extras
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import SimulatorConfig
from tests.support.biped import BIPED, config, everyone, numpy, only, pose, random_pose, with_gains
from tests.support.recorded import recorded

pytest.importorskip("mujoco_warp")
import warp as wp
from mujoco_warp import DeterminismType

from bridges.mjwarp import MjwarpBridge, model, start

NUM, JOINTS = 4, 5
TARGETS = np.full((NUM, JOINTS), 0.1, np.float32)


def settings(**changes: object) -> SimulatorConfig:
    """The biped's config with these settings of MuJoCo Warp."""
    base = config()
    warp = replace(base.config.mujoco_warp, **changes)
    return replace(base, config=replace(base.config, mujoco_warp=warp))


@pytest.fixture(scope="module")
def bridge() -> Iterator[MjwarpBridge]:
    made = MjwarpBridge(config(), BIPED, Ground(), NUM)
    yield made
    made.close()


def fallen(bridge, steps=5):
    physics, _ = bridge.reset(bridge.init(), everyone(NUM), random_pose(NUM, height=0.5))
    sim = None
    for _ in range(steps):
        physics, sim = bridge.step(physics, TARGETS)
    return physics, sim


def assert_same(a, b, **tolerance):
    for name, x, y in zip(a._fields, numpy(a), numpy(b), strict=True):
        if x is not None:
            np.testing.assert_allclose(x, y, **({"rtol": 0} | tolerance), err_msg=name)


def test_it_is_a_traceable_bridge_with_buffers(bridge):
    assert isinstance(bridge, Bridge)
    assert isinstance(bridge, Bounded)
    assert bridge.spec.traceable
    assert bridge.spec.simulator == "mjwarp"
    assert bridge.spec.repeatable  # on a processor


def test_a_rollout_inside_a_program_is_the_one_outside(bridge):
    """Every call, under jit, scan and cond."""
    begin, again = random_pose(NUM, height=0.5), random_pose(NUM, seed=3, height=0.6)
    ratio = np.linspace(0.9, 1.2, NUM * 8, dtype=np.float32).reshape(NUM, 8)
    mask, push = only(NUM, 2), np.full((NUM, 3), 0.3, np.float32)

    def act(physics):
        physics = bridge.randomize(physics, PhysicsParams(mass_ratio=jnp.asarray(ratio)), jnp.asarray(mask))
        physics, _ = bridge.reset(physics, jnp.asarray(mask), jax.tree.map(jnp.asarray, again))
        physics, sim = bridge.set_root_velocity(
            physics, jnp.asarray(mask), jnp.asarray(push), jnp.asarray(push)
        )
        return physics, sim

    @jax.jit
    def program(physics):
        physics, sim = bridge.reset(physics, jnp.ones(NUM, bool), jax.tree.map(jnp.asarray, begin))

        def step(values, k):
            physics, _ = values
            physics, sim = bridge.step(physics, jnp.asarray(TARGETS))
            return jax.lax.cond(k == 3, lambda p, s: act(p), lambda p, s: (p, s), physics, sim), None

        (physics, sim), _ = jax.lax.scan(step, (physics, sim), jnp.arange(8))
        return physics, sim, bridge.get_state(physics)

    physics, sim, state = program(bridge.init())
    outside, _ = bridge.reset(bridge.init(), everyone(NUM), begin)
    for k in range(8):
        outside, wanted = bridge.step(outside, TARGETS)
        if k == 3:
            outside, wanted = act(outside)
    assert_same(sim, wanted, atol=1e-5, rtol=1e-4)
    assert state.keys() == bridge.get_state(physics).keys()
    np.testing.assert_array_equal(state["fields/body_mass"], physics.fields.body_mass)


def test_physics_is_a_value(bridge):
    """Nothing is kept on the side: an old value continues as it did, whatever was stepped in between."""
    physics, _ = fallen(bridge)
    after, first = bridge.step(physics, TARGETS)
    bridge.step(bridge.init(), 3 * TARGETS)
    spin = np.full((NUM, 3), 1e30, np.float32)
    broken, _ = bridge.set_root_velocity(physics, everyone(NUM), spin, spin)
    bridge.step(broken, TARGETS)
    again, second = bridge.step(physics, TARGETS)
    assert_same(first, second)
    for x, y in zip(jax.tree.leaves(after), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_new_bridge_continues_a_saved_rollout_bit_for_bit(bridge):
    """Saved in the middle, as arrays on the host; contacts, warm start and parameters included."""
    ratio = np.linspace(0.9, 1.2, NUM * 8, dtype=np.float32).reshape(NUM, 8)
    physics = bridge.randomize(bridge.init(), PhysicsParams(mass_ratio=ratio), only(NUM, 1, 3))
    physics, _ = bridge.reset(physics, everyone(NUM), random_pose(NUM, height=0.5))
    for _ in range(8):
        physics, before = bridge.step(physics, TARGETS)
    saved = {name: np.array(x) for name, x in bridge.get_state(physics).items()}

    def continued(made, physics):
        states = []
        for k in range(5):
            physics, sim = made.step(physics, TARGETS)
            states.append(sim)
            physics, sim = made.reset(physics, only(NUM, k % NUM), random_pose(NUM, seed=k))
            states.append(sim)
        return states

    other = MjwarpBridge(config(), BIPED, Ground(), NUM)
    physics_there, restored = other.reset(other.set_state(other.init(), saved), only(NUM), pose(NUM))
    assert_same(restored, before)
    for a, b in zip(continued(bridge, physics), continued(other, physics_there), strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("integrator", ["euler", "implicitfast"])
def test_it_falls_as_mujoco_does(integrator):
    """From any attitude, through the first contacts, for 0.3 s."""
    base = config(integrator=integrator)
    warp = replace(base.config.mujoco_warp, integrator=integrator)
    cfg = replace(base, config=replace(base.config, mujoco_warp=warp))
    offset = np.random.default_rng(0).uniform(-3, 3, (NUM, 4, JOINTS)).astype(np.float32)
    states, hit = [], 0.0
    for kind in (MjwarpBridge, MujocoBridge):
        made = kind(cfg, BIPED, Ground(), NUM)
        physics, _ = made.reset(made.init(), everyone(NUM), random_pose(NUM, height=0.6, speed=0.5))
        for k in range(15):
            physics, sim = made.step(physics, TARGETS, offset if k % 2 else None)
            hit = max(hit, float(np.abs(np.asarray(sim.contact_force)).max()))
        states.append(numpy(sim))
    ours, theirs = states
    assert hit > 50.0  # N: so contacts were among it
    np.testing.assert_allclose(ours.root_pos, theirs.root_pos, atol=1e-3)
    np.testing.assert_allclose(ours.joint_pos, theirs.joint_pos, atol=5e-3)
    np.testing.assert_allclose(ours.body_lin_vel, theirs.body_lin_vel, atol=5e-2)


@pytest.mark.slow
def test_it_stands_on_terrain_where_mujoco_does():
    """A slope, then a step up, under feet of boxes; heights and the forces that carry the weight."""
    x = np.arange(81) * 0.1 - 4.0
    heights = np.tile(np.where(x < 0, 0.1 * x, 0.05)[:, None], (1, 81)).astype(np.float32)
    ground = Ground(heights, 0.1, (-4.0, -4.0))
    place = np.array([[-2.0, 0.0, 0.6], [-0.5, 1.0, 0.75], [1.0, -1.0, 0.8], [2.5, 0.3, 0.8]], np.float32)
    states = []
    for Made in (MjwarpBridge, MujocoBridge):
        made = Made(config(), BIPED, ground, NUM)
        physics, _ = made.reset(made.init(), everyone(NUM), pose(NUM, root_pos=place))
        for _ in range(40):
            physics, sim = made.step(physics, np.zeros((NUM, JOINTS), np.float32))
        states.append(numpy(sim))
    ours, theirs = states
    np.testing.assert_allclose(ours.root_pos, theirs.root_pos, atol=0.02)
    weight = float(BIPED.body_mass.sum()) * 9.81
    np.testing.assert_allclose(ours.contact_force[2:, :, 2].sum(1), weight, rtol=0.05)


def test_friction_reaches_all_geoms_but_fixed_feet(bridge):
    drawn = PhysicsParams(friction=np.full(NUM, 0.3, np.float32))
    fixed = MjwarpBridge(settings(foot_friction="fixed"), BIPED, Ground(), NUM)
    robot = np.flatnonzero(bridge.model.geom_bodyid > 0)
    for made, kept in ((bridge, 0), (fixed, 8)):
        values = made.randomize(made.init(), drawn, everyone(NUM)).fields.geom_friction
        assert (np.asarray(values)[0, robot, 0] != np.float32(0.3)).sum() == kept


# --- buffers ------------------------------------------------------------------------------------


def test_too_few_constraint_rows_are_reported_with_the_value_to_set():
    cramped = MjwarpBridge(settings(njmax_per_env=12), BIPED, Ground(), NUM)
    cramped.check(cramped.init())
    physics, _ = fallen(cramped, 10)
    with pytest.raises(
        CapacityError, match=r"simulator.config.mujoco_warp.njmax_per_env is 12; .*left out"
    ) as e:
        cramped.check(physics)
    wanted = int(str(e.value).split("--simulator.config.mujoco-warp.njmax-per-env=")[1].split(";")[0])
    enough = MjwarpBridge(settings(njmax_per_env=wanted), BIPED, Ground(), NUM)
    physics, _ = fallen(enough, 10)
    enough.check(physics)
    assert f"of {wanted} constraint rows" in enough.usage(physics)


def test_too_few_contacts_are_reported_with_the_value_to_set():
    cramped = MjwarpBridge(settings(nconmax_per_env=1), BIPED, Ground(), NUM)
    physics = cramped.init()
    for _ in range(3):
        physics, _ = cramped.step(physics, TARGETS)
    with pytest.raises(
        CapacityError, match=r"nconmax_per_env is 1; .* --simulator.config.mujoco-warp.nconmax-per-"
    ):
        cramped.check(physics)


def test_high_water_marks_are_the_most_that_was_needed(bridge):
    physics = bridge.init()
    for _ in range(3):
        physics, _ = bridge.step(physics, np.zeros((NUM, JOINTS), np.float32))
    standing = int(physics.usage.rows.max())
    flying, _ = bridge.reset(physics, everyone(NUM), pose(NUM, root_pos=[0, 0, 5.0]))
    flying, _ = bridge.step(flying, TARGETS)
    assert int(flying.usage.rows.max()) == standing >= 32  # 8 corners, 4 rows each
    assert "8.0 of 96 contacts per environment" in bridge.usage(flying)
    assert int(bridge.init().usage.rows.max()) == 0


# --- start-up -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "setting", "pools", "loops", "mode", "stops_early", "line"),
    [
        (False, "auto", True, True, "NONE", True, "off, the physics runs on the processor"),
        (True, "auto", True, True, "WARP_STAGED", True, "on (warp_staged)."),
        (True, "addresses", True, True, "WARP", True, "on (warp)."),
        (True, "staged_ex", True, True, "WARP_STAGED_EX", True, "on (warp_staged_ex)."),
        (True, "off", True, True, "NONE", True, "off, as simulator.config.mujoco_warp.cuda_graph says"),
        (True, "auto", False, True, "NONE", True, "off, GPU has no memory pools"),
        (True, "auto", True, False, "WARP_STAGED", False, "loops in graphs need CUDA 12.4"),
    ],
)
def test_the_user_learns_whether_graphs_are_on(
    monkeypatch, device, setting, pools, loops, mode, stops_early, line
):
    monkeypatch.setattr(wp, "is_mempool_enabled", lambda device: pools)
    monkeypatch.setattr(wp, "is_conditional_graph_supported", lambda: loops)
    found = start.graph_mode(SimpleNamespace(is_cuda=device, name="GPU"), setting)
    assert (found[0].name, found[1]) == (mode, stops_early)
    assert line in found[2]


@pytest.mark.parametrize("wanted", [False, True])
def test_a_fixed_order_is_asked_of_mujoco_warp(monkeypatch, wanted):
    """Of what it can keep in order on a GPU, and of both models; here their arrays go to the processor all the same."""
    monkeypatch.setattr(wp, "ScopedDevice", lambda device: contextlib.nullcontext())
    gpu = cast("wp.Device", SimpleNamespace(is_cuda=True))
    built = model.build(BIPED, Ground(), settings(deterministic=wanted), NUM, gpu)
    order = DeterminismType.ALL if wanted else DeterminismType.NONE
    assert (built.full.opt.deterministic, built.quiet.opt.deterministic) == (order, order)


@pytest.mark.parametrize(("cuda", "asked", "lines"), [(True, True, 2), (True, False, 1), (False, True, 1)])
def test_a_gpu_does_not_keep_to_one_order_and_that_is_said(cuda, asked, lines):
    """Contacts are found in any order there, so equal runs cannot be promised, whatever is asked for."""
    device = SimpleNamespace(is_cuda=cuda, name="GPU", free_memory=34.9e9, total_memory=140e9)
    said = start.describe(cast("wp.Device", device), "", deterministic=asked)
    assert ("34.9 of 140.0 GB free" in said) == cuda
    assert len(said.splitlines()) == lines
    assert ("differ in rounding" in said) == (lines == 2)


def test_starting_says_what_it_does(capsys):
    MjwarpBridge(config(), BIPED, Ground(), NUM).close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("MuJoCo Warp on CPU (Warp ")
    assert lines[1].startswith("Loading physics kernels")
    assert lines[2].startswith("Physics kernels are ready after ")


def test_what_does_not_fit_is_one_line(monkeypatch):
    def make_data(*args, **kwargs):
        raise RuntimeError("Failed to allocate 99 bytes on device 'cuda:0'")

    monkeypatch.setattr(model.mjw, "make_data", make_data)
    with pytest.raises(ConfigError, match=r"^simulator:mjwarp: 4 .*\(Failed .*num-envs\)"):
        MjwarpBridge(config(), BIPED, Ground(), NUM)


def test_a_gpu_that_warp_cannot_use_is_one_line(monkeypatch):
    def unknown(device):
        raise RuntimeError("no CUDA driver")

    monkeypatch.setattr(wp, "device_from_jax", unknown)
    with pytest.raises(ConfigError, match=r"^simulator:mjwarp: .*\(no CUDA driver\)"):
        start.devices(1)


def test_a_missing_package_is_one_line_that_names_the_extra(monkeypatch):
    monkeypatch.setattr(extras, "is_installed", lambda module: False)
    with pytest.raises(ConfigError, match=r"^simulator:mjwarp.*'holosoma-jax\[warp\]'"):
        bridges.make(replace(config(), name="mjwarp"), BIPED, Ground(), NUM)


# --- bad input ----------------------------------------------------------------------------------

NAN = np.full((NUM, 3), np.nan, np.float32)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda b, p: b.step(p, TARGETS[:2]), r"^targets: got shape \(2, 5\), wanted \(4, 5\)"),
        (lambda b, p: b.step(p, TARGETS.astype(int)), r"^targets: got int64, wanted floating"),
        (lambda b, p: b.step(p, TARGETS * np.nan), r"^targets: got nan .*\b0, entry 0"),
        (lambda b, p: b.step(p, TARGETS, TARGETS), r"^torque_offset: .*\(4, 5\).*\(4, 4, 5\)"),
        (lambda b, p: b.reset(p, np.ones(NUM), pose(NUM)), "^mask: got float64, wanted bool"),
        (lambda b, p: b.reset(p, everyone(NUM), pose(3)), r"^pose.root_pos: got shape \(3, 3\)"),
        (
            lambda b, p: b.reset(p, everyone(NUM), pose(NUM, root_quat=[0, 0, 0, 0])),
            r"^pose.root_quat: .*norm 0 .*environment 0\b.*unit",
        ),
        (lambda b, p: b.set_root_velocity(p, only(NUM, 2), NAN, NAN), r"^lin: got nan .*\b2"),
        (
            lambda b, p: b.randomize(p, PhysicsParams(mass_ratio=np.zeros((NUM, 8))), everyone(NUM)),
            r"^params.mass_ratio: got 0 in .*above 0",
        ),
        (
            lambda b, p: b.randomize(p, PhysicsParams(kp_scale=np.ones((NUM, 8))), everyone(NUM)),
            r"^params.kp_scale: .*\(4, 8\).*\(4, 5\)",
        ),
        (lambda b, p: b.set_state(p, {}), "^state: no array 'qpos'; got nothing"),
        (
            lambda b, p: b.set_state(p, b.get_state(p) | {"time": np.zeros(3, np.float32)}),
            r"^state: 'time' .*\(3,\).*\(4,\)",
        ),
        (
            lambda b, p: jax.jit(b.step)(p, jnp.zeros((NUM, 4))),
            r"^targets: got shape \(4, 4\), wanted \(4, 5\)",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(bridge, call, line):
    with pytest.raises(ValueError, match=line) as error:
        call(bridge, bridge.init())
    assert "\n" not in str(error.value)


def test_rows_outside_the_mask_may_hold_anything(bridge):
    physics, _ = bridge.set_root_velocity(bridge.init(), only(NUM), NAN, NAN)
    assert np.isfinite(physics.qvel).all()


def test_an_offset_needs_stiffness():
    soft = MjwarpBridge(config(), with_gains(BIPED, kp=[200, 200, 150, 150, 0]), Ground(), NUM)
    with pytest.raises(ValueError, match=r"^torque_offset: .*'neck'.*kp"):
        soft.step(soft.init(), TARGETS, np.zeros((NUM, 4, JOINTS), np.float32))


def test_there_must_be_an_environment():
    with pytest.raises(ValueError, match=r"^num_envs: got 0, wanted 1 or more"):
        MjwarpBridge(config(), BIPED, Ground(), 0)


def test_a_closed_bridge_says_so():
    made = MjwarpBridge(config(), BIPED, Ground(), NUM)
    physics = made.init()
    made.close()
    with pytest.raises(RuntimeError, match="closed"):
        made.step(physics, TARGETS)


def test_a_closed_bridge_keeps_no_graphs(monkeypatch):
    """A program that was compiled before has to ask the bridge again, instead of replaying what was recorded."""
    functions = recorded(monkeypatch, wp, "jax_callable")
    made = MjwarpBridge(config(), BIPED, Ground(), NUM)
    program = jax.jit(lambda physics: made.step(physics, jnp.asarray(TARGETS))[1].root_pos)
    physics = made.init()
    program(physics)
    (function,) = (called for called in functions if called.call_descriptors)
    (staged,) = function.call_descriptors.values()
    staged.capture = staged.input_staging_arrays = object()  # as on a GPU
    function.captures["addresses"] = object()
    made.close()
    assert (staged.capture, staged.input_staging_arrays, len(function.captures)) == (None, None, 0)
    with pytest.raises(jax.errors.JaxRuntimeError, match="closed"):
        jax.block_until_ready(program(physics))
