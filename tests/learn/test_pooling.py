"""Sums and means over devices: many leaves in one message, each with its own sum."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.learn import pooling

TREE = {
    "kernel": np.arange(12.0, dtype=np.float32).reshape(2, 3, 2),
    "scalar": np.array([1.0, 3.0], np.float32),
    "count": np.array([[2], [5]], np.int32),
    "empty": np.zeros((2, 0), np.float32),
}
"""of two devices"""


@pytest.mark.parametrize(("pool", "expected"), [(pooling.psum, np.sum), (pooling.pmean, np.mean)])
def test_leaves_of_all_shapes_and_types(pool, expected):
    got = jax.vmap(lambda tree: pool(tree, "devices"), axis_name="devices")(TREE)
    for name, value in TREE.items():
        for device in range(2):
            np.testing.assert_array_equal(got[name][device], expected(value, axis=0))
    assert got["count"].dtype == (np.int32 if pool is pooling.psum else np.float32)


def test_one_message_for_each_dtype():
    one = jax.tree.map(lambda x: x[0], TREE)
    traced = jax.make_jaxpr(lambda tree: pooling.psum(tree, "devices"), axis_env=[("devices", 2)])(one)
    assert sum("psum" in eqn.primitive.name for eqn in traced.eqns) == 2


def test_without_other_devices_nothing_happens():
    assert pooling.psum(TREE, None) is TREE and pooling.pmean(TREE, None) is TREE


def test_rows_of_unequal_devices_weigh_as_they_count():
    x, weight = jnp.array([[1.0, 2.0], [6.0, 7.0]]), jnp.array([[1.0, 1.0], [1.0, 0.0]])
    means = jnp.array([1.5, 6.0])
    got = jax.vmap(lambda mean, weight: pooling.pmean_weighted(mean, weight, "devices"), axis_name="devices")(
        means, weight
    )
    np.testing.assert_allclose(got, jnp.sum(x * weight) / 3.0, rtol=1e-6)
