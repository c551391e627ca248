"""The host's side without Isaac Lab: what the worker is told, and what is said where there is none."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import bridges
from bridges import conformance, interpreter, isaacgym, isaacsim, specs
from bridges.isaacgym import bridge as isaacgym_bridge
from bridges.isaacsim import bridge as bridge_module
from bridges.isaacsim import install
from bridges.isaacsim import program as program_module
from bridges.isaacsim.program import BASE_THICKNESS, lifted, program
from bridges.mujoco import model as mujoco_model
from bridges.protocol import ROBOT_PARAMS, Bounded, CapacityError, Ground, SimulatorError
from bridges.remote.program import Program, StartError
from holosoma_jax import doctor, robots
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import IsaacSimConfig, RemoteConfig, SimulatorConfig
from holosoma_jax.robots.usd import usda
from tests.support import usda as reader
from tests.support.biped import config, everyone, numpy, only, pose

E = 3


def isaacsim_config(python: str = "", **settings: object) -> SimulatorConfig:
    cfg = config()
    more = {"remote": RemoteConfig(python=python), "isaacsim": IsaacSimConfig(**settings)}  # type: ignore[arg-type]
    return replace(cfg, name="isaacsim", config=replace(cfg.config, **more))


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No Isaac Lab, whatever this machine has."""
    monkeypatch.delenv(install.PYTHON, raising=False)
    monkeypatch.delenv(install.LICENCE, raising=False)
    monkeypatch.setattr(install, "USUAL", tmp_path / "none")
    return monkeypatch


@pytest.mark.parametrize(
    ("python", "words"),
    [
        ("", f"neither simulator.config.remote.python nor {install.PYTHON} names"),
        ("/no/python", "remote.python is /no/python"),
        (sys.executable, "which has no package isaaclab"),
    ],
)
def test_where_isaac_lab_is_missing(python: str, words: str, nowhere: pytest.MonkeyPatch):
    for call in (bridges.require, lambda cfg: bridges.make(cfg, robots.load("g1"), Ground(), E)):
        with pytest.raises(ConfigError) as caught:
            call(isaacsim_config(python))
        text = str(caught.value)
        assert words in text and "\n" not in text
        # what to install, how, whose licence, and what else there is
        for part in (install.PACKAGE, "./just isaaclab", "licence", "simulator:mujoco"):
            assert part in text
    assert not bridges.is_available("isaacsim")


def test_interpreters_in_order(nowhere: pytest.MonkeyPatch, tmp_path: Path):
    nowhere.setattr(interpreter, "_PROBE", "")  # every interpreter has everything
    nowhere.setattr(install, "USUAL", Path(sys.executable))
    assert install.interpreter(isaacsim_config()) == sys.executable
    script = tmp_path / "python"
    script.symlink_to(sys.executable)
    nowhere.setenv(install.PYTHON, str(script))
    assert install.interpreter(isaacsim_config()) == str(script)
    assert install.interpreter(isaacsim_config(sys.executable)) == sys.executable


@pytest.mark.parametrize(
    ("version", "taken"), [("3.0.0", True), ("3.0.1", True), ("", True), ("2.3.2", False), ("3.1.0", False)]
)
def test_isaac_lab_of_another_version(version: str, taken: bool, nowhere: pytest.MonkeyPatch):
    nowhere.setattr(interpreter, "_PROBE", f"print({version!r})")  # '': it does not say
    if taken:
        assert install.interpreter(isaacsim_config(sys.executable)) == sys.executable
        return
    with pytest.raises(ConfigError) as caught:
        install.interpreter(isaacsim_config(sys.executable))
    text = str(caught.value)
    assert f"isaaclab {version}; wanted {install.SERIES}" in text and "\n" not in text
    assert install.PACKAGE in text
    assert install.PACKAGE.startswith(f"isaaclab=={install.SERIES}.")


def test_physx_asks_for_isaac_sim_and_for_a_licence_that_the_user_has_accepted(nowhere: pytest.MonkeyPatch):
    nowhere.setattr(interpreter, "_PROBE", "import sys; sys.exit(3 * ({module!r} == 'isaacsim'))")
    cfg = isaacsim_config(sys.executable, physics="physx")
    assert install.interpreter(isaacsim_config(sys.executable)) == sys.executable
    with pytest.raises(ConfigError, match=r"isaacsim\.physics.*no package isaacsim.*newton"):
        install.interpreter(cfg)
    nowhere.setattr(interpreter, "_PROBE", "")
    with pytest.raises(ConfigError, match=f"{install.LICENCE} is not set"):
        install.interpreter(cfg)
    nowhere.setenv(install.LICENCE, "YES")
    assert install.interpreter(cfg) == sys.executable


def test_another_simulator_is_not_looked_for_in_the_interpreter_of_the_first(tmp_path: Path):
    """As in `eval --checkpoint RUN simulator:mujoco` of a run whose IsaacGym was named on the command line."""
    first = ["exp:g1-29dof", "simulator:isaacgym", "--simulator.config.remote.python=/a/python3.8"]
    saved = compose.save_yaml(compose.load(first), tmp_path / "config.yaml")
    assert compose.load([f"--config={saved}"]).simulator.config.remote.python == "/a/python3.8"
    for name in bridges.SIMULATORS:
        choice = [f"--config={saved}", f"simulator:{name}"]
        assert compose.load(choice).simulator.config.remote.python == ""
        named = compose.load([*choice, "--simulator.config.remote.python=/b/python"])
        assert named.simulator.config.remote.python == "/b/python"


def test_what_the_worker_is_told():
    robot, cfg = robots.load("g1"), isaacsim_config("/a/python", iterations=7)
    spec = specs.spec("isaacsim", cfg, robot, E)
    model = mujoco_model.build(robot, Ground(), cfg)
    heights = np.zeros((3, 4), np.float32)
    ground = Ground(heights, cell=0.25, corner=(1.0, 2.0))
    told = program(cfg, robot, ground, spec, model, "robot.usda", "/a/python")
    settings = told.settings
    root = reader.read(usda(robot))
    # names and order of the file that is spawned, markers apart
    assert settings["body_names"] == list(root.with_schema("PhysicsRigidBodyAPI"))
    assert [robot.body_names[i] for i in settings["bodies"]] == settings["body_names"]
    assert settings["joint_names"] == list(robot.joint_names)
    assert settings["newton"]["iterations"] == 7
    assert settings["ground_vertices"].shape == (16, 3) and settings["ground_triangles"].shape == (18, 3)
    assert settings["ground_cell"] == 0.25
    shapes = specs.param_shapes(E, robot.num_joints, robot.num_bodies)
    for name in ROBOT_PARAMS:
        assert told.arrays[f"params/{name}"] == (shapes[name], np.float32)
    on_a_plane = program(cfg, robot, Ground(), spec, model, "robot.usda", "/a/python")
    assert not any(name.startswith("ground") for name in on_a_plane.settings)
    assert (on_a_plane.settings["lift"], settings["lift"]) == (0.0, BASE_THICKNESS)


def test_ground_is_solid_below_its_lowest_point_which_newton_takes_for_zero():
    heights = np.array([[0.0, 0.2, -0.4], [0.1, 0.0, 0.3]])
    raised, lift = lifted(Ground(heights, cell=0.5, corner=(1.0, 2.0)))
    assert raised.heights is not None and raised.heights.min() == 0.0
    np.testing.assert_allclose(raised.heights[:-1] - lift, heights, atol=1e-12)
    assert raised.heights[:-1].min() == pytest.approx(BASE_THICKNESS) and not raised.heights[-1].any()
    assert (raised.corner, raised.cell) == ((1.0, 2.0), 0.5)


def test_the_worker_reads_no_setting_that_it_is_not_told():
    source = (Path(bridge_module.__file__).with_name("backend.py")).read_text()
    read = set(re.findall(r'(?:cfg|_cfg|settings)\["(\w+)"\]', source))
    robot, cfg = robots.load("k1"), isaacsim_config("/a/python")
    told = program(
        cfg,
        robot,
        Ground(np.zeros((2, 2), np.float32)),
        specs.spec("isaacsim", cfg, robot, E),
        mujoco_model.build(robot, Ground(), cfg),
        "",
        "",
    )
    assert read and read <= told.settings.keys() | {"device"}


def test_a_worker_that_does_not_start_leaves_no_file(nowhere: pytest.MonkeyPatch, tmp_path: Path):
    nowhere.setattr(bridge_module, "interpreter", lambda cfg: sys.executable)
    nowhere.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(StartError):  # this interpreter has no Isaac Lab
        isaacsim.make(isaacsim_config(), robots.load("g1"), Ground(), E)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module, writer", [(bridge_module, "usda"), (isaacgym_bridge, "robot_urdf")])
def test_a_robot_that_cannot_be_described_leaves_no_file(
    module: ModuleType, writer: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    def refuse(*args: object, **kwargs: object) -> str:
        raise ValueError("a tendon")

    monkeypatch.setattr(module, "interpreter", lambda cfg: sys.executable)
    monkeypatch.setattr(module, writer, refuse)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    make = isaacsim.make if module is bridge_module else isaacgym.make
    with pytest.raises(ValueError, match="a tendon"):
        make(isaacsim_config(), robots.load("g1"), Ground(), E)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module, writer", [(bridge_module, "usda"), (isaacgym_bridge, "robot_urdf")])
def test_a_rate_at_which_pd_control_is_unstable_is_said_before_the_worker_starts(
    module: ModuleType, writer: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def stop(*args: object, **kwargs: object) -> str:
        raise ValueError("here")

    monkeypatch.setattr(module, "interpreter", lambda cfg: sys.executable)
    monkeypatch.setattr(module, writer, stop)
    make = isaacsim.make if module is bridge_module else isaacgym.make
    cfg = isaacsim_config()
    for fps, said in ((200, 0), (50, 1)):
        rates = replace(cfg.config.sim, fps=fps, control_decimation=fps // 50)
        with pytest.raises(ValueError, match="here"):
            make(replace(cfg, config=replace(cfg.config, sim=rates)), robots.load("k1"), Ground(), E)
        assert len(caplog.records) == said


def test_both_isaacs_take_the_same_fields_in_the_same_order():
    text = [Path(m.__file__).with_name("backend.py").read_text() for m in (bridge_module, isaacgym_bridge)]
    for name in ("FIELDS = ", "OFFSET, WRITE = "):
        lines = [next(line for line in t.splitlines() if line.startswith(name)) for t in text]
        assert lines[0] == lines[1]
    fields = text[0].partition("FIELDS = ")[2].partition("\n")[0]
    assert fields == str(ROBOT_PARAMS).replace("'", '"')


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch):
    """Bridges to a worker without physics, which this Python runs."""

    def plain(*args: object) -> Program:
        return replace(program(*args), backend=str(Path(__file__).with_name("still_backend.py")))  # type: ignore[arg-type]

    monkeypatch.setattr(bridge_module, "program", plain)
    monkeypatch.setattr(bridge_module, "interpreter", lambda cfg: sys.executable)
    made = []

    def make(**settings: object):
        made.append(isaacsim.make(isaacsim_config(**settings), robots.load("k1"), Ground(), E))
        return made[-1]

    yield make
    for bridge in made:
        bridge.close()


def test_a_report_of_the_conformance_says_the_versions_in_the_worker(
    still, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Of its own Python, which is another than the one that writes the report."""
    monkeypatch.setattr(install, "interpreter", lambda cfg: sys.executable)
    monkeypatch.setattr(conformance, "CHECKS", {"none": lambda subject: []})
    monkeypatch.setattr(program_module, "PACKAGES", ("pytest", "isaacgym"))
    assert doctor.main(["--conformance", "simulator:isaacsim", f"--report={tmp_path / 'report.json'}"]) == 0
    found = json.loads((tmp_path / "report.json").read_text())
    wanted = {"python": found["versions"]["python"], "numpy": np.__version__, "pytest": pytest.__version__}
    assert found["worker"] == wanted
    out = capsys.readouterr().out
    assert all(f"{name} {version}" in out for name, version in wanted.items())


def test_only_newton_has_buffers_of_a_fixed_size(still):
    assert isinstance(still(), Bounded)
    assert not isinstance(still(physics="physx"), Bounded)


def test_full_buffers_are_an_error_that_names_the_setting(still, monkeypatch: pytest.MonkeyPatch):
    bridge = still()
    physics = bridge.init()
    bridge.check(physics)
    text = bridge.usage(physics)
    for part in ("40.5 of 96", "isaacsim.nconmax_per_env", "210 of 300", "isaacsim.njmax_per_env"):
        assert part in text
    for short, words in (
        ({"short_of_rows": 2, "rows": 320}, ["2 environment(s)", "320", "isaacsim.njmax-per-env=400"]),
        ({"short_of_contacts": 3, "contacts": 100.0}, ["100.0", "isaacsim.nconmax-per-env=128"]),
        ({"short_of_cells": 1}, ["horizontal-scale"]),
    ):
        monkeypatch.setenv("STILL_USAGE", json.dumps(short))
        full = still()
        with pytest.raises(CapacityError) as caught:
            full.check(full.init())
        assert all(word in str(caught.value) for word in words) and "\n" not in str(caught.value)


def test_a_body_in_another_place_is_found_beside_an_environment_that_diverged(
    still, monkeypatch: pytest.MonkeyPatch
):
    """At every step, not at the first alone; where all have diverged, there is nothing to compare yet."""
    targets = np.zeros((E, 22), np.float32)
    for offsets, found in (([np.nan, 0.1, 0.1], True), ([np.inf, 0.0, 0.0], False), ([np.nan] * E, False)):
        monkeypatch.setenv("STILL_OFFSET", json.dumps([[[x, 0.0, 0.0]] for x in offsets]))
        bridge = still()
        for _ in range(2):
            physics, _ = bridge.reset(bridge.init(), everyone(E), pose(E, robot=robots.load("k1")))
            if not found:
                bridge.step(physics, targets)
                continue
            with pytest.raises(SimulatorError, match=r"Trunk.*0\.100 m"):
                bridge.step(physics, targets)


def test_what_is_written_is_handed_to_the_simulator_once(still):
    """Resets and pushes between two steps arrive together, at the step."""
    bridge = still()
    physics, _ = bridge.reset(bridge.init(), everyone(E), pose(E, robot=robots.load("k1")))
    targets = np.zeros((E, 22), np.float32)
    physics, _ = bridge.step(physics, targets)
    arrays = bridge.worker.arrays
    assert not arrays["write_root"].any() and not arrays["write_dof"].any()
    velocity = np.ones((E, 3), np.float32)
    physics, _ = bridge.set_root_velocity(physics, only(E, 1), velocity, velocity)
    assert list(np.flatnonzero(arrays["write_root"])) == [1] and not arrays["write_dof"].any()
    physics, _ = bridge.reset(physics, only(E, 2), pose(E, robot=robots.load("k1")))
    assert list(np.flatnonzero(arrays["write_root"])) == [1, 2] and list(
        np.flatnonzero(arrays["write_dof"])
    ) == [2]
    _, sim = bridge.step(physics, targets)
    np.testing.assert_allclose(numpy(sim).root_lin_vel[1], 1.0)
