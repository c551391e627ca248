"""The matrix products of a PPO update and nothing else: the time below which no update with them can be.

Per mini-batch, of every layer of actor and critic: outputs, gradient by the kernel, gradient by the inputs. The first
layers lack the last: their inputs are observations. XLA also adds a number to each layer's inputs, so that it computes
every mini-batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import Clock


@dataclass(frozen=True)
class Sizes:
    """What both learners are given."""

    num_envs: int
    horizon: int = 24
    actor_obs: int = 100
    critic_obs: int = 103
    actions: int = 29
    hidden: tuple[int, ...] = (512, 256, 128)
    epochs: int = 5
    mini_batches: int = 4
    threads: int = 1


def products(sizes: Sizes, clock: Clock) -> Callable[[], float]:
    """One measurement of nothing but the update's float32 matrix products by XLA, in seconds."""
    shapes, rows, steps = _layers(sizes)
    rng = np.random.default_rng(0)
    factors = [
        tuple(jnp.asarray(rng.standard_normal(dims, np.float32)) for dims in ((rows, a), (a, b), (rows, b)))
        for a, b, _ in shapes
    ]

    def mini_batch(total: jax.Array, _: Any) -> tuple[jax.Array, None]:
        for (x, kernel, slope), (*_, first) in zip(factors, shapes, strict=True):
            x = x + total  # so that no product is the same in every mini-batch
            made = [x @ kernel, x.T @ slope] + ([] if first else [slope @ kernel.T])
            made = jax.lax.optimization_barrier(made)  # else XLA may compute the one entry that is read
            total += 1e-9 * sum(product[0, 0] for product in made)
        return total, None

    run = jax.jit(lambda: jax.lax.scan(mini_batch, jnp.float32(0.0), None, length=steps)[0]).lower().compile()

    def measure() -> float:
        with clock:
            jax.block_until_ready(run())
        return clock.wall

    measure()
    clock.cpu.clear()
    return measure


def products_of_torch(sizes: Sizes, clock: Clock) -> Callable[[], float]:
    """One measurement of nothing but the update's float32 matrix products by torch, in seconds."""
    import torch

    shapes, rows, steps = _layers(sizes)
    factors = [(torch.randn(rows, a), torch.randn(a, b), torch.randn(rows, b)) for a, b, _ in shapes]

    def measure() -> float:
        with clock:
            for _ in range(steps):
                for (x, kernel, slope), (*_, first) in zip(factors, shapes, strict=True):
                    x @ kernel, x.T @ slope
                    if not first:
                        slope @ kernel.T
        return clock.wall

    measure()
    clock.cpu.clear()
    return measure


def _layers(sizes: Sizes) -> tuple[list[tuple[int, int, bool]], int, int]:
    """(inputs, outputs and whether it sees observations of every layer; rows of a mini-batch; mini-batches)."""
    shapes = []
    for inputs, outputs in ((sizes.actor_obs, sizes.actions), (sizes.critic_obs, 1)):
        widths = (inputs, *sizes.hidden, outputs)
        shapes += [(a, b, i == 0) for i, (a, b) in enumerate(itertools.pairwise(widths))]
    rows = sizes.num_envs * sizes.horizon // sizes.mini_batches
    return shapes, rows, sizes.epochs * sizes.mini_batches


def flops(sizes: Sizes) -> float:
    """Floating-point operations of those products."""
    shapes, rows, steps = _layers(sizes)
    return float(sum(2 * rows * a * b * (2 if first else 3) for a, b, first in shapes) * steps)
