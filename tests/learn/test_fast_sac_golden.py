"""FastSAC's functions give holosoma's recorded numbers.

Where holosoma has a behaviour that the defaults correct, its coefficient is set here.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax import robots
from holosoma_jax.config.schema import FastSacConfig, OptimizerConfig
from holosoma_jax.learn import fast_sac, replay
from holosoma_jax.learn.fast_sac import categorical, networks, squashed
from holosoma_jax.learn.fast_sac import optimize as updates
from holosoma_jax.learn.fast_sac.loss import Rows
from tests.support import golden

A101 = categorical.Support(-20.0, 20.0, 101)


def linear(data: dict[str, np.ndarray], name: str) -> dict[str, jax.Array]:
    return {"kernel": jnp.asarray(data[f"{name}.weight"].T), "bias": jnp.asarray(data[f"{name}.bias"])}


def trunk(data: dict[str, np.ndarray], stem: str) -> dict[str, Any]:
    layers = {f"Dense_{i}": linear(data, f"{stem}net.{3 * i}") for i in range(3)}
    for i in range(3):
        norm = f"{stem}net.{3 * i + 1}"
        layers[f"LayerNorm_{i}"] = {
            "scale": jnp.asarray(data[f"{norm}.weight"]),
            "bias": jnp.asarray(data[f"{norm}.bias"]),
        }
    return layers


def actor(data: dict[str, np.ndarray], stem: str) -> dict[str, Any]:
    mean, log_std = linear(data, f"{stem}fc_mu.0"), linear(data, f"{stem}fc_logstd")
    return {"trunk": trunk(data, stem), "mean_head": mean, "log_std_head": log_std}


def critics(data: dict[str, np.ndarray], stem: str) -> tuple[dict[str, Any], ...]:
    names = (f"{stem}qnets.{i}." for i in range(2))
    return tuple({"trunk": trunk(data, name), "head": linear(data, f"{name}net.9")} for name in names)


def test_actor() -> None:
    data = golden.load("sac_actor")
    obs, scale = jnp.asarray(data["obs"]), data["w/action_scale"]
    params = actor(data, "w/")
    net = networks.Actor(4 * len(params["mean_head"]["kernel"]), len(scale), (-5.0, 0.0))
    mean, log_std = networks.actor(net, params, obs)
    np.testing.assert_allclose(mean, data["mean"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(log_std, data["log_std"], rtol=1e-5, atol=1e-6)
    action, log_prob = squashed.sample(mean, log_std, jnp.asarray(data["noise"]), scale)
    np.testing.assert_allclose(action, data["sampled_action"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(log_prob, data["log_prob"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(squashed.mode(mean, scale), data["deterministic_action"], rtol=1e-5, atol=1e-6)


def test_saturated_actions() -> None:
    data = golden.load("sac_tanh_table")
    names = ("mean", "log_std", "noise")
    action, log_prob = squashed.sample(*(jnp.asarray(data[name]) for name in names), data["action_scale"])
    np.testing.assert_allclose(action, data["action"], rtol=1e-5, atol=1e-6)
    # in double precision
    mean, log_std, noise, scale = (data[name].astype(np.float64) for name in (*names, "action_scale"))
    slope = 1.0 - np.tanh(mean + np.exp(log_std) * noise) ** 2
    gaussian = -0.5 * noise**2 - log_std - 0.5 * np.log(2 * np.pi)
    exact = np.sum(gaussian - np.log(slope + 1e-6) - np.log(scale + 1e-6), axis=-1)
    np.testing.assert_allclose(log_prob, exact, rtol=1e-5, atol=1e-4)
    # What is recorded was computed from a float32 tanh, which is off by up to one step of 2^-24 near 1.
    slack = 1e-4 + np.sum(4 * 2.0**-24 / (slope + 1e-6), axis=-1)
    assert np.all(np.abs(log_prob - data["log_prob"]) <= 1e-5 * np.abs(exact) + slack)


def test_projection() -> None:
    data = {name: jnp.asarray(x) for name, x in golden.load("sac_projection_a101").items()}
    positions = categorical.atom_positions(data["rewards"], data["bootstrap"] * data["discount"], A101)
    ours = categorical.project_distribution(jax.nn.softmax(data["logits"]), positions)
    np.testing.assert_allclose(A101.values, data["support"], atol=2e-6)
    # positions are float32 numbers up to 100: 2e-4 is what the recorded ones are worth
    np.testing.assert_allclose(ours, data["projected"], atol=2e-4)
    np.testing.assert_allclose(jnp.sum(ours, axis=-1), 1.0, atol=1e-5)
    np.testing.assert_allclose(categorical.expectation(ours, A101), data["value"], rtol=1e-5, atol=1e-5)


def test_two_updates() -> None:
    data = golden.load("sac_update")
    decayed = OptimizerConfig(weight_decay=1e-3, b1=0.9, b2=0.95)
    cfg = FastSacConfig(
        num_atoms=21,
        v_min=-10.0,
        v_max=10.0,
        num_updates=1,
        actor_hidden_dim=32,
        critic_hidden_dim=32,
        actor_optimizer=decayed,
        critic_optimizer=decayed,
        alpha_optimizer=OptimizerConfig(weight_decay=0.01, b1=0.9, b2=0.95),  # F-4
        target_entropy_ratio=0.5,
        use_symmetry=False,
        bf16=False,
    )
    scale = tuple(map(float, data["before/actor/action_scale"]))
    state = fast_sac.init(jax.random.key(0), fast_sac.FastSacSpec(7, 9, 4, scale), cfg)
    hyper = state.hyper
    learner = updates.Learner(
        actor=state.actor.replace(params=actor(data, "before/actor/")),
        critics=state.critics.replace(params=critics(data, "before/q/")),
        log_alpha=state.log_alpha.replace(params=jnp.asarray(data["before/log_alpha"][0])),
        target=critics(data, "before/qt/"),
        actor_metrics=state.actor_metrics,
    )

    @jax.jit
    def update(
        learner: updates.Learner, rows: Rows, noise: dict[str, jax.Array]
    ) -> tuple[updates.Learner, updates.Metrics]:
        learner, metrics = updates.critic_step(learner, rows, noise["next"], hyper, state.static)
        learner = updates.actor_step(learner, rows, noise["policy"], state.static)
        return updates.polyak_update(learner, hyper), metrics

    for u in ("0", "1"):
        batch = {k.rpartition("/")[2]: jnp.asarray(v) for k, v in data.items() if k.startswith(f"u{u}/batch")}
        done, truncated = batch["dones"] > 0, batch["truncations"] > 0
        gamma = 0.97 ** batch["effective_n_steps"].astype(jnp.float32)
        rows = Rows(
            actor_obs=batch["observations"],
            critic_obs=batch["critic_observations"],
            action=batch["actions"],
            reward=batch["rewards"],
            discount=jnp.where(truncated | ~done, gamma, 0.0),
            next_actor_obs=batch["next_observations"],
            next_critic_obs=batch["next_critic_observations"],
            weight=jnp.ones(24),
        )
        noise = {name: jnp.asarray(data[f"u{u}/noise_{name}"]) for name in ("next", "policy")}
        learner, metrics = update(learner, rows, noise)
        last = learner.actor_metrics
        ours = {
            "qf_loss": metrics["Loss/qf_loss"],
            "target_value_max": metrics["Loss/qf_max"],
            "target_value_min": metrics["Loss/qf_min"],
            "alpha_loss": metrics["Loss/alpha_loss"],
            "mean_reward": metrics["Loss/buffer_rewards"],
            "actor_loss": last.loss,
            "policy_entropy": last.entropy,
            "action_std": last.std,
        }
        for name, value in ours.items():
            np.testing.assert_allclose(value, data[f"u{u}/{name}"], rtol=1e-5, atol=1e-6, err_msg=name)
        after = {
            "actor": (learner.actor.params, actor(data, f"after{u}/actor/")),
            "critics": (learner.critics.params, critics(data, f"after{u}/q/")),
            "target": (learner.target, critics(data, f"after{u}/qt/")),
            "log_alpha": (learner.log_alpha.params, jnp.asarray(data[f"after{u}/log_alpha"][0])),
        }
        for name, (found, wanted) in after.items():
            for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6, err_msg=f"{name} after update {u}")


@pytest.mark.parametrize("case", ["n1_partial", "n1_full", "n3_partial", "n3_full", "n5_full", "n8_partial"])
def test_replay(case: str) -> None:
    data = {k.partition("/")[2]: v for k, v in golden.load("replay_buffer").items() if k.startswith(case)}
    n, capacity = int(case[1]), data["slot_rewards"].shape[1]
    cfg = FastSacConfig(buffer_size=capacity, num_steps=n, gamma=0.97)
    ring = replay.init(cfg, fast_sac.FastSacSpec(1, 1, 1, (1.0,)), num_envs=4)
    added, ended, timed_out = (data[f"{k}_added"] for k in ("rewards", "dones", "truncations"))
    for t in range(len(added)):
        column = jnp.full((4, 1), float(t))
        ring = replay.write(
            ring,
            replay.Transition(
                actor_obs=column,
                critic_obs=column + 100.0,
                action=column + 0.5,
                reward=jnp.asarray(added[t]),
                terminated=jnp.asarray(ended[t] & ~timed_out[t]),
                truncated=jnp.asarray(timed_out[t]),
                next_actor_obs=column + 1000.0,
                next_critic_obs=column + 2000.0,
                valid=jnp.ones(4, bool),
            ),
        )
    # by its first observation, a start says which control step it is
    steps = jnp.asarray(data["obs"].astype(np.int32))
    envs = jnp.broadcast_to(jnp.arange(4)[:, None], steps.shape)
    ours = replay.gather(ring, steps, envs, cfg)
    same = np.ones(steps.shape, bool)
    if n > 1:
        # Elsewhere holosoma adds rewards of what lies behind a truncation that is not also done,
        # or behind the newest step, whose truncation it forgets (F-12).
        flags = ended, timed_out
        same = np.array([[is_plain(t, e, n, *flags) for t in row] for e, row in enumerate(np.asarray(steps))])
        assert same.mean() > (0.4 if n < 5 else 0.1)
    for name, wanted in {
        "actor_obs": data["obs"],
        "critic_obs": data["critic_obs"],
        "action": data["action"],
        "reward": data["reward"],
        "next_actor_obs": data["next_obs"],
        "next_critic_obs": data["next_critic_obs"],
    }.items():
        found = np.asarray(getattr(ours, name)).reshape(steps.shape)
        bootstrapped = (data["bootstrap"] > 0) if name.startswith("next") else True
        keep = same & bootstrapped
        np.testing.assert_allclose(found[keep], wanted[keep], rtol=1e-6, err_msg=name)
    wanted = data["bootstrap"] * 0.97 ** data["effective_n_steps"]
    np.testing.assert_allclose(np.asarray(ours.discount)[same], wanted[same], rtol=1e-6)


def is_plain(step: int, env: int, n: int, ended: np.ndarray, timed_out: np.ndarray) -> bool:
    """Whether the window of n steps is cut by nothing but the end of an episode."""
    for t in range(step, step + n):
        if t == len(ended) - 1:
            return False
        if ended[t, env]:
            return True
        if timed_out[t, env]:
            return False
    return True


@pytest.mark.parametrize("name", ["g1", "t1"])
def test_the_actions_reach_the_furthest_limit(name: str) -> None:
    data = golden.load("sac_action_bounds")
    robot = robots.load(name)
    np.testing.assert_allclose(robot.joint_lower, data[f"{name}_lower"], atol=3e-6)
    np.testing.assert_allclose(robot.joint_upper, data[f"{name}_upper"], atol=3e-6)
    np.testing.assert_allclose(robot.action_reach, data[f"{name}_bounds"], rtol=1e-5)
    assert robot.action_reach.dtype == np.float32
