"""Whole iterations as one program, on MuJoCo Warp: the same numbers as with Python between the steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import chex
import jax
import numpy as np
import pytest

from bridges.protocol import CapacityError, Ground
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config
from holosoma_jax.envs.terrain import Terrain
from holosoma_jax.experiment import Setup, learner_spec
from holosoma_jax.rollout import fused_off_policy, fused_on_policy, seeding
from holosoma_jax.runs.run_dir import RunDir
from holosoma_jax.training import drivers, off_policy, on_policy
from holosoma_jax.training.trainer import Result
from tests.support import toy
from tests.support.biped import BIPED, STANDING, config
from tests.training.test_on_policy import Rows

pytest.importorskip("mujoco_warp")
from bridges.mjwarp import MjwarpBridge

NUM_ENVS = 16
Make = Callable[[Config], Setup]


@pytest.fixture(scope="module")
def make() -> Iterator[Make]:
    """The toy's task, for the small biped in MuJoCo Warp; one simulator for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "JOINTS": BIPED.num_joints,
            "BODIES": BIPED.body_names,
            "HEIGHT": STANDING,
        }.items():
            patch.setattr(toy, name, value)
        bridge = MjwarpBridge(config(), BIPED, Ground(), NUM_ENVS)
        ground = cast("Terrain", SimpleNamespace(ground=Ground()))
        env = toy.make_env(NUM_ENVS)

        def build(cfg: Config) -> Setup:
            return Setup(cfg, BIPED, ground, bridge, env, learner_spec(cfg, env, BIPED))

        yield build
        bridge.close()


def go(setup: Setup, folder: Path, saved: Path | None = None, **kwargs: Any) -> Result:
    """One session in `folder`."""
    loop = on_policy if setup.cfg.algo.name == "ppo" else off_policy
    driver, state = loop.begin(setup, saved, kwargs.get("say", print))
    return loop.train(setup, driver, state, RunDir(folder), **kwargs)


class Onlooker:
    """Notes what it sees of environment 0."""

    def __init__(self) -> None:
        self.seen: list[tuple[np.ndarray, bool]] = []

    def begin(self, iteration: int) -> None:
        pass

    def step(self, step: Any) -> None:
        self.seen.append((np.array(step.sim.joint_pos[0]), bool(step.reset.mask[0])))

    def saved(self, iteration: int, learner: Any) -> None:
        pass


PPO = pytest.param(toy.config, id="ppo")
FAST_SAC = pytest.param(toy.fast_sac, id="fast-sac", marks=pytest.mark.slow)


@pytest.mark.parametrize("settings", [PPO, FAST_SAC])
def test_both_drivers_give_the_same_numbers(make, settings, tmp_path):
    """Learner, environments, physics, what is logged, and what an onlooker sees."""
    found = {}
    for driver in ("stepped", "fused"):
        parts, rows, onlooker = make(settings(driver=driver)), Rows(), Onlooker()
        result = go(parts, tmp_path / driver, sinks=[rows], extras=onlooker)
        found[driver] = toy.everything(parts, result.state), rows, onlooker.seen
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


def test_an_iteration_compiles_once_and_uses_its_arguments_up(make):
    parts = make(toy.config())
    driver, state = on_policy.begin(parts)
    assert isinstance(driver, fused_on_policy.Fused)
    learner, world, root = state.learner, state.world, seeding.root(0)
    first = world.physics.qpos
    for i in range(3):
        done = driver.iterate(learner, world, root, seeding.stream(root, "update", i))
        learner, world = done.learner, done.world
    assert driver.program._cache_size() == 1
    assert first.is_deleted()


def test_stretches_of_any_length_are_one_program(make):
    parts = make(toy.fast_sac())
    driver, state = off_policy.begin(parts)
    assert isinstance(driver, fused_off_policy.Fused)
    learner, experience, world, roots = state.learner, state.experience, state.world, off_policy.keys(0)
    for steps in (4, 1, 3):
        done = driver.advance(learner, experience, world, steps, roots)
        learner, experience, world = done.learner, done.experience, done.world
        assert done.steps == steps
    assert int(world.carry.step) == 8
    assert driver.program._cache_size() == 1
    with pytest.raises(ValueError, match="steps: got 5, wanted at most 4"):
        driver.advance(learner, experience, world, 5, roots)


def test_a_diverged_environment_is_reported_and_reset(make, tmp_path):
    """It costs one transition; the others do not notice."""
    parts, said = make(toy.config(num_learning_iterations=1)), []
    driver, state = on_policy.begin(parts)
    physics = state.world.physics
    spoilt = physics._replace(qvel=physics.qvel.at[3, 4].set(1e30))
    state = state._replace(world=state.world._replace(physics=spoilt))
    rows = Rows()
    result = on_policy.train(
        parts, driver, state, RunDir(tmp_path), sinks=[rows], extras=Onlooker(), say=said.append
    )
    assert any(
        "1 environment(s) became non-finite at control step 0 (environments 3;" in line for line in said
    )
    assert rows[0][1]["Env/nonfinite"] == pytest.approx(1 / 8)
    with np.load(tmp_path / "nonfinite" / "0.npz") as report:
        assert report["env_ids"].tolist() == [3]
        assert np.isnan(report["joint_pos"][-1]).all()
    assert not np.asarray(result.state.world.physics.diverged).any()
    chex.assert_tree_all_finite(jax.tree.map(np.asarray, tuple(result.state.world.sim)))


def test_a_buffer_that_was_too_small_stops_the_run_and_says_what_to_set(make, tmp_path):
    """The flag that a control step leaves in the physics; tests/bridges lets it come about."""
    parts, said = make(toy.config(num_learning_iterations=1)), []
    driver, state = on_policy.begin(parts)
    learner, world = jax.tree.map(np.array, state.learner), jax.tree.map(np.array, state.world.physics)
    on_policy.train(parts, driver, state, RunDir(tmp_path / "good"), say=said.append)
    assert sum("buffers, at most so far" in line and "of 300 constraint rows" in line for line in said) == 1

    state = on_policy.begin(parts)[1]
    usage = world.usage._replace(overflow=np.ones(NUM_ENVS, np.int32), rows=np.full(NUM_ENVS, 340, np.int32))
    state = state._replace(learner=learner, world=state.world._replace(physics=world._replace(usage=usage)))
    with pytest.raises(
        CapacityError, match=r"340 constraint rows, .*njmax_per_env is 300; .*njmax-per-env=432;"
    ):
        on_policy.train(parts, driver, state, RunDir(tmp_path / "bad"), say=said.append)


def test_a_simulator_outside_of_jax_cannot_be_fused():
    parts = toy.setup(toy.config(driver="fused"))
    with pytest.raises(
        ConfigError, match=r"^training.driver: got 'fused', but simulator 'toy' .*simulator:mjwarp"
    ):
        on_policy.begin(parts)
    assert not drivers.fused(toy.setup())
    for wrong in (
        lambda: fused_on_policy.Fused(parts.env, parts.bridge, 8),
        lambda: fused_off_policy.Fused(parts.env, parts.bridge, cast(Any, None), 8),
    ):
        with pytest.raises(ValueError, match="got 'toy', wanted a traceable one"):
            wrong()
