"""MuJoCo Warp where it is meant to run: `JAX_PLATFORMS=cuda python -m pytest -m gpu`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bridges.conformance import CHECKS, NUM_ENVS, Subject
from bridges.protocol import Ground, SimState
from holosoma_jax.config.schema import SimulatorConfig
from tests.support.biped import BIPED, config, everyone, only, pose, random_pose

pytest.importorskip("mujoco_warp")
from bridges.mjwarp import MjwarpBridge

pytestmark = pytest.mark.gpu

NUM, STEPS = 64, 6
TARGETS = np.full((NUM, BIPED.num_joints), 0.1, np.float32)


def settings(mode: str) -> SimulatorConfig:
    """The biped's config with this kind of CUDA graph."""
    base = config()
    return replace(
        base,
        config=replace(base.config, mujoco_warp=replace(base.config.mujoco_warp, cuda_graph=mode)),
    )


def fall(bridge: MjwarpBridge, stretches: int) -> SimState:
    """From any attitude onto the ground, in one program that is called again and again; some start anew."""

    @jax.jit
    def stretch(physics, mask, again):
        def step(physics, _):
            return bridge.step(physics, jnp.asarray(TARGETS))

        physics, states = jax.lax.scan(step, physics, None, length=STEPS)
        physics, _ = bridge.reset(physics, mask, again)
        return physics, jax.tree.map(lambda x: x[-1], states)

    physics, _ = bridge.reset(bridge.init(), everyone(NUM), random_pose(NUM, height=0.6))
    again = jax.tree.map(jnp.asarray, pose(NUM, root_pos=[0, 0, 5.0]))
    sim = None
    for k in range(stretches):
        physics, sim = stretch(physics, jnp.asarray(only(NUM, k)), again)
    assert sim is not None
    bridge.check(physics)
    return jax.tree.map(np.asarray, sim)


@pytest.fixture(scope="module")
def subject() -> Iterator[Subject]:
    bridge = MjwarpBridge(config(), BIPED, Ground(), NUM_ENVS)
    yield Subject(bridge, BIPED)
    bridge.close()


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_it_conforms(subject, check):
    assert [str(result) for result in check(subject) if not result.passed] == []


@pytest.mark.parametrize("mode", ["staged", "staged_ex", "addresses"])
def test_graphs_do_what_kernels_one_by_one_do(mode):
    """In most environments: equal runs are not equal bit for bit on a GPU, and contacts magnify that in some."""
    graph, plain = (fall(MjwarpBridge(settings(m), BIPED, Ground(), NUM), 2) for m in (mode, "off"))
    for name, x, y in zip(SimState._fields, graph, plain, strict=True):
        if x is None:  # of an object
            continue
        apart = np.abs(x - y).reshape(NUM, -1).max(axis=1)
        assert np.percentile(apart, 75) < (1.0 if name == "contact_force" else 0.01), name
