"""What devices that learn together send each other: counted in the traced program, and how long it takes here.

python -m benchmarks.messages exp:g1-29dof
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import describe, interleave, report
from benchmarks.scaling_model import Link, Messages
from holosoma_jax import experiment
from holosoma_jax.config import compose
from holosoma_jax.learn import pooling
from holosoma_jax.parallel.devices import AXIS
from holosoma_jax.parallel.launch import free_port
from holosoma_jax.rollout import off_policy, on_policy, seeding

COLLECTIVES = ("psum", "pmax", "pmin", "psum_invariant", "all_gather")
SIZES = (1 << 6, 1 << 12, 1 << 16, 1 << 20, 1 << 23)
"""bytes of the messages that the link is timed with"""
LAYERS = ((100, 512), (512, 256), (256, 128), (128, 29), (103, 512), (512, 256), (256, 128), (128, 1))
METRICS = 12
"""Leaves that an update of `g1-29dof` pools: weights and biases of policy and critic, and numbers for the log."""


def count_in(jaxpr: Any) -> Messages:
    """Messages of a traced program: loops times their length, and the branch that sends most.

    Raises:
      ValueError: a message within a loop whose length is not known.
    """
    number = size = 0
    for eqn in jaxpr.eqns:
        name, inner = eqn.primitive.name, [count_in(x) for x in _inner(eqn.params)]
        if name in COLLECTIVES:  # XLA sends the operands of one equation together
            number += 1
            size += sum(x.aval.size * x.aval.dtype.itemsize for x in eqn.invars)
        elif name == "scan":
            number += eqn.params["length"] * sum(x.number for x in inner)
            size += eqn.params["length"] * sum(x.size for x in inner)
        elif name == "while" and any(x.number for x in inner):
            raise ValueError("messages within a loop of unknown length")
        elif name == "cond":
            largest = max(inner, key=lambda x: x.size)
            number, size = number + largest.number, size + largest.size
        else:
            number += sum(x.number for x in inner)
            size += sum(x.size for x in inner)
    return Messages(number, size)


def _inner(params: dict[str, Any]) -> list[Any]:
    found = []
    for value in params.values():
        for one in value if isinstance(value, (tuple, list)) else (value,):
            one = getattr(one, "jaxpr", one)
            if hasattr(one, "eqns"):
                found.append(one)
    return found


def count(arguments: Sequence[str]) -> Messages:
    """Messages of an iteration of `train ARGUMENTS` on several devices: updates, and the normaliser at every step.

    Numbers that are pooled for the log are left out.
    """
    parts = experiment.build(compose.load([*arguments, "--training.num-envs=4"]))
    learner, spec, algo = parts.learner, parts.env.spec, parts.cfg.algo.config
    keys, zero = seeding.keys(0), jnp.int32(0)
    make = on_policy.rollout_fns if learner.kind == "on_policy" else off_policy.rollout_fns
    fns, replay = make(learner, algo), None
    state = learner.init(seeding.stream(keys.own, "learner"), parts.learner_spec, algo)
    if learner.replay is not None:
        buffer = learner.replay.init(algo, parts.learner_spec, spec.num_envs)
        replay = off_policy.ReplayState(buffer, zero)
    pending = fns.init_pending(state, spec)
    obs = {name: jnp.zeros((spec.num_envs, dim)) for name, dim in spec.obs_dims.items()}
    traced = jax.make_jaxpr(lambda *values: fns.act(*values, zero, keys, AXIS), axis_env=[(AXIS, 2)])(
        state, replay, pending, obs
    )
    acting = count_in(traced.jaxpr)
    number, size = fns.horizon * acting.number, fns.horizon * acting.size
    if not fns.learns_in_act:
        traced = jax.make_jaxpr(lambda *values: fns.update(*values, zero, keys, AXIS), axis_env=[(AXIS, 2)])(
            state, pending, obs
        )
        update = count_in(traced.jaxpr)
        number, size = number + update.number, size + update.size
    parts.bridge.close()
    return Messages(number, size)


def measure_link() -> Link:
    """The link between two processes of this machine with a core each: a line through the seconds of a mean."""
    seconds = {int(size): taken for size, taken in _between_processes()["sizes"].items()}
    small, large = min(seconds), max(seconds)
    bandwidth = (large - small) / max(seconds[large] - seconds[small], 1e-9)
    return Link(seconds[small], bandwidth)  # of two devices each sends every byte once: 2 (n - 1) / n = 1


def _between_processes() -> dict[str, Any]:
    """`_exchange` in two processes of this machine."""
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "benchmarks.messages", "--address", address, "--index"]
    running = [subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, text=True) for i in range(2)]
    said = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise RuntimeError("two processes could not exchange messages")
    return json.loads(said[0].splitlines()[-1])


def _exchange(address: str, index: int) -> dict[str, Any]:
    """Median seconds of a mean over two processes: by size in bytes, and of an update's leaves in both ways."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[index % len(cores)]})
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, num_processes=2, process_id=index)
    mean = jax.pmap(lambda x: jax.lax.pmean(x, AXIS), axis_name=AXIS)
    together = jax.pmap(lambda x: pooling.pmean(x, AXIS), axis_name=AXIS)
    shapes = [shape for rows, columns in LAYERS for shape in ((rows, columns), (columns,))] + [()] * METRICS
    leaves = [jnp.ones((1, *shape)) for shape in shapes]
    tasks = {
        "each by itself": partial(_timed, mean, leaves),
        "as one vector": partial(_timed, together, leaves),
    }
    return {
        "sizes": {size: _timed(mean, jnp.ones((1, size // 4))) for size in SIZES},
        "leaves": {name: float(np.median(taken)) for name, taken in interleave(tasks, 7).items()},
    }


def _timed(function: Callable[[Any], Any], value: Any) -> float:
    """Seconds of a call, of 20."""
    for _ in range(3):
        jax.block_until_ready(function(value))
    began = time.perf_counter()
    for _ in range(20):
        jax.block_until_ready(function(value))
    return (time.perf_counter() - began) / 20


def main() -> None:
    """Count and time, or be one of the two processes that are timed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out")
    parser.add_argument("--address", help=argparse.SUPPRESS)
    parser.add_argument("--index", type=int, help=argparse.SUPPRESS)
    args, arguments = parser.parse_known_args()
    if args.address:
        print(json.dumps(_exchange(args.address, args.index)))
        return
    sent = count(arguments or ["exp:g1-29dof"])
    report({**describe(), "messages": sent._asdict(), "seconds": _between_processes()}, args.out)


if __name__ == "__main__":
    main()
