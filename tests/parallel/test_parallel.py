from __future__ import annotations

import logging
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.experiment import Setup
from holosoma_jax.learn import ppo
from holosoma_jax.parallel import processes
from holosoma_jax.parallel.devices import Devices
from holosoma_jax.rollout import seeding
from holosoma_jax.runs import checkpoint
from holosoma_jax.runs.run_dir import RunDir
from holosoma_jax.training import loop, run_state
from holosoma_jax.training.callbacks import Callback
from tests.support import small, toy
from tests.support.messages import messages as messages
from tests.support.toy import Rows, go

FOUR = Devices(4)


def test_pooled_learners_stay_equal_and_learn_from_every_shard():
    """Four devices on a quarter of the environments each: all end with the same state, close to the one
    that a single device reaches on all of them (the mini-batches are other ones)."""
    learner = small.learner(num_mini_batches=1, num_learning_epochs=1, schedule="fixed")
    batch = small.rollout(learner, steps=8, num_envs=16)
    alone, _ = jax.jit(ppo.update)(learner, batch, jax.random.key(1))

    steps = FOUR.split(batch._replace(last_value=batch.last_value[None]), axis=1)
    steps = steps._replace(last_value=steps.last_value[:, 0])
    keys = FOUR.split(jax.random.split(jax.random.key(1), 4).reshape(4))
    update = FOUR.jit(partial(ppo.update, axis_name=FOUR.axis_name), (0,))
    together, _ = update(FOUR.replicate(learner), steps, keys.reshape(4))
    first = FOUR.first(together.params)
    for other in FOUR.each(together.params):
        chex.assert_trees_all_equal(other, first)
    moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), alone.params, learner.params)
    assert min(jax.tree.leaves(jax.device_get(moved))) > 1e-6
    chex.assert_trees_all_close(first, alone.params, atol=1e-5)


def test_a_single_device_has_no_device_axis():
    one, x = Devices(), jnp.arange(6.0).reshape(3, 2)
    assert one.axis_name is None
    for found in (one.replicate(x), one.split(x), one.gather(x), one.first(x), one.jit(lambda x: x)(x)):
        np.testing.assert_array_equal(found, x)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_is_split_lies_on_its_device_and_is_gathered_in_order(axis):
    x = jnp.arange(8 * 4 * 12).reshape(8, 4, 12)
    parts = FOUR.split({"x": x}, axis)["x"]
    assert parts.shape == (4, *(n // 4 if i == axis else n for i, n in enumerate(x.shape)))
    assert [shard.device for shard in parts.addressable_shards] == list(FOUR.local)
    np.testing.assert_array_equal(jnp.concatenate(list(parts), axis), x)
    np.testing.assert_array_equal(FOUR.gather(parts, axis), x)
    np.testing.assert_array_equal(FOUR.first(parts), jnp.split(x, 4, axis)[0])
    np.testing.assert_array_equal(np.stack(FOUR.each(parts)), parts)
    assert FOUR.one(parts).shape == parts.shape[1:]
    with pytest.raises(ValueError, match=r"axis 1 .*\(2, 6, 2\).*\b4\b"):
        FOUR.split(x.reshape(-1)[:24].reshape(2, 6, 2), 1)


def test_collectives_reach_every_device():
    numbers = FOUR.jit(lambda x: jax.lax.psum(x, FOUR.axis_name))(FOUR.split(jnp.arange(4.0)))
    np.testing.assert_array_equal(numbers, np.full((4, 1), 6.0))
    drawn = FOUR.jit(lambda key: jax.random.uniform(key))(seeding.keys(5, FOUR).own)
    assert len(set(map(float, drawn))) == 4
    np.testing.assert_array_equal(drawn, [jax.random.uniform(seeding.root(5, device)) for device in range(4)])
    np.testing.assert_array_equal(FOUR.create(lambda: jnp.ones(3)), np.ones((4, 3)))


def test_more_devices_than_there_are():
    with pytest.raises(ConfigError, match=r"training.devices: got 64, .* 4 cpu .*--training.devices 4"):
        Devices(64).jit(lambda x: x)


def test_environments_are_shared_evenly(monkeypatch):
    assert processes.local_share(4096) == 4096
    with pytest.raises(ConfigError, match=r"num_envs is 4097\b.*\b4\b.*--training.num-envs 4096"):
        processes.local_share(4097, 4)
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    assert processes.local_share(12) == 4
    assert processes.local_share(12, 2) == 4
    with pytest.raises(ConfigError, match=r"num_envs is 4096\b.*\b3 processes.*--training.num-envs 4095"):
        processes.local_share(4096)


def test_streams_are_unrelated_and_reproducible():
    root = seeding.root(5)
    draws = {
        (name, step): float(jax.random.uniform(seeding.stream(root, name, step)))
        for name in ("act", "update", "init")
        for step in range(20)
    }
    assert len(set(draws.values())) == 60
    traced = jax.jit(lambda step: jax.random.uniform(seeding.stream(root, "act", step)))
    assert float(traced(jnp.int32(7))) == draws["act", 7]
    assert float(jax.random.uniform(seeding.stream(seeding.root(5), "act", 7))) == draws["act", 7]


def test_devices_draw_different_numbers_but_share_what_must_be_equal():
    roots = [seeding.root(5, device) for device in range(4)] + [seeding.shared(5)]
    assert len({float(jax.random.uniform(root)) for root in roots}) == 5
    chex.assert_trees_all_equal(
        jax.random.key_data(seeding.shared(5)), jax.random.key_data(seeding.shared(5))
    )


class Seen(Callback):
    """What a callback sees of the environments, and of the learner."""

    def __init__(self) -> None:
        self.shapes, self.learner = set(), None

    def on_step(self, info: Any) -> None:
        self.shapes |= {info.sim.joint_pos.shape, info.targets.shape, info.reset.shape, info.nonfinite.shape}

    def on_checkpoint(self, iteration: int, learner: Any) -> None:
        self.learner = learner


@pytest.mark.slow
def test_a_run_on_two_devices_resumes_bit_for_bit(tmp_path, caplog):
    """One simulator with all rows, Python between the steps."""

    def parts(iterations: int) -> Setup:
        return toy.setup(toy.config(devices=2, num_learning_iterations=iterations))

    straight, rows, seen = parts(4), Rows(), Seen()
    expected = go(straight, tmp_path / "straight", sinks=[rows], callbacks=[seen])
    assert len(rows) == 4
    assert seen.shapes == {(16, 3), (16,)}
    go(parts(2), tmp_path / "parts")
    resumed, more = parts(4), Rows()
    driver, state = run_state.create_or_restore(resumed, tmp_path / "parts" / "checkpoints" / "2")
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        found = loop.train(resumed, driver, state, RunDir(tmp_path / "parts"), sinks=[more])
    halves = [r for r in caplog.messages if r.startswith("Compiling ") and "process" in r.split()[1]]
    assert len(halves) <= 1  # a restored state is no other kind of argument
    chex.assert_trees_all_equal(
        toy.everything(resumed, found.state), toy.everything(straight, expected.state)
    )
    assert more == rows[2:]
    for one, other in zip(
        *(straight.devices.each(x) for x in (expected.state.learner, found.state.learner)), strict=True
    ):
        chex.assert_trees_all_equal(one, other)
    chex.assert_trees_all_equal(seen.learner, straight.devices.first(expected.state.learner))
    meta = checkpoint.read_meta(tmp_path / "straight" / "checkpoints" / "4")
    assert meta.devices == 2
    once = toy.setup(toy.config())
    fresh = once.learner.init(jax.random.key(0), once.learner_spec, once.cfg.algo.config)
    assert meta.arrays["learner"] == checkpoint.describe(fresh)
    with pytest.raises(ConfigError, match=r"\b2 device.*\b1\b.*--training\.devices 2"):
        run_state.create_or_restore(once, tmp_path / "parts" / "checkpoints" / "4")
    warm = toy.setup(toy.config(num_learning_iterations=1))
    _, state = run_state.create_or_restore(warm, warm=tmp_path / "parts" / "checkpoints" / "4")
    chex.assert_trees_all_equal(warm.learner.learned(state.learner), warm.learner.learned(seen.learner))


def test_a_diverged_environment_of_one_device_is_reported_and_reset(tmp_path, messages):
    parts = toy.setup(toy.config(devices=2, num_learning_iterations=1), poison_at=4)
    rows = Rows()
    go(parts, tmp_path, sinks=[rows])
    assert any(
        "1 environment(s) became non-finite" in line and "environments 0;" in line for line in messages
    )
    assert rows[0][1]["Env/nonfinite"] == pytest.approx(1 / 16)
