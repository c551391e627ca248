"""A bridge in a worker gives the bits that it gives in this process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import chex
import jax
import numpy as np
import pytest

import bridges
from bridges import remote
from bridges.mujoco import MujocoBridge
from bridges.protocol import Bounded, BridgeSpec, Ground, PhysicsParams, SimulatorError, StalePhysicsError
from bridges.remote.program import StartError
from holosoma_jax.config.schema import RemoteConfig
from tests.support.biped import BIPED, config, everyone, numpy, only, pose, random_pose

E = 4


def remote_config(**fields: Any):
    cfg = config()
    return replace(cfg, config=replace(cfg.config, remote=RemoteConfig(start_timeout_s=120, **fields)))


@pytest.fixture(scope="module")
def far() -> Iterator[remote.RemoteBridge]:
    bridge = remote.make(remote_config(), BIPED, Ground(), E)
    yield bridge
    bridge.close()


@pytest.fixture(scope="module")
def near() -> MujocoBridge:
    return MujocoBridge(config(), BIPED, Ground(), E)


def run(bridge: Any) -> list[Any]:
    """Every kind of call, the states on the way, and the one that is saved at the end."""
    rng, states = np.random.default_rng(3), []
    physics = bridge.init()
    physics, sim = bridge.reset(physics, everyone(E), pose(E))
    states.append(numpy(sim))
    for k in range(12):
        targets = rng.uniform(-0.3, 0.3, (E, 5)).astype(np.float32)
        offset = rng.uniform(-5, 5, (E, 4, 5)).astype(np.float32) if k % 3 == 0 else None
        physics, sim = bridge.step(physics, targets, offset)
        states.append(numpy(sim))
        if k == 4:
            mass = rng.uniform(0.5, 1.5, (E, 8)).astype(np.float32)
            params = PhysicsParams(mass_ratio=mass, friction=np.linspace(0.2, 1, E, dtype=np.float32))
            physics = bridge.randomize(physics, params, only(E, 0, 2))
        if k == 6:
            physics, sim = bridge.reset(physics, only(E, 1), random_pose(E))
            states.append(numpy(sim))
        if k == 8:
            lin, ang = rng.standard_normal((2, E, 3)).astype(np.float32)
            physics, sim = bridge.set_root_velocity(physics, only(E, 3), lin, ang)
            states.append(numpy(sim))
    states.append(bridge.get_state(physics))
    return states


def assert_same(a: Any, b: Any) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def test_every_call_gives_the_same_bits(far: remote.RemoteBridge, near: MujocoBridge):
    for there, here in zip(run(far), run(near), strict=True):
        assert_same(there, here)


def test_the_spec_is_that_of_the_bridge(far: remote.RemoteBridge, near: MujocoBridge):
    assert far.spec == near.spec
    assert isinstance(far.spec, BridgeSpec) and not isinstance(far, Bounded)


def test_a_state_saved_there_continues_here(far: remote.RemoteBridge, near: MujocoBridge):
    saved = run(far)[-1]
    targets = np.full((E, 5), 0.1, np.float32)
    results = []
    for bridge in (far, near):
        physics = bridge.set_state(bridge.init(), saved)
        results.append(numpy(bridge.step(physics, targets)[1]))
    assert_same(*results)


def test_a_ground_with_heights_arrives():
    heights = np.random.default_rng(0).uniform(0, 0.2, (20, 30)).astype(np.float32)
    ground = Ground(heights, cell=0.2, corner=(-2.0, -3.0))
    results = []
    for bridge in (remote.make(remote_config(), BIPED, ground, 2), MujocoBridge(config(), BIPED, ground, 2)):
        physics, _ = bridge.reset(bridge.init(), everyone(2), pose(2, root_pos=[0.0, 0.0, 0.95]))
        for _ in range(10):
            physics, sim = bridge.step(physics, np.zeros((2, 5), np.float32))
        results.append(numpy(sim))
        bridge.close()
    assert_same(*results)
    assert np.abs(results[0].contact_force).max() > 0


def test_states_stay_valid(far: remote.RemoteBridge):
    physics, sim = far.reset(far.init(), everyone(E), pose(E))
    before = numpy(sim)
    copies = jax.tree.map(np.array, before)
    for _ in range(3):
        physics, _ = far.step(physics, np.full((E, 5), 0.5, np.float32))
    chex.assert_trees_all_equal(numpy(sim), copies)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("targets", np.zeros((E, 4), np.float32)),
        ("targets", np.zeros((1, 5), np.float32)),
        ("targets", np.full((E, 5), np.nan, np.float32)),
        ("torque_offset", np.zeros((E, 1, 5), np.float32)),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(far: remote.RemoteBridge, name: str, value: Any):
    physics = far.init()
    given = {"targets": np.zeros((E, 5), np.float32), name: value}
    with pytest.raises(ValueError, match=f"^{name}: got"):
        far.step(physics, **given)
    far.step(physics, np.zeros((E, 5), np.float32))


def test_the_bridges_own_refusal_is_raised_here(far: remote.RemoteBridge):
    physics = far.init()
    wrong = PhysicsParams(mass_ratio=np.full((E, 8), -1, np.float32))
    with pytest.raises(ValueError, match=r"^params\.mass_ratio: got -1"):
        far.randomize(physics, wrong, everyone(E))
    with pytest.raises(ValueError, match=r"no array 'integration'"):
        far.set_state(physics, {})


def test_an_old_token_is_stale(far: remote.RemoteBridge):
    old = far.init()
    far.step(old, np.zeros((E, 5), np.float32))
    with pytest.raises(StalePhysicsError, match="mujoco"):
        far.step(old, np.zeros((E, 5), np.float32))


def test_init_starts_another_worker_when_one_has_died():
    bridge = remote.make(remote_config(), BIPED, Ground(), E)
    physics = bridge.init()
    saved = bridge.get_state(physics)
    pid = bridge.worker.pid
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(SimulatorError, match=r"mujoco worker .*SIGKILL"):
        bridge.step(physics, np.zeros((E, 5), np.float32))
    physics = bridge.set_state(bridge.init(), saved)
    assert bridge.worker.pid not in (0, pid)
    assert_same(bridge.get_state(physics), saved)
    bridge.close()
    with pytest.raises(RuntimeError, match="closed"):
        bridge.init()


def test_the_config_chooses(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(StartError, match="/no/python"):
        bridges.make(remote_config(python="/no/python"), BIPED, Ground(), E)


@pytest.mark.slow  # its kernels have to load
def test_a_bridge_with_buffers_of_a_fixed_size_says_how_full_they_are():
    pytest.importorskip("mujoco_warp")
    cfg = replace(remote_config(), name="mjwarp")
    bridge = remote.make(cfg, BIPED, Ground(), E)
    assert isinstance(bridge, Bounded) and not bridge.spec.traceable
    physics, _ = bridge.reset(bridge.init(), everyone(E), pose(E))
    for _ in range(5):
        physics, sim = bridge.step(physics, np.zeros((E, 5), np.float32))
    assert numpy(sim).contact_force[..., 2].sum(-1).min() > 50
    bridge.check(physics)
    assert any(character.isdigit() for character in bridge.usage(physics))
    bridge.close()
