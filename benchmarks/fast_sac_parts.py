"""What decided the shape of FastSAC's update: alternatives to its parts, each against what is used.

Every comparison is made in one run, in turns. At the sizes of the G1 preset:

- ensemble: loss and gradients of two critics as a tuple (used), and as one batched network by `jax.vmap`;
- products: loss and gradients of one critic with bfloat16 factors (used where the processor has them), with
  float32 ones by Eigen (used elsewhere) and by XLA's YNN library;
- kernel gradient: the bfloat16 product for it, from a copied transpose (used), and from a plain one;
- projection: two targets by scatter (used on a CPU), by the sum over all pairs of atoms (used elsewhere),
  by that sum as a batched matrix product, and by a scan over source atoms.

    python -m benchmarks.fast_sac_parts --threads 1 --out fast_sac_parts.json
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import Clock, describe, interleave, limit_cores, report
from holosoma_jax.learn.compiling import compiler_options, quick_bf16
from holosoma_jax.learn.fast_sac import categorical, networks
from holosoma_jax.learn.products import transposed

INPUTS, HIDDEN, ATOMS = 132, 768, 101
LAYERS = ((132, 768), (768, 384), (384, 192), (192, 101))
"""Inputs and outputs of a critic's layers."""
SUPPORT = categorical.Support(-20.0, 20.0, ATOMS)
Alternatives = dict[str, Callable[[], Any]]


def ensemble(rows: int) -> Alternatives:
    """Two critics, two layouts."""
    net = networks.Critic(HIDDEN, ATOMS, bf16=quick_bf16())
    params = tuple(networks.init(net, key, INPUTS) for key in jax.random.split(jax.random.key(0), 2))
    x, wanted = _rows(rows)

    def separate(params: networks.CriticParams) -> jax.Array:
        losses = [_cross_entropy(logits, wanted) for logits in networks.critics(net, params, x)]
        return jnp.sum(jnp.stack(losses))

    def batched(stacked: Any) -> jax.Array:
        return jnp.sum(jax.vmap(lambda one: _loss(net, one, x, wanted))(stacked))

    stacked = jax.tree.map(lambda *x: jnp.stack(x), *params)
    return {
        "tuple": _compiled(jax.value_and_grad(separate), params),
        "vmapped": _compiled(jax.value_and_grad(batched), stacked),
    }


def products(rows: int) -> Alternatives:
    """One critic, by precision and library of its products."""
    params = networks.init(networks.Critic(HIDDEN, ATOMS), jax.random.key(0), INPUTS)
    x, wanted = _rows(rows)

    def gradient(bf16: bool) -> Callable[[Any], Any]:
        net = networks.Critic(HIDDEN, ATOMS, bf16=bf16)
        return jax.value_and_grad(lambda params: _loss(net, params, x, wanted))

    return {
        "bfloat16": _compiled(gradient(True), params, options=compiler_options(bf16=True)),
        "float32 by Eigen": _compiled(gradient(False), params, options=compiler_options(bf16=False)),
        "float32 by YNN": _compiled(gradient(False), params, options=compiler_options(bf16=True)),
    }


def kernel_gradient(rows: int) -> Alternatives:
    """The bfloat16 products for the gradients by the kernels, from two kinds of transpose."""

    def short(*shape: int) -> jax.Array:
        return _normal(*shape).astype(jnp.bfloat16)

    def product(left: jax.Array, right: jax.Array) -> jax.Array:
        return jnp.matmul(left, right, preferred_element_type=jnp.float32)

    pairs = [(short(rows, wide), short(rows, out)) for wide, out in LAYERS]
    return {
        "copied": _compiled(lambda pairs: [product(transposed(x), slope) for x, slope in pairs], pairs),
        "plain": _compiled(lambda pairs: [product(x.T, slope) for x, slope in pairs], pairs),
    }


def projection(rows: int) -> Alternatives:
    """Two targets with common positions, four ways."""
    rng = np.random.default_rng(0)
    probs = tuple(jnp.asarray(rng.dirichlet(np.ones(ATOMS), rows), jnp.float32) for _ in range(2))
    reward = jnp.asarray(rng.normal(size=rows), jnp.float32)
    positions = categorical.atom_positions(reward, jnp.full(rows, 0.97), SUPPORT)
    grid = np.arange(ATOMS, dtype=np.float32)

    def product(probs: tuple[jax.Array, ...], positions: jax.Array) -> Any:
        kernel = jnp.maximum(0.0, 1.0 - jnp.abs(positions[:, :, None] - grid[None, None]))
        return tuple(jnp.einsum("ri,rik->rk", p, kernel) for p in probs)

    def scan(probs: tuple[jax.Array, ...], positions: jax.Array) -> Any:
        def add(out: tuple[jax.Array, ...], atom: tuple[Any, jax.Array]) -> tuple[Any, None]:
            mass, position = atom
            kernel = jnp.maximum(0.0, 1.0 - jnp.abs(position[:, None] - grid[None]))
            return tuple(o + m[:, None] * kernel for o, m in zip(out, mass, strict=True)), None

        empty = tuple(jnp.zeros_like(p) for p in probs)
        return jax.lax.scan(add, empty, (tuple(p.T for p in probs), positions.T))[0]

    def each(form: Callable[..., jax.Array]) -> Callable[..., Any]:
        return lambda probs, positions: tuple(form(p, positions) for p in probs)

    return {
        "scatter": _compiled(each(categorical.project_scatter), probs, positions),
        "all pairs": _compiled(each(categorical.project_dense), probs, positions),
        "all pairs, as a product": _compiled(product, probs, positions),
        "scan over atoms": _compiled(scan, probs, positions),
    }


def _normal(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape, np.float32))


def _rows(rows: int) -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(0)
    wanted = rng.dirichlet(np.ones(ATOMS), rows).astype(np.float32)
    return jnp.asarray(rng.standard_normal((rows, INPUTS), np.float32)), jnp.asarray(wanted)


def _loss(net: networks.Critic, params: Any, x: jax.Array, wanted: jax.Array) -> jax.Array:
    return _cross_entropy(networks.critics(net, (params,), x)[0], wanted)


def _cross_entropy(logits: jax.Array, wanted: jax.Array) -> jax.Array:
    return -jnp.mean(jnp.sum(wanted * jax.nn.log_softmax(logits, axis=-1), axis=-1))


def _compiled(
    function: Callable[..., Any], *arguments: Any, options: dict[str, str] | None = None
) -> Callable[[], Any]:
    options = compiler_options() if options is None else options
    compiled = jax.jit(function, compiler_options=options).lower(*arguments).compile()
    return lambda: jax.block_until_ready(compiled(*arguments))


def compare(alternatives: Alternatives, rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds of each, and how many times as long as the first it takes."""
    clocks = {name: Clock() for name in alternatives}

    def timed(name: str) -> Callable[[], float]:
        def measure() -> float:
            with clocks[name]:
                alternatives[name]()
            return clocks[name].wall

        measure()
        clocks[name].cpu.clear()
        return measure

    wall = interleave({name: timed(name) for name in alternatives}, rounds)
    out: dict[str, dict[str, float]] = {}
    for name in alternatives:
        seconds, cpu = statistics.median(wall[name]), statistics.median(clocks[name].cpu)
        out[name] = {"seconds": seconds, "cpu_seconds": cpu}
    first = next(iter(out.values())).copy()
    for figures in out.values():
        figures["times_the_first"] = figures["seconds"] / first["seconds"]
        figures["times_the_first_cpu"] = figures["cpu_seconds"] / first["cpu_seconds"]
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="cores that may be used")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", help="also write the figures to this JSON file")
    args = parser.parse_args()
    limit_cores(args.threads)
    parts = {
        "ensemble": ensemble,
        "products": products,
        "kernel gradient": kernel_gradient,
        "projection": projection,
    }
    result = {"benchmark": "fast_sac_parts", "rows": args.rows, "threads": args.threads}
    result |= {"load": os.getloadavg()}
    result |= {name: compare(make(args.rows), args.rounds) for name, make in parts.items()} | describe()
    report(result, args.out)


if __name__ == "__main__":
    main()
