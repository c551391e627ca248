"""The FastSAC update against PyTorch's, at the same sizes and settings, in one process and in turns.

One measurement is what follows sampling: four updates of critics and temperature, one of them with a
step of the actor, without mirror images. Both have the networks of the G1 preset, the same losses and
AdamW, and log the same; ours is compiled with the options that the training loop gives to XLA.
`--precision bfloat16` multiplies matrices in bfloat16 on both sides, for the peer by PyTorch's autocast,
which is how holosoma trains; `--peer-precision` gives the peer another one. The peer (`fast_sac_peer.py`)
runs eagerly, or compiled with `--peer-compile` (needs a C++ compiler).
Compilation is reported apart. On a machine that does other things too, use `--threads 1` and read the
processor seconds: threads that wait for each other inflate everything else.

The peer is not a dependency of this project; beside it, install::

    pip install torch==2.13.0

    python -m benchmarks.fast_sac_update --batch 2048 --out fast_sac_update.json
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import Clock, describe, interleave, limit_cores, report, times_as_quick
from holosoma_jax.config.schema import FastSacConfig
from holosoma_jax.learn import fast_sac
from holosoma_jax.learn.compiling import compiler_options, quick_bf16


@dataclass(frozen=True)
class Sizes:
    """What both learners are given."""

    batch: int
    updates: int = 4
    actor_obs: int = 100
    critic_obs: int = 103
    actions: int = 29
    actor_hidden: int = 512
    critic_hidden: int = 768
    atoms: int = 101
    threads: int = 1
    precision: str = "float32"
    peer_precision: str = "float32"


def transitions(sizes: Sizes) -> dict[str, np.ndarray]:
    """Random rows [U, B, ...] of which one in a hundred ends in failure."""
    rng = np.random.default_rng(0)
    lead = (sizes.updates, sizes.batch)

    def normal(*dim: int) -> np.ndarray:
        return rng.standard_normal((*lead, *dim), np.float32)

    return {
        "actor_obs": normal(sizes.actor_obs),
        "critic_obs": normal(sizes.critic_obs),
        "action": normal(sizes.actions),
        "reward": normal(),
        "discount": np.where(rng.random(lead) < 0.01, 0.0, 0.97).astype(np.float32),
        "next_actor_obs": normal(sizes.actor_obs),
        "next_critic_obs": normal(sizes.critic_obs),
    }


def ours(sizes: Sizes, clock: Clock) -> tuple[Callable[[], float], float]:
    """(one measurement in seconds, seconds of compilation)."""
    cfg = FastSacConfig(
        num_updates=sizes.updates,
        actor_hidden_dim=sizes.actor_hidden,
        critic_hidden_dim=sizes.critic_hidden,
        num_atoms=sizes.atoms,
        use_symmetry=False,
        obs_normalization=False,
        bf16=sizes.precision == "bfloat16",
    )
    scale = (4.0,) * sizes.actions
    spec = fast_sac.FastSacSpec(sizes.actor_obs, sizes.critic_obs, sizes.actions, scale)
    state = fast_sac.init(jax.random.key(0), spec, cfg)
    valid = jnp.ones((sizes.updates, sizes.batch), bool)
    batch = fast_sac.FastSacBatch(**jax.tree.map(jnp.asarray, transitions(sizes)), valid=valid)
    began = time.perf_counter()
    options = compiler_options(bf16=sizes.precision == "bfloat16")
    update = jax.jit(fast_sac.update, donate_argnums=0, compiler_options=options)
    update = update.lower(state, batch, jax.random.key(0)).compile()
    compilation = time.perf_counter() - began

    def measure() -> float:
        nonlocal state
        with clock:
            state, metrics = update(state, batch, jax.random.key(0))
            jax.block_until_ready((state, metrics))
        return clock.wall

    measure()
    clock.cpu.clear()
    return measure, compilation


def theirs(sizes: Sizes, clock: Clock, device: str, compiled: bool) -> Callable[[], float]:
    """One measurement of the peer, in seconds."""
    try:
        import torch

        from benchmarks import fast_sac_peer
    except ImportError as missing:
        raise SystemExit(f"{missing}. Install the peer: pip install torch==2.13.0") from None

    torch.set_num_threads(sizes.threads)
    torch.set_float32_matmul_precision("high")
    batch = {name: torch.from_numpy(x).to(device) for name, x in transitions(sizes).items()}
    autocast = sizes.peer_precision == "bfloat16"
    call = fast_sac_peer.make(sizes, batch, device, compiled, autocast)

    def measure() -> float:
        with clock:
            call()
        return clock.wall

    for _ in range(2):
        measure()
    clock.cpu.clear()
    return measure


def _ratio(seconds: dict[str, list[float]]) -> float:
    """How many times longer the peer takes: the ratio of the medians."""
    return statistics.median(seconds["torch"]) / statistics.median(seconds["ours"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="cores that both may use")
    parser.add_argument("--rounds", type=int, default=7)
    precisions = ("float32", "bfloat16")
    parser.add_argument("--precision", choices=precisions, help="of products; default: the quicker one here")
    parser.add_argument("--peer-precision", choices=precisions, help="the peer's, if it shall differ")
    parser.add_argument("--peer-compile", action="store_true", help="torch.compile the peer's losses")
    parser.add_argument("--out", help="also write the figures to this JSON file")
    args = parser.parse_args()
    limit_cores(args.threads)
    precision = args.precision or precisions[quick_bf16()]
    peer_precision = args.peer_precision or precision
    sizes = Sizes(args.batch, threads=args.threads, precision=precision, peer_precision=peer_precision)

    clocks = {"ours": Clock(), "torch": Clock()}
    device = "cpu" if jax.default_backend() == "cpu" else "cuda"
    peer = theirs(sizes, clocks["torch"], device, args.peer_compile)
    own, compilation = ours(sizes, clocks["ours"])
    wall = interleave({"ours": own, "torch": peer}, args.rounds)
    cpu = {name: clock.cpu for name, clock in clocks.items()}
    result = {
        "benchmark": "fast_sac_update",
        "device": jax.devices()[0].device_kind,
        "sizes": asdict(sizes),
        "seconds": {name: {"median": statistics.median(t), "all": t} for name, t in wall.items()},
        "cpu_seconds": {name: {"median": statistics.median(t), "all": t} for name, t in cpu.items()},
        "times_faster_than_torch": {"wall": _ratio(wall), "cpu": _ratio(cpu)},
        "times_as_quick": {
            "torch, wall": times_as_quick(wall["ours"], wall["torch"]),
            "torch, processor": times_as_quick(cpu["ours"], cpu["torch"]),
        },
        "compile_seconds": compilation,
        "peer": {"torch": importlib.metadata.version("torch"), "compiled": args.peer_compile},
        "load": os.getloadavg(),
        **describe(),
    }
    report(result, args.out)


if __name__ == "__main__":
    main()
