"""The PPO update against rsl_rl's, at the same sizes and settings, in one process and in turns.

One measurement is what follows a rollout: returns, advantages, and all epochs of optimiser steps. Both
have the same networks, mini-batches, losses, KL rule, norm clip and AdamW, and no symmetry; rsl_rl runs
eagerly, as its users run it. Beside them the matrix products of that update alone, by XLA and by torch: no update with
float32 products can be quicker. Compilation is reported apart. On a machine that does other things too, use
`--threads 1` and read the processor seconds: threads that wait for each other inflate everything else.

The peer is not a dependency of this project; beside it, install::

    pip install rsl-rl-lib==5.5.1 torch==2.13.0

    python -m benchmarks.ppo_update --num-envs 1024 --out ppo_update.json
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import Clock, describe, interleave, limit_cores, report, times_as_quick
from benchmarks.ppo_products import Sizes, flops, products, products_of_torch
from holosoma_jax.config.schema import OptimizerConfig, PpoConfig
from holosoma_jax.learn import ppo
from holosoma_jax.learn.ppo.record import LEARNER

PEER = ("rsl-rl-lib", "torch", "tensordict")


def ours(sizes: Sizes, clock: Clock) -> tuple[Callable[[], float], float]:
    """(one measurement in seconds, seconds of compilation)."""
    adamw = OptimizerConfig(weight_decay=0.01)
    cfg = PpoConfig(
        num_learning_epochs=sizes.epochs,
        num_mini_batches=sizes.mini_batches,
        actor_hidden=sizes.hidden,
        critic_hidden=sizes.hidden,
        actor_learning_rate=1e-3,
        critic_learning_rate=1e-3,
        actor_optimizer=adamw,
        critic_optimizer=adamw,
        use_symmetry=False,
    )
    state = ppo.init(jax.random.key(0), ppo.PpoSpec(sizes.actor_obs, sizes.critic_obs, sizes.actions), cfg)
    batch = _rollout(state, sizes)
    began = time.perf_counter()
    update = (
        jax.jit(ppo.update, compiler_options=LEARNER.compiler_options())
        .lower(state, batch, jax.random.key(0))
        .compile()
    )
    compilation = time.perf_counter() - began

    def measure() -> float:
        with clock:
            jax.block_until_ready(update(state, batch, jax.random.key(0)))
        return clock.wall

    measure()
    clock.cpu.clear()
    return measure, compilation


def _rollout(state: ppo.PpoState, sizes: Sizes) -> ppo.PpoBatch:
    """Random observations, with what the policy made of them."""
    rng = np.random.default_rng(0)
    shape = (sizes.horizon, sizes.num_envs)

    def normal(*dims: int) -> jax.Array:
        return jnp.asarray(rng.standard_normal(dims, np.float32))

    obs = {"actor_obs": normal(*shape, sizes.actor_obs), "critic_obs": normal(*shape, sizes.critic_obs)}
    action, extras = jax.vmap(ppo.act, (None, 0, 0))(
        state, obs, jax.random.split(jax.random.key(1), shape[0])
    )
    truncated = jnp.asarray(rng.random(shape) < 0.01)
    return ppo.PpoBatch(
        **extras._asdict(),
        action=action,
        reward=normal(*shape),
        terminated=jnp.asarray(rng.random(shape) < 0.01),
        truncated=truncated,
        final_value=jnp.where(truncated, extras.value, 0.0),
        valid=jnp.ones(shape, bool),
        last_value=extras.value[-1],
    )


def theirs(sizes: Sizes, clock: Clock) -> Callable[[], float]:
    """One measurement of rsl_rl, in seconds."""
    try:
        import torch
        from rsl_rl.algorithms import PPO
        from rsl_rl.models import MLPModel
        from rsl_rl.storage import RolloutStorage
        from tensordict import TensorDict
    except ImportError as missing:
        raise SystemExit(
            f"{missing}. Install the peer: pip install rsl-rl-lib==5.5.1 torch==2.13.0"
        ) from None

    torch.manual_seed(0)
    torch.set_num_threads(sizes.threads)
    n = sizes.num_envs

    def observe() -> TensorDict:
        groups = {"actor": torch.randn(n, sizes.actor_obs), "critic": torch.randn(n, sizes.critic_obs)}
        return TensorDict(groups, batch_size=[n])

    obs, groups = observe(), {"actor": ["actor"], "critic": ["critic"]}
    gaussian = {"class_name": "GaussianDistribution", "init_std": 0.8}
    network = {"hidden_dims": sizes.hidden, "activation": "elu"}
    actor = MLPModel(obs, groups, "actor", sizes.actions, **network, distribution_cfg=gaussian)
    critic = MLPModel(obs, groups, "critic", 1, **network)
    storage = RolloutStorage("rl", n, sizes.horizon, obs, [sizes.actions], "cpu")
    learner = PPO(
        actor,
        critic,
        storage,
        num_learning_epochs=sizes.epochs,
        num_mini_batches=sizes.mini_batches,
        clip_param=0.2,
        gamma=0.99,
        lam=0.95,
        value_loss_coef=1.0,
        entropy_coef=0.01,
        learning_rate=1e-3,
        max_grad_norm=1.0,
        optimizer="adamw",
        schedule="adaptive",
        desired_kl=0.01,
    )

    def measure() -> float:
        with torch.inference_mode():
            for _ in range(sizes.horizon):
                learner.act(observe())
                timed_out = torch.rand(n) < 0.01
                ended = timed_out | (torch.rand(n) < 0.01)
                learner.process_env_step(observe(), torch.randn(n), ended, {"time_outs": timed_out})
            last = observe()
        with clock:
            with torch.inference_mode():
                learner.compute_returns(last)
            learner.update()
        return clock.wall

    measure()
    clock.cpu.clear()
    return measure


def _ratio(seconds: dict[str, list[float]]) -> float:
    """How many times longer rsl_rl takes: the median over rounds."""
    rounds = zip(seconds["ours"], seconds["rsl_rl"], strict=True)
    return statistics.median(peer / own for own, peer in rounds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-envs", type=int, default=1024)
    parser.add_argument("--hidden", type=int, nargs="+", default=[512, 256, 128])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="cores that both may use")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", help="also write the figures to this JSON file")
    args = parser.parse_args()
    sizes = Sizes(args.num_envs, hidden=tuple(args.hidden), threads=args.threads)
    limit_cores(args.threads)

    names = ("ours", "rsl_rl", "products, XLA", "products, torch")
    clocks = {name: Clock() for name in names}
    peer = theirs(sizes, clocks["rsl_rl"])
    own, compilation = ours(sizes, clocks["ours"])
    tasks = {"ours": own, "rsl_rl": peer}
    tasks["products, XLA"] = products(sizes, clocks["products, XLA"])
    tasks["products, torch"] = products_of_torch(sizes, clocks["products, torch"])
    wall = interleave(tasks, args.rounds)
    cpu = {name: clock.cpu for name, clock in clocks.items()}
    result = {
        "benchmark": "ppo_update",
        "sizes": asdict(sizes),
        "seconds": {name: {"median": statistics.median(t), "all": t} for name, t in wall.items()},
        "cpu_seconds": {name: {"median": statistics.median(t), "all": t} for name, t in cpu.items()},
        "times_faster_than_rsl_rl": {"wall": _ratio(wall), "cpu": _ratio(cpu)},
        "times_as_quick": {
            "rsl_rl, wall": times_as_quick(wall["ours"], wall["rsl_rl"]),
            "rsl_rl, processor": times_as_quick(cpu["ours"], cpu["rsl_rl"]),
        },
        "gflop_of_products": flops(sizes) / 1e9,
        "compile_seconds": compilation,
        "peer_versions": {name: importlib.metadata.version(name) for name in PEER},
        **describe(),
    }
    report(result, args.out)


if __name__ == "__main__":
    main()
