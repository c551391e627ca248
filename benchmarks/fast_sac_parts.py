"""What decided the shape of FastSAC's update: alternatives to its parts, each against what is used.

Every comparison is made in one run, in turns. At the sizes of the G1 preset:

- ensemble: loss and gradients of two critics as a tuple (used), as one batched network by `jax.vmap`, and
  as a tuple whose first layers are one wide product;
- layer: loss and gradients of one critic with the hidden layer's written-out derivative (used), and with
  the one that JAX derives from the plain formula;
- kernel gradient, row gradient: the two products of a layer's derivative, by the order of their axes;
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

from benchmarks.machine import describe, interleave, report
from benchmarks.ppo_update import Clock
from holosoma_jax.learn.fast_sac import categorical, networks
from holosoma_jax.learn.fast_sac.compiling import compiler_options

INPUTS, HIDDEN, ATOMS = 132, 768, 101
NARROWING = ((768, 384), (384, 192), (192, 101))
"""Inputs and outputs of a critic's layers after the first."""
SUPPORT = categorical.Support(-20.0, 20.0, ATOMS)
Alternatives = dict[str, Callable[[], Any]]


def ensemble(rows: int) -> Alternatives:
    """Two critics, three layouts."""
    keys = jax.random.split(jax.random.key(0), 2)
    nets = tuple(networks.init_critic(key, INPUTS, ATOMS, HIDDEN, layer_norm=True) for key in keys)
    x, wanted = _rows(rows)

    def separate(nets: networks.Critics) -> jax.Array:
        ready = networks.ready(nets, turn=True)
        losses = [_cross_entropy(logits, wanted) for logits in networks.critics(ready, x, bf16=False)]
        return jnp.sum(jnp.stack(losses))

    def batched(stacked: networks.Critic) -> jax.Array:
        logits = jax.vmap(lambda net: _logits(net, x))(stacked)
        return jnp.sum(jax.vmap(lambda one: _cross_entropy(one, wanted))(logits))

    def wide(nets: networks.Critics) -> jax.Array:
        """The first product of both at once."""
        ready = networks.ready(nets, turn=True).net
        first = [net.trunk[0] for net in ready]
        parts = jnp.split(x @ jnp.concatenate([f.linear.kernel for f in first], axis=1), len(ready), axis=1)
        loss = jnp.zeros(())
        for net, layer, part in zip(ready, first, parts, strict=True):
            assert layer.scale is not None and layer.offset is not None
            h = networks.norm_silu(part, layer.linear.bias[None], layer.scale[None], layer.offset[None])
            for hidden in net.trunk[1:]:
                h = networks.hidden(hidden, h, bf16=False)
            loss += _cross_entropy(networks.linear(net.head, h, bf16=False), wanted)
        return loss

    stacked = jax.tree.map(lambda *x: jnp.stack(x), *nets)
    return {
        "tuple": _compiled(jax.value_and_grad(separate), nets),
        "vmapped": _compiled(jax.value_and_grad(batched), stacked),
        "wide first layer": _compiled(jax.value_and_grad(wide), nets),
    }


def layer(rows: int) -> Alternatives:
    """One critic, two ways to its hidden layers' derivative."""
    net = networks.init_critic(jax.random.key(0), INPUTS, ATOMS, HIDDEN, layer_norm=True)
    x, wanted = _rows(rows)

    def plain(net: networks.Critic) -> jax.Array:
        h = x
        for hidden in net.trunk:
            h = _plain_norm_silu(h @ hidden.linear.kernel + hidden.linear.bias[None], hidden)
        return _cross_entropy(h @ net.head.kernel + net.head.bias[None], wanted)

    def used(net: networks.Critic) -> jax.Array:
        return _cross_entropy(_logits(net, x), wanted)

    return {
        "written out": _compiled(jax.value_and_grad(used), net),
        "derived": _compiled(jax.value_and_grad(plain), net),
    }


def kernel_gradient(rows: int) -> Alternatives:
    """The gradients by the kernels of layers that narrow, two ways round."""
    pairs = [(_normal(rows, wide), _normal(rows, narrow)) for wide, narrow in NARROWING]
    return {
        "long axis last": _compiled(lambda pairs: [slope.T @ x for x, slope in pairs], pairs),
        "short axis last": _compiled(lambda pairs: [x.T @ slope for x, slope in pairs], pairs),
    }


def row_gradient(rows: int) -> Alternatives:
    """The gradients by the rows that the same layers are given, from kernels in two orders."""
    turned = [(_normal(rows, narrow), _normal(narrow, wide)) for wide, narrow in NARROWING]
    plain = [(slope, kernel.T) for slope, kernel in turned]
    return {
        "[out, in]": _compiled(lambda pairs: [slope @ kernel for slope, kernel in pairs], turned),
        "[in, out]": _compiled(lambda pairs: [slope @ kernel.T for slope, kernel in pairs], plain),
    }


def projection(rows: int) -> Alternatives:
    """Two targets with common positions, four ways."""
    rng = np.random.default_rng(0)
    probs = tuple(jnp.asarray(rng.dirichlet(np.ones(ATOMS), rows), jnp.float32) for _ in range(2))
    reward = jnp.asarray(rng.normal(size=rows), jnp.float32)
    positions = categorical.positions(reward, jnp.full(rows, 0.97), SUPPORT)
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


def _logits(net: networks.Critic, x: jax.Array) -> jax.Array:
    return networks.critics(networks.ready((net,), turn=True), x, bf16=False)[0]


def _rows(rows: int) -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(0)
    wanted = rng.dirichlet(np.ones(ATOMS), rows).astype(np.float32)
    return jnp.asarray(rng.standard_normal((rows, INPUTS), np.float32)), jnp.asarray(wanted)


def _cross_entropy(logits: jax.Array, wanted: jax.Array) -> jax.Array:
    return -jnp.mean(jnp.sum(wanted * jax.nn.log_softmax(logits, axis=-1), axis=-1))


def _plain_norm_silu(x: jax.Array, layer: networks.Hidden) -> jax.Array:
    assert layer.scale is not None and layer.offset is not None
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    rate = jax.lax.rsqrt(jnp.mean(centred * centred, axis=-1, keepdims=True) + networks.NORM_EPS)
    return jax.nn.silu(centred * rate * layer.scale[None] + layer.offset[None])


def _compiled(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    compiled = jax.jit(function, compiler_options=compiler_options()).lower(*arguments).compile()
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
    if hasattr(os, "sched_setaffinity"):  # JAX makes as many threads as it may use cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    parts = {
        "ensemble": ensemble,
        "layer": layer,
        "kernel gradient": kernel_gradient,
        "row gradient": row_gradient,
        "projection": projection,
    }
    result = {"benchmark": "fast_sac_parts", "rows": args.rows, "threads": args.threads}
    result |= {name: compare(make(args.rows), args.rounds) for name, make in parts.items()} | describe()
    report(result, args.out)


if __name__ == "__main__":
    main()
