"""Whole iterations as one program, on MuJoCo Warp: the same numbers as with Python between the steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import chex
import jax
import numpy as np
import pytest

from bridges.protocol import CapacityError
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config
from holosoma_jax.experiment import Setup
from holosoma_jax.rollout import on_policy, seeding
from holosoma_jax.rollout.fused import Fused
from holosoma_jax.runs.run_dir import RunDir
from holosoma_jax.training import drivers, loop, run_state
from holosoma_jax.training.callbacks import Callback
from tests.support import layout, toy
from tests.support.toy import Rows, go

pytest.importorskip("mujoco_warp")
NUM_ENVS = layout.NUM_ENVS
Make = Callable[[Config], Setup]


@pytest.fixture(scope="module")
def make() -> Iterator[Make]:
    """The toy's task, for the small biped in MuJoCo Warp; one simulator for all tests."""
    with layout.biped_in_mjwarp(jump_every=9) as build:
        yield build


class Watch(Callback):
    """Notes what it sees of environment 0."""

    def __init__(self) -> None:
        self.seen: list[tuple[np.ndarray, bool]] = []

    def on_step(self, info: Any) -> None:
        shown = np.concatenate([info.sim.joint_pos[0], info.ghost.joint_pos[0]])
        self.seen.append((shown, bool(info.reset[0])))


PPO = pytest.param(toy.config, id="ppo")
FAST_SAC = pytest.param(toy.fast_sac, id="fast-sac", marks=pytest.mark.slow)


@pytest.mark.parametrize("settings", [PPO, FAST_SAC])
def test_both_drivers_give_the_same_numbers(make, settings, tmp_path, optimized):
    """Learner, environments, physics, what is logged, and what a callback sees.

    Compiled with few optimisations the updates round differently, and within three iterations contacts show it.
    """
    found = {}
    for driver in ("stepped", "fused"):
        parts, rows, watch = make(settings(driver=driver)), Rows(), Watch()
        result = go(parts, tmp_path / driver, sinks=[rows], callbacks=[watch])
        found[driver] = toy.everything(parts, result.state), rows, watch.seen
    (stepped, rows, seen), (fused, fused_rows, fused_seen) = found["stepped"], found["fused"]
    # Contacts magnify the rounding in which the programs differ; speeds reach 30 rad/s, accelerations 800.
    for part in ("physics", "sim"):
        chex.assert_trees_all_close(fused.pop(part), stepped.pop(part), rtol=1e-3, atol=2e-4)
    chex.assert_trees_all_close(fused, stepped, rtol=1e-4, atol=1e-5)
    assert len(fused_seen) == len(seen) >= 24
    assert any(ended for _, ended in seen)
    assert [ended for _, ended in fused_seen] == [ended for _, ended in seen]
    chex.assert_trees_all_close([x for x, _ in fused_seen], [x for x, _ in seen], rtol=1e-4, atol=1e-5)
    assert len(rows) == len(fused_rows) > 0
    for one, other in zip(rows, fused_rows, strict=True):
        assert one[0] == other[0]
        chex.assert_trees_all_close(_numbers(other[1]), _numbers(one[1]), rtol=1e-3, atol=1e-4)


def _numbers(row: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in row.items() if not name.startswith("Perf/")}


@pytest.mark.slow
@pytest.mark.parametrize("settings", [PPO, FAST_SAC])
def test_a_saved_run_continues_bit_for_bit(make, settings, tmp_path):
    options = {"save_buffer": True} if settings is toy.fast_sac else {}
    k = 12 if options else 2

    def parts(iterations: int) -> Setup:
        return make(settings(num_learning_iterations=iterations, save_interval=k, **options))

    straight = parts(2 * k)
    expected = toy.everything(straight, go(straight, tmp_path / "straight").state)
    go(parts(k), tmp_path / "parts")
    resumed = parts(2 * k)
    found = go(resumed, tmp_path / "parts", tmp_path / "parts" / "checkpoints" / str(k))
    chex.assert_trees_all_equal(toy.everything(resumed, found.state), expected)


@pytest.fixture
def traced(make, monkeypatch) -> list[int]:
    """Grows each time that a control step of `make`'s simulator becomes part of a program."""
    bridge, calls = make(toy.config()).bridge, []
    step = bridge.step

    def counted(physics: Any, *command: Any) -> Any:
        calls.append(1)
        return step(physics, *command)

    monkeypatch.setattr(bridge, "step", counted)
    return calls


def test_an_iteration_compiles_once_and_uses_its_arguments_up(make, traced):
    driver, (state, *_) = run_state.create_or_restore(make(toy.config()))
    assert isinstance(driver, Fused)
    first = state.rollout.physics.qpos
    state, _ = driver.iterate(state, seeding.keys(0), 0)
    once = len(traced)
    for i in (1, 2):
        state, _ = driver.iterate(state, seeding.keys(0), i)
    assert len(traced) == once > 0
    assert first.is_deleted()


@pytest.mark.slow
def test_any_number_of_iterations_is_one_program(make, traced):
    driver, (state, *_) = run_state.create_or_restore(make(toy.fast_sac()))
    assert isinstance(driver, Fused)
    times = set()
    for steps in (4, 1, 3):
        state, stats = driver.iterate(state, seeding.keys(0), 0, steps)
        assert stats.iterations == stats.control_steps == steps
        times.add(len(traced))
    assert int(state.rollout.carry.step) == 8
    assert len(times) == 1 and 0 not in times
    with pytest.raises(ValueError, match=r"count: .*\b5\b.*\b4\b"):
        driver.iterate(state, seeding.keys(0), 0, 5)


def test_a_diverged_environment_is_reported_and_reset(make, tmp_path, messages):
    """It costs one transition; the others do not notice."""
    parts = make(toy.config(num_learning_iterations=1))
    driver, state = run_state.create_or_restore(parts)
    physics = state.runner.rollout.physics
    state = with_physics(state, physics._replace(qvel=physics.qvel.at[3, 4].set(1e30)))
    rows = Rows()
    result = loop.train(parts, driver, state, RunDir(tmp_path), sinks=[rows], callbacks=[Watch()])
    text = "1 environment(s) became non-finite at control step 0 (environments 3;"
    assert any(text in line for line in messages)
    assert rows[0][1]["Env/nonfinite"] == pytest.approx(1 / 8)
    with np.load(tmp_path / "nonfinite" / "0.npz") as report:
        assert report["env_ids"].tolist() == [3]
        assert np.isnan(report["joint_pos"][-1]).all()
    rollout = result.state.runner.rollout
    assert not np.asarray(rollout.physics.diverged).any()
    chex.assert_tree_all_finite(jax.tree.map(np.asarray, tuple(rollout.sim)))


def with_physics(state, physics):
    rollout = state.runner.rollout._replace(physics=physics)
    return state._replace(runner=state.runner._replace(rollout=rollout))


def test_a_buffer_that_was_too_small_stops_the_run_and_says_what_to_set(make, tmp_path, messages):
    """The flag that a control step leaves in the physics; tests/bridges lets it come about."""
    parts = make(toy.config(num_learning_iterations=1))
    driver, state = run_state.create_or_restore(parts)
    physics = jax.tree.map(np.array, state.runner.rollout.physics)
    loop.train(parts, driver, state, RunDir(tmp_path / "good"))
    sizes = [
        line for line in messages if "buffers, at most so far" in line and "of 300 constraint rows" in line
    ]
    assert len(sizes) == 1

    driver, state = run_state.create_or_restore(parts)
    usage = physics.usage._replace(
        overflow=np.ones(NUM_ENVS, np.int32), rows=np.full(NUM_ENVS, 340, np.int32)
    )
    with pytest.raises(
        CapacityError, match=r"340 constraint rows, .*njmax_per_env is 300; .*njmax-per-env=432;"
    ):
        loop.train(
            parts, driver, with_physics(state, physics._replace(usage=usage)), RunDir(tmp_path / "bad")
        )


def test_a_simulator_outside_of_jax_cannot_be_fused():
    parts = toy.setup(toy.config(driver="fused"))
    with pytest.raises(ConfigError, match=r"^training.driver: got 'fused'.*'toy' .*simulator:mjwarp"):
        run_state.create_or_restore(parts)
    assert not drivers.fused(toy.setup())
    with pytest.raises(ValueError, match=r"got 'toy', wanted .*traceable"):
        Fused(parts.env, parts.bridge, on_policy.rollout_fns(parts.learner, parts.cfg.algo.config))
