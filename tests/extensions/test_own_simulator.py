"""A simulator of one's own, in one module outside of the package: docs/extending.md's `moon:make`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bridges
from bridges import remote
from bridges.protocol import Bridge, Ground
from holosoma_jax import train
from holosoma_jax.config import compose, own_files, trust
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import RemoteConfig, SimulatorConfig
from holosoma_jax.runs import checkpoint
from tests.extensions.test_outside import flags
from tests.support.biped import BIPED, config, everyone, numpy, pose
from tests.support.messages import tells
from tests.support.pages import write_files

FALL_S = 0.2


def own(name: str = "moon:make") -> SimulatorConfig:
    return replace(config(), name=name)


def fall(bridge: Bridge) -> np.ndarray:
    """Vertical velocities [2] m/s after `FALL_S` from rest, high above the ground."""
    physics, _ = bridge.reset(bridge.init(), everyone(2), pose(2, root_pos=[0.0, 0.0, 5.0]))
    for _ in range(round(FALL_S / bridge.spec.control_dt)):
        physics, sim = bridge.step(physics, np.zeros((2, 5), np.float32))
    bridge.close()
    return numpy(sim).root_lin_vel[:, 2]


def test_make_starts_it(outside: Path):
    bridges.require(own())
    np.testing.assert_allclose(fall(bridges.make(own(), BIPED, Ground(), 2)), -1.62 * FALL_S, rtol=1e-3)


def test_it_runs_in_a_worker_too(outside: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(outside)  # modules are found from where one starts
    cfg = own()
    cfg = replace(cfg, config=replace(cfg.config, remote=RemoteConfig(start_timeout_s=120)))
    np.testing.assert_allclose(fall(remote.make(cfg, BIPED, Ground(), 2)), -1.62 * FALL_S, rtol=1e-3)


def test_it_runs_in_a_worker_that_finds_no_module_of_that_name(tmp_path: Path):
    """One of `--import-file`, in a folder that neither process looks into."""
    write_files("extending.md", tmp_path)
    file = (tmp_path / "moon.py").rename(tmp_path / "moon_elsewhere.py")
    own_files.load([str(file)])
    try:
        cfg = own("moon_elsewhere:make")
        cfg = replace(cfg, config=replace(cfg.config, remote=RemoteConfig(start_timeout_s=120)))
        np.testing.assert_allclose(fall(remote.make(cfg, BIPED, Ground(), 2)), -1.62 * FALL_S, rtol=1e-3)
    finally:
        del own_files.FILES["moon_elsewhere"], sys.modules["moon_elsewhere"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:make", "simulator.name: cannot import 'no_such_module'"),
        ("moon:mak", "'moon' ... 'mak' ... 'make'"),
        ("math:pi", "'math:pi' is a float"),
        (
            "tests.extensions.test_own_simulator:nothing",
            "NoneType ... bridges.protocol.Bridge",
        ),
        ("mujoko", "simulator:mujoko"),
    ],
)
def test_what_is_no_simulator_is_one_line(outside: Path, name: str, message: str):
    with pytest.raises(ConfigError) as caught:
        bridges.make(own(name), BIPED, Ground(), 2)
    assert tells(str(caught.value), message) and "\n" not in str(caught.value)


def nothing(*args: object, **options: object) -> None:
    """No bridge."""


def test_a_config_names_it_and_an_artifact_only_with_leave():
    cfg = compose.load(["exp:g1-29dof", "simulator:moon:make"])
    assert cfg.simulator.name == "moon:make"
    saved = compose.to_mapping(cfg)
    assert trust.outside(saved) == ("moon",)
    with pytest.raises(ConfigError, match=r"simulator\.name names code .*'moon:make'.*--allow-code moon"):
        compose.from_mapping(saved)
    assert compose.from_mapping(saved, allow_code=["moon"]).simulator.name == "moon:make"
    back = compose.load(["simulator:mujoco", "--allow-code", "moon"], base=saved)
    assert back.simulator.name == "mujoco"


@pytest.mark.slow
def test_training_in_it(outside: Path, tmp_path: Path):
    argv = ["exp:g1-29dof", "simulator:moon:make", "terrain:terrain-locomotion-plane", "logger:console"]
    more = {"training.output-dir": tmp_path, "algo.config.num-learning-iterations": 2}
    assert train.main([*argv, *flags(**more)]) == 0
    (run,) = (tmp_path / "locomotion").iterdir()
    assert checkpoint.read_meta(run / "checkpoints" / "2").config["simulator"]["name"] == "moon:make"
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2
