"""Toy runs on some layout of processes and devices.

    python -m tests.support.layout PORT RANK PROCESSES DEVICES FOLDER KIND

Every process writes what it has learned, and how its simulators stand, to FOLDER/RANK.npz.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import jax
import numpy as np

from bridges.protocol import Ground
from holosoma_jax.config.schema import Config
from holosoma_jax.envs.terrain import Terrain
from holosoma_jax.experiment import Setup, learner_spec, load_learner
from holosoma_jax.parallel import launch, processes
from holosoma_jax.rollout.device_bridge import over_devices
from holosoma_jax.runs.run_dir import RunDir
from holosoma_jax.training import loop, run_state
from tests.support import toy, toy_task
from tests.support.biped import BIPED, STANDING, config
from tests.support.child import ROOT, quickly

NUM_ENVS = 16
KINDS = {
    "ppo": (toy.config, {"num_learning_iterations": 2}),
    "fast_sac": (toy.fast_sac, {"num_learning_iterations": 12, "save_buffer": True}),
    "mjwarp_ppo": (toy.config, {"num_learning_iterations": 2}),
    "mjwarp_fast_sac": (toy.fast_sac, {"num_learning_iterations": 8, "save_interval": 8}),
}
"""Kind of run -> its config; those of MuJoCo Warp take whole iterations as one program."""


@contextmanager
def biped_in_mjwarp(num_envs: int = NUM_ENVS, devices: int = 1, jump_every: int = 0) -> Iterator[Any]:
    """Makes the parts of a run of the toy's task for the small biped in MuJoCo Warp; one simulator for all of them.

    num_envs: of this process.
    """
    from bridges.mjwarp import make

    figures = {"JOINTS": BIPED.num_joints, "BODIES": BIPED.body_names, "HEIGHT": STANDING}
    with mock.patch.multiple(toy_task, **figures):
        bridge = make(config(), BIPED, Ground(), num_envs, devices=devices)
        ground = cast("Terrain", SimpleNamespace(ground=Ground()))
        env = toy_task.make_env(num_envs // devices, jump_every=jump_every, ghost=True)

        def build(cfg: Config) -> Setup:
            learner = load_learner(cfg)
            return Setup(cfg, BIPED, ground, bridge, env, learner, learner_spec(cfg, env, BIPED, learner))

        yield build
        bridge.close()


def train(
    kind: str, devices: int, folder: Path, saved: Path | None = None, **changes: Any
) -> dict[str, np.ndarray]:
    """What a run of `kind` comes to in this process."""
    make, settings = KINDS[kind]
    cfg = make(num_envs=NUM_ENVS, devices=devices, **(settings | changes))
    if not kind.startswith("mjwarp"):
        return _trained(toy.setup(cfg), folder, saved)
    with biped_in_mjwarp(processes.local_share(NUM_ENVS), devices) as build:
        return _trained(build(cfg), folder, saved)


def _trained(setup: Setup, folder: Path, saved: Path | None) -> dict[str, np.ndarray]:
    driver, state = run_state.create_or_restore(setup, saved)
    result = loop.train(setup, driver, state, RunDir(folder))
    devices, runner = setup.devices, result.state.runner
    learned = setup.learner.learned(devices.first(runner.learner))
    for other in devices.each(setup.learner.learned(runner.learner)):
        jax.tree.map(np.testing.assert_array_equal, other, learned)
    physics = over_devices(setup.bridge, devices).get_state(runner.rollout.physics)
    if devices.axis_name is None:
        physics = {name: x[None] for name, x in physics.items()}
    leaves = {f"learner{i}": np.asarray(x) for i, x in enumerate(jax.tree.leaves(learned))}
    return leaves | {f"physics/{name}": np.asarray(x) for name, x in physics.items()}


def spread(kind: str, number: int, devices: int, folder: Path, program_cache: str) -> dict[str, np.ndarray]:
    """What a run of `kind` comes to in `number` processes of so many `devices`; the parts of the simulators joined."""
    port = str(launch.free_port())
    started = [
        subprocess.Popen(
            [
                sys.executable, "-m", "tests.support.layout",
                port, str(rank), str(number), str(devices), str(folder), kind,
            ],
            cwd=ROOT,
            env=quickly(program_cache),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(number)
    ]  # fmt: skip
    said = [process.communicate(timeout=500)[0] for process in started]
    assert [process.returncode for process in started] == [0] * number, "\n".join(said)
    parts = [dict(np.load(folder / f"{rank}.npz")) for rank in range(number)]
    for part in parts:
        for name in part:
            if name.startswith("learner"):
                np.testing.assert_array_equal(part[name], parts[0][name])
    physics = {n: np.concatenate([part[n] for part in parts]) for n in parts[0] if n.startswith("physics")}
    return parts[0] | physics


def main(port: str, rank: int, number: int, devices: int, folder: Path, kind: str) -> None:
    """One process of a run."""
    jax.distributed.initialize(f"127.0.0.1:{port}", number, rank)
    np.savez(folder / f"{rank}.npz", **train(kind, devices, folder / "run"))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]), Path(sys.argv[5]), sys.argv[6])
