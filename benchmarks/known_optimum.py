"""PPO and FastSAC on a control task whose optimum is known: a discounted linear-quadratic regulator.

A cart on a line, x' = A x + B u + noise, pays x'Qx + u'Ru at every step; the best policy is u = -K x
with K from the Riccati equation of the discounted problem. Both learners see x only, learn from episodes
of 50 steps that a clock cuts (so they must bootstrap), and are measured by what their deterministic policy
pays over 200 steps from states that they did not choose, against what -K x pays from the same states with
the same noise. Five seeds learn side by side, in one program for each learner.

    python -m benchmarks.known_optimum --out known_optimum.json --plot docs/images/known_optimum.png
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import describe, report
from holosoma_jax.config.schema import FastSacConfig, OptimizerConfig, PpoConfig
from holosoma_jax.learn import fast_sac, ppo, replay
from holosoma_jax.learn.compiling import quick_bf16

A = np.array([[1.0, 0.1], [0.0, 1.0]], np.float32)
"""position and speed; 0.1 s a step"""
B = np.array([[0.0], [0.1]], np.float32)
"""the action is an acceleration"""
Q = np.diag([0.5, 0.05]).astype(np.float32)
R = np.array([[0.02]], np.float32)
NOISE, GAMMA, REACH, LENGTH, SEEDS = 0.02, 0.95, 8.0, 50, 5


def best_gain() -> np.ndarray:
    """K [1, 2] of u = -K x, from the fixed point of the Riccati equation discounted by gamma."""
    p = np.array(Q, np.float64)
    a, b = np.sqrt(GAMMA) * A.astype(np.float64), np.sqrt(GAMMA) * B.astype(np.float64)
    for _ in range(2000):
        k = np.linalg.solve(R + b.T @ p @ b, b.T @ p @ a)
        p = Q + a.T @ p @ (a - b @ k)
    return k


class World(NamedTuple):
    """All carts."""

    x: jax.Array
    """[N, 2]"""
    clock: jax.Array
    """[N] int32, steps since the episode began"""

    def observe(self) -> dict[str, jax.Array]:
        """What actor and critic see: everything but the clock."""
        return {"actor_obs": self.x, "critic_obs": self.x}


def start(key: jax.Array, num_envs: int) -> jax.Array:
    """States [N, 2] to start from."""
    return jax.random.uniform(key, (num_envs, 2), minval=-1.0, maxval=1.0)


def move(x: jax.Array, u: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The next states [N, 2], and what this step costs [N]."""
    cost = jnp.einsum("ni,ij,nj->n", x, Q, x) + jnp.einsum("ni,ij,nj->n", u, R, u)
    return x @ A.T + u @ B.T + NOISE * jax.random.normal(key, x.shape), cost


def advance(world: World, u: jax.Array, key: jax.Array) -> tuple[World, jax.Array, jax.Array, jax.Array]:
    """The next world, costs [N], time-outs [N] and the states [N, 2] before any reset."""
    move_key, start_key = jax.random.split(key)
    x, cost = move(world.x, jnp.clip(u, -REACH, REACH), move_key)
    over = world.clock + 1 >= LENGTH
    fresh = jnp.where(over[:, None], start(start_key, len(x)), x)
    return World(fresh, jnp.where(over, 0, world.clock + 1)), cost, over, x


def world_of(key: jax.Array, num_envs: int) -> World:
    """Carts whose clocks differ."""
    return World(start(key, num_envs), jnp.arange(num_envs) % LENGTH)


def price(policy: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """Mean discounted cost of a policy over 200 steps, from 256 states."""

    def step(carry: tuple[jax.Array, jax.Array], key: jax.Array) -> tuple[Any, jax.Array]:
        x, weight = carry
        x, cost = move(x, jnp.clip(policy(x), -REACH, REACH), key)
        return (x, GAMMA * weight), weight * jnp.mean(cost)

    keys = jax.random.split(jax.random.key(99), 201)
    carry = start(keys[0], 256), jnp.ones(())
    return jnp.sum(jax.lax.scan(step, carry, keys[1:])[1])


class Run(NamedTuple):
    """A learner's way to its policy: functions of one seed."""

    begin: Callable[[jax.Array], Any]
    more: Callable[[Any, jax.Array], Any]
    """a stretch of training, between two measurements"""
    policy: Callable[[Any], Callable[[jax.Array], jax.Array]]
    steps: int
    """control steps of one environment in a stretch"""
    envs: int
    stretches: int


def sac_run(bf16: bool | None = None) -> Run:
    """FastSAC: 32 carts, two updates of 128 rows a control step; `bf16` as in `FastSacConfig`."""
    adam = OptimizerConfig(b2=0.95)
    cfg = FastSacConfig(
        actor_hidden_dim=64, critic_hidden_dim=64, num_atoms=51, v_min=-8.0, v_max=2.0, gamma=GAMMA, tau=0.05,
        num_updates=2, policy_frequency=2, batch_size=128, buffer_size=1000, use_symmetry=False,
        actor_learning_rate=1e-3, critic_learning_rate=1e-3, alpha_learning_rate=1e-3,
        actor_optimizer=adam, critic_optimizer=adam, target_entropy_ratio=0.5, bf16=bf16,
    )  # fmt: skip
    spec, envs, steps = fast_sac.FastSacSpec(2, 2, 1, (REACH,)), 32, 150

    def begin(key: jax.Array) -> Any:
        learner = fast_sac.init(key, spec, cfg)
        return learner, replay.init(cfg, spec, envs), world_of(jax.random.fold_in(key, 1), envs)

    def step(carry: Any, key: jax.Array) -> tuple[Any, None]:
        learner, buffer, world = carry
        keys = jax.random.split(key, 4)
        obs = world.observe()
        action, _ = fast_sac.act(learner, obs, keys[0])
        world, cost, over, reached = advance(world, action, keys[1])
        row = replay.Transition(
            **obs, action=action, reward=-cost, terminated=jnp.zeros_like(over), truncated=over,
            next_actor_obs=reached, next_critic_obs=reached, valid=jnp.ones_like(over),
        )  # fmt: skip
        buffer = replay.write(buffer, row)
        learner, _ = fast_sac.update(learner, replay.sample(buffer, keys[2], cfg), keys[3])
        return (learner, buffer, world), None

    def more(carry: Any, key: jax.Array) -> Any:
        return jax.lax.scan(step, carry, jax.random.split(key, steps))[0]

    return Run(begin, more, lambda carry: fast_sac.policy_fn(carry[0]), steps, envs, stretches=20)


def ppo_run() -> Run:
    """PPO: 256 carts, rollouts of 32 steps, eight epochs of four mini-batches."""
    horizon, envs, rollouts = 32, 256, 5
    cfg = PpoConfig(
        actor_hidden=(32, 32), critic_hidden=(32, 32), gamma=GAMMA, num_learning_epochs=8, use_symmetry=False,
        actor_learning_rate=1e-3, critic_learning_rate=3e-3, min_critic_learning_rate=1e-3,
        entropy_coef=0.0, activation="tanh", num_mini_batches=4, clip_value_loss=False, lam=0.9, desired_kl=0.004,
    )  # fmt: skip
    spec = ppo.PpoSpec(2, 2, 1)

    def begin(key: jax.Array) -> Any:
        return ppo.init(key, spec, cfg), world_of(jax.random.fold_in(key, 1), envs)

    def step(learner: ppo.PpoState, world: World, key: jax.Array) -> tuple[World, Any]:
        act_key, move_key = jax.random.split(key)
        action, extras = ppo.act(learner, world.observe(), act_key)
        world, cost, over, reached = advance(world, action, move_key)
        final = jnp.where(over, ppo.value(learner, reached), 0.0)
        columns = {
            **extras._asdict(), "action": action, "reward": -cost, "terminated": jnp.zeros_like(over),
            "truncated": over, "final_value": final, "valid": jnp.ones_like(over),
        }  # fmt: skip
        return world, columns

    def iterate(carry: Any, key: jax.Array) -> tuple[Any, None]:
        learner, world = carry
        update_key, *keys = jax.random.split(key, horizon + 1)
        world, columns = jax.lax.scan(partial(step, learner), world, jnp.stack(keys))
        batch = ppo.PpoBatch(**columns, last_value=ppo.value(learner, world.x))
        return (ppo.update(learner, batch, update_key)[0], world), None

    def more(carry: Any, key: jax.Array) -> Any:
        return jax.lax.scan(iterate, carry, jax.random.split(key, rollouts))[0]

    return Run(begin, more, lambda carry: ppo.policy_fn(carry[0]), horizon * rollouts, envs, stretches=15)


RUNS = {"FastSAC": sac_run, "PPO": ppo_run}


def excess(run: Run, seeds: int = SEEDS) -> np.ndarray:
    """Cost over that of -K x, minus one: [stretches + 1, seeds]; the first row is before any training."""
    gain = jnp.asarray(best_gain(), jnp.float32)
    optimum = jax.jit(lambda: price(lambda x: -x @ gain.T))()
    measure = jax.vmap(lambda carry: price(run.policy(carry)) / optimum - 1.0)

    def stretch(carry: Any, keys: jax.Array) -> tuple[Any, jax.Array]:
        carry = jax.vmap(run.more)(carry, keys)
        return carry, measure(carry)

    def whole(keys: jax.Array) -> jax.Array:
        carry = jax.vmap(run.begin)(keys)
        first = measure(carry)
        later = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, 2), run.stretches))(keys)
        _, rest = jax.lax.scan(stretch, carry, jnp.swapaxes(later, 0, 1))
        return jnp.concatenate([first[None], rest])

    return np.asarray(jax.jit(whole)(jax.random.split(jax.random.key(0), seeds)))


def plot(curves: dict[str, tuple[np.ndarray, np.ndarray]], path: str) -> None:
    """Cost above the optimum in percent, against control steps of all environments; one line a seed."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for (name, (samples, values)), colour in zip(curves.items(), ("#1b6ca8", "#d1495b"), strict=True):
        percent = 100 * np.maximum(values, 1e-4)
        axes.plot(samples / 1000, percent, color=colour, alpha=0.35, linewidth=1)
        axes.plot(samples / 1000, np.median(percent, axis=1), color=colour, linewidth=2, label=name)
    axes.axhline(5, color="black", linestyle="--", linewidth=1, label="5 %")
    axes.set(xlabel="samples, thousands", ylabel="cost above the optimum, %", yscale="log")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", help="also write the figures to this JSON file")
    parser.add_argument("--plot", help="write the curves to this image (needs matplotlib)")
    precisions = ("float32", "bfloat16")
    parser.add_argument(
        "--precision", choices=precisions, help="of FastSAC's products; default: the quicker one here"
    )
    args = parser.parse_args()
    bf16 = quick_bf16() if args.precision is None else args.precision == "bfloat16"
    curves, result = (
        {},
        {"benchmark": "known_optimum", "gain": best_gain().tolist(), "FastSAC in bfloat16": bf16},
    )
    for name, run in {"FastSAC": sac_run(bf16), "PPO": ppo_run()}.items():
        began = time.perf_counter()
        values = excess(run)
        samples = np.arange(len(values)) * run.steps * run.envs
        curves[name] = samples, values
        result[name] = {
            "seconds": time.perf_counter() - began,
            "samples": samples.tolist(),
            "cost_above_optimum": values.tolist(),
            "at_the_end": values[-1].tolist(),
        }
    report(result | describe(), args.out)
    if args.plot:
        plot(curves, args.plot)


if __name__ == "__main__":
    main()
