"""What differs for a policy of FastSAC: squashed actions, layer normalisation, a normaliser in the graph."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest

from holosoma_jax import eval as evaluation
from holosoma_jax import experiment, export, robots
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.learn.fast_sac import networks
from holosoma_jax.policy import deployment, onnx_policy, policies
from holosoma_jax.policy.onnx import parity_error, parity_observations
from tests.support.checkpoints import g1_fast_sac_run  # noqa: F401


@pytest.fixture(scope="module")
def exported(g1_fast_sac_run: Path) -> Path:  # noqa: F811
    assert export.main(["--checkpoint", str(g1_fast_sac_run)]) == 0
    return g1_fast_sac_run / "exported" / "7.onnx"


def test_the_deployment_program_takes_it(exported: Path):
    assert deployment.problems(exported) == []
    model = onnx.load(exported)
    assert model.opset_import[0].version == 13
    meta = {item.key: json.loads(item.value) for item in model.metadata_props}
    assert meta["experiment_config"]["algo"]["name"] == "fast_sac"
    assert meta["iteration"] == 7
    assert meta["action_scale"] == [0.25] * 29


def test_what_is_exported_is_the_mean_of_what_acts():
    net = networks.Actor(16, 3, (-5.0, 0.0))
    leaves, tree = jax.tree.flatten(networks.init(net, jax.random.key(0), 10))
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [x + 0.3 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    params, seen = jax.tree.unflatten(tree, noisy), jnp.asarray(parity_observations(10, 64))
    acting, _ = networks.actor(net, params, seen)
    np.testing.assert_allclose(networks.float32_mean(net, params, seen), acting, atol=2e-5)
    assert float(jnp.abs(acting).max()) > 0.5
    rounded, _ = networks.actor(net.clone(bf16=True), params, seen)
    assert float(jnp.abs(rounded - acting).max()) > 1e-3


def test_only_what_the_deterministic_policy_needs_is_in_the_file(exported: Path):
    sizes = [int(np.prod(x.dims)) for x in onnx.load(exported).graph.initializer]
    widths = (100, 32, 16, 8)
    hidden = sum(i * o + 3 * o for i, o in pairwise(widths))  # linear, layer norm
    needed = hidden + 8 * 29 + 29 + 2 * 100 + 29  # mean's head, normaliser, reach
    assert needed <= sum(sizes) < needed + 8 * 29  # constants, but no second head


def test_it_computes_what_the_checkpoint_does(exported: Path, g1_fast_sac_run: Path):  # noqa: F811
    source = policies.find(str(g1_fast_sac_run))
    parts = experiment.build(compose.load(["simulator:mujoco"], base=source.config))
    policy = source.policy(parts)
    parts.bridge.close()
    file, seen = onnx_policy.load(exported), parity_observations(100, 64)
    expected = np.asarray(policy.act(jnp.asarray(seen)))
    found = np.concatenate([file(row[None]) for row in seen])
    assert parity_error(expected, found) < 1e-5
    reach = robots.load("g1").action_reach
    assert (np.abs(found) <= reach * (1 + 1e-6)).all()
    assert (np.abs(found) > 0.5 * reach).any()


def test_another_model_of_the_robot_does_not_change_what_a_policy_does(g1_fast_sac_run: Path):  # noqa: F811
    """Its actions are bounded by the joint ranges that it was trained with, not by those of the model it is tried on;
    where those of a T1 were the manufacturer's, it fell at once."""
    source = policies.find(str(g1_fast_sac_run))
    parts = experiment.build(compose.load(["simulator:mujoco"], base=source.config))
    parts.bridge.close()
    wider = replace(parts.robot, joint_upper=parts.robot.joint_upper + np.float32(1.0))
    other = replace(
        parts, robot=wider, learner_spec=experiment.learner_spec(parts.cfg, parts.env, wider, parts.learner)
    )
    assert other.learner_spec != parts.learner_spec
    seen = jnp.asarray(parity_observations(100, 8))
    np.testing.assert_array_equal(source.policy(other).act(seen), source.policy(parts).act(seen))


def test_a_policy_is_not_given_joints_in_another_order(g1_fast_sac_run: Path):  # noqa: F811
    source = policies.find(str(g1_fast_sac_run))
    parts = experiment.build(compose.load(["simulator:mujoco"], base=source.config))
    parts.bridge.close()
    names = parts.robot.joint_names
    turned = replace(parts, robot=replace(parts.robot, joint_names=(names[1], names[0], *names[2:])))
    with pytest.raises(ConfigError, match=f"'{names[1]}' stands where '{names[0]}' was.*onnx"):
        source.policy(turned)


@pytest.mark.slow
def test_a_checkpoint_can_be_scored(
    g1_fast_sac_run: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    argv = ["--checkpoint", str(g1_fast_sac_run), "simulator:mujoco", "--training.num-envs", "2"]
    argv += ["--training.max-eval-steps", "10", "--output", str(tmp_path), "--training.export-onnx=False"]
    assert evaluation.main(argv) == 0
    record = json.loads((tmp_path / "7.json").read_text())
    assert record["steps"] == 10
    assert "(step 7)" in capsys.readouterr().out
