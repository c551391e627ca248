"""Running statistics are those of all rows seen."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np

from holosoma_jax.learn import normalizer, ppo
from holosoma_jax.learn.symmetry import reflect
from tests.support import small


def _batches() -> list[jax.Array]:
    rng = np.random.default_rng(0)
    # a mean far from 0 and a mean that moves: where sums of squares would cancel
    return [jnp.asarray(rng.normal(1000 + i, 2, (n, 3)).astype(np.float32)) for i, n in enumerate((7, 1, 50))]


def test_equals_the_statistics_of_all_rows() -> None:
    stats = normalizer.init(3)
    for x in _batches():
        stats = normalizer.update(stats, x)
    rows = np.concatenate([np.asarray(x, np.float64) for x in _batches()])
    np.testing.assert_allclose(stats.mean, rows.mean(0), rtol=1e-6)
    np.testing.assert_allclose(stats.var, rows.var(0), rtol=1e-4)
    assert int(stats.count) == 58
    expected = (rows - rows.mean(0)) / (rows.std(0) + 0.01)
    np.testing.assert_allclose(normalizer.normalize(stats, jnp.asarray(rows)), expected, atol=1e-3)


def test_nothing_seen_changes_nothing() -> None:
    stats = normalizer.init(3)
    x = jnp.array([[1.0, -2.0, 3.0]])
    np.testing.assert_allclose(normalizer.normalize(stats, x), x / 1.01, rtol=1e-6)
    chex.assert_trees_all_equal(normalizer.update(stats, x, valid=jnp.zeros(1, bool)), stats)


def test_invalid_rows_are_left_out() -> None:
    x = _batches()[2]
    worse = jnp.concatenate([x, jnp.full((4, 3), jnp.nan)])
    found = normalizer.update(normalizer.init(3), worse, valid=jnp.arange(54) < 50)
    chex.assert_trees_all_close(found, normalizer.update(normalizer.init(3), x), rtol=1e-6)


def test_devices_are_pooled() -> None:
    x = jnp.asarray(np.random.default_rng(2).normal(5, 2, (4, 10, 3)).astype(np.float32))
    before = normalizer.update(normalizer.init(3), _batches()[0])
    pooled = jax.vmap(lambda x: normalizer.update(before, x, axis_name="d"), axis_name="d")(x)
    alone = normalizer.update(before, x.reshape(40, 3))
    for device in range(4):
        chex.assert_trees_all_close(jax.tree.map(lambda s: s[device], pooled), alone, rtol=1e-5)  # noqa: B023


def test_count_stops_before_it_overflows() -> None:
    x = _batches()[0]
    full = normalizer.update(normalizer.init(3), x).replace(count=jnp.int32(normalizer.COUNT_LIMIT - 3))
    after = normalizer.update(full, x + 1.0)
    assert int(after.count) == normalizer.COUNT_LIMIT
    assert int(normalizer.update(after, x).count) == normalizer.COUNT_LIMIT
    assert jnp.all(jnp.isfinite(after.var)) and jnp.all(after.var > 0)


def test_with_symmetry_the_statistics_are_symmetric() -> None:
    state = small.learner(use_symmetry=True, empirical_normalization=True)
    obs = {
        "actor_obs": 3.0 + jax.random.normal(jax.random.key(0), (32, 3)),
        "critic_obs": 3.0 + jax.random.normal(jax.random.key(1), (32, 4)),
    }
    stats = ppo.observe(state, obs).actor_stats
    mirror = small.MIRROR.obs["actor_obs"]
    np.testing.assert_allclose(reflect(stats.mean, mirror), stats.mean, atol=1e-5)
    np.testing.assert_allclose(abs(reflect(stats.var, mirror)), stats.var, rtol=1e-5)


def test_observe_does_nothing_unless_asked() -> None:
    state = small.learner()
    assert ppo.observe(state, {}) is state
