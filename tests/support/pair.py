"""One of two processes that talk to each other: `python -m tests.support.pair PORT RANK FOLDER`.

What both find out is written to FOLDER/RANK.npz, for `test_processes` to judge.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.learn import ppo
from holosoma_jax.parallel import processes
from holosoma_jax.parallel.devices import Devices
from holosoma_jax.runs import checkpoint
from holosoma_jax.training import run_state
from tests.support import small

DEVICES = Devices()


def talking(rank: int) -> dict[str, Any]:
    """Arrays, scalars, keys and nothing at all go in and come out; sums go over both."""

    def function(tree: dict[str, Any]) -> dict[str, Any]:
        total = jax.lax.psum(tree["x"], DEVICES.axis_name)
        return {
            **tree,
            "total": total,
            "drawn": jax.random.normal(tree["key"], (2,)),
            "own": tree["scalar"] + 1,
        }

    tree = {
        "x": jnp.arange(3.0) + 10 * rank,
        "scalar": jnp.int32(rank),
        "key": jax.random.fold_in(jax.random.key(0), rank),
        "empty": jnp.zeros((0, 4)),
        "one": jnp.full(1, rank),
        "numpy": np.arange(2) * (rank + 1),
    }
    tree = DEVICES.commit(jax.tree.map(lambda x: x[None], tree))
    program = DEVICES.jit(function, donate_argnums=(0,))
    out = program(tree)
    assert out["empty"].shape == (1, 0, 4)
    assert out["one"].shape == (1, 1)
    assert out["key"].shape == (1,)
    assert tree["x"].is_deleted()
    again = program(
        {name: jnp.zeros((1, 1)) for name in tree} | {"key": out["key"]}
    )  # other shapes: another program
    np.testing.assert_array_equal(again["total"], [[0.0]])
    return {
        name: DEVICES.first(out[name]) for name in ("x", "total", "drawn", "own", "scalar", "one", "numpy")
    }


def learned(rank: int) -> list[Any]:
    """A learner after an update from both halves of a rollout, this process' being its own."""
    state = small.learner(empirical_normalization=True)
    batch = jax.tree.map(lambda x: jnp.split(x, 2, axis=min(x.ndim - 1, 1))[rank], small.rollout(state))
    update = DEVICES.jit(partial(ppo.update, axis_name=DEVICES.axis_name))
    learner, key = DEVICES.replicate((state, jax.random.key(3)))
    return jax.tree.leaves(DEVICES.first(update(learner, DEVICES.replicate(batch), key)[0].params))


def saved(rank: int, folder: Path) -> None:
    """What is saved together comes back, to everyone its own."""
    items = {
        "learner": {"w": jnp.arange(4.0), "count": jnp.int32(7)},
        "env": {"own": jnp.full((2, 3), rank), "scalar": jnp.float32(rank), "empty": jnp.zeros((0,))},
        "physics": {"exact": np.full((2, 3), np.pi + rank), "count": np.arange(2, dtype=np.int32)},
    }
    physics = items["physics"]
    items = {name: DEVICES.replicate(tree) for name, tree in items.items()}
    items["physics"] = {name: x[None] for name, x in physics.items()}
    meta = checkpoint.Meta(
        step=1, robot="", simulator="", num_envs=4, seed=0, elapsed_s=0.0, config={}, processes=2
    )
    path = checkpoint.save(folder / "checkpoints", run_state.as_stored(DEVICES, items), meta)
    fresh = jax.tree.map(lambda x: 0 * x, items)
    for ours, theirs in zip(
        jax.tree.leaves(items), jax.tree.leaves(run_state.load(path, DEVICES, fresh)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    try:
        checkpoint.save(folder / "file" / "checkpoints", run_state.as_stored(DEVICES, items), meta)
    except checkpoint.SaveError as error:
        assert "could not write" in str(error)
    else:
        raise AssertionError("a checkpoint below a file")


def told() -> str:
    """What the main process says, and how it fails."""

    def fail() -> str:
        raise ConfigError("no such thing: ü")

    try:
        processes.from_main(fail)
    except ConfigError as error:
        text = str(error)
        return processes.from_main(lambda: f"rank {processes.index()} failed with: {text}")
    raise AssertionError("the error did not arrive")


def main(port: str, rank: int, folder: Path) -> None:
    """Everything, in the order that both share."""
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, rank)
    assert processes.size() == 2
    assert processes.local_share(10) == 5
    found = talking(rank)
    parameters = {f"parameter{i}": x for i, x in enumerate(learned(rank))}
    saved(rank, folder)
    facts = {"told": told(), "largest": processes.largest(5 - rank)}
    np.savez(folder / f"{rank}.npz", **found, **parameters, **facts)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
