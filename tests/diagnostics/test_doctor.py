"""`python -m holosoma_jax.doctor`: facts for people and for programs."""

from __future__ import annotations

import json
import re
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import pytest

from holosoma_jax import __version__
from holosoma_jax import doctor as command
from holosoma_jax.diagnostics import diagnosis
from holosoma_jax.render import gl
from tests.support.messages import tells


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenGL as on a server: EGL draws, nothing else does."""
    monkeypatch.setattr(gl, "probe", lambda name: None if name == "egl" else "no display\n" + "x" * 300)


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    try:
        code = command.main(list(argv))
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    return code, *capsys.readouterr()


@pytest.mark.usefixtures("probed")
def test_json_holds_everything(capsys: pytest.CaptureFixture[str]):
    code, out, err = run(capsys, "--json", "--smoke=False")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["versions"]["holosoma_jax"] == __version__
    assert found["versions"]["jax"] == jax.__version__
    assert all(found["versions"].values())  # the core is installed
    assert found["machine"]["cores"] >= 1
    assert 0 < found["machine"]["memory_available_bytes"] <= found["machine"]["memory_bytes"]
    assert len(found["devices"]) == jax.local_device_count()
    assert found["simulators"]["mujoco"] == {
        "installed": True,
        "bridge": True,
        "from": "part of every installation",
        "not_run": "",
    }
    assert "PhysX" in found["simulators"]["isaacsim"]["not_run"]
    assert found["opengl"]["egl"] is None and len(found["opengl"]["glfw"]) <= 90
    assert "smoke" not in found


@pytest.mark.usefixtures("probed")
def test_text_names_what_is_missing_and_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    real = diagnosis.version

    def without_wandb(name: str) -> str:
        if name == "wandb":
            raise PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(diagnosis, "version", without_wandb)
    code, out, err = run(capsys, "--smoke=False")
    assert (code, err) == (0, "")
    text = " ".join(out.split())
    for heading in ("versions", "machine", "devices", "extras", "simulators", "OpenGL", "smoke run"):
        assert f"\n{heading} " in f"\n{out}"
    assert tells(text, "wandb -- ... pip install 'holosoma-jax[wandb]'")
    assert "mujoco ok ready" in text and "egl ok draws" in text
    assert "training left out" in text


def test_the_page_on_simulators_says_the_same_of_what_was_not_run():
    page = (Path(__file__).parents[2] / "docs" / "simulators.md").read_text()
    stated = re.findall(r"^\| `(\w+)` \|.*\*\*(.+) have not been run by us\*\*", page, re.MULTILINE)
    assert dict(stated) == diagnosis.NOT_RUN


HEALTHY: dict[str, Any] = {
    "nvidia": None,
    "devices": [{"platform": "cpu"}],
    "mujoco_gl": None,
    "opengl": {"egl": None},
    "machine": {"memory_available_bytes": 8e9, "disk_free_bytes": 8e9},
    "smoke": {"ok": True},
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"nvidia": "NVIDIA H200"}, "holosoma-jax[cuda12]"),
        ({"opengl": {"egl": "no", "osmesa": "no"}}, "apt-get install libosmesa6"),
        ({"machine": {"memory_available_bytes": 1e9, "disk_free_bytes": 8e9}}, "--training.num-envs"),
        ({"machine": {"memory_available_bytes": 8e9, "disk_free_bytes": 1e9}}, "--training.output-dir"),
        ({"mujoco_gl": "MUJOCO_GL: got 'bogus'"}, "MUJOCO_GL: got 'bogus'"),
        ({"smoke": {"ok": False, "error": "boom"}}, "the smoke run failed: boom"),
    ],
)
def test_advice(change: dict[str, Any], expected: str | None):
    said = diagnosis.advice(HEALTHY | change)
    assert said == [] if expected is None else len(said) == 1 and expected in said[0]


def test_a_driver_that_hangs_or_fails_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(diagnosis.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(
        diagnosis.subprocess, "run", lambda *a, **k: SimpleNamespace(returncode=9, stdout="x")
    )
    assert diagnosis.nvidia() is None
    good = SimpleNamespace(returncode=0, stdout="NVIDIA H200, 580.1, 143771 MiB\n")
    monkeypatch.setattr(diagnosis.subprocess, "run", lambda *a, **k: good)
    assert diagnosis.nvidia() == "NVIDIA H200, 580.1, 143771 MiB"


def test_a_failing_smoke_run_says_why_and_fails(monkeypatch: pytest.MonkeyPatch, tmp_path, capsys):
    monkeypatch.setattr(diagnosis, "SMOKE", ("exp:nothing",))
    facts = diagnosis.smoke()
    assert not facts["ok"] and "there is no such preset" in facts["error"]
    monkeypatch.setattr(diagnosis, "opengl", lambda: {"egl": None})
    assert run(capsys, "--json")[0] == 1


def test_an_unusable_mujoco_gl_is_a_finding_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    environs: list[dict[str, str]] = []

    def trained(command: list[str], *, env: dict[str, str], **options: Any) -> SimpleNamespace:
        environs.append(env)
        (folder,) = (a.removeprefix("--training.output-dir=") for a in command if "output-dir" in a)
        Path(folder, "metrics.jsonl").write_text('{"Perf/total_fps": 1.0}')
        return SimpleNamespace(returncode=0, stdout="", stderr="")

    monkeypatch.setenv("MUJOCO_GL", "bogus")
    monkeypatch.setattr(diagnosis, "mujoco_gl", lambda: "MUJOCO_GL: got 'bogus'")
    monkeypatch.setattr(diagnosis, "opengl", lambda: {"egl": None})
    monkeypatch.setattr(diagnosis.subprocess, "run", trained)
    code, out, _ = run(capsys)
    assert code == 1 and tells(out, "\n- ... MUJOCO_GL: got 'bogus'")
    assert "smoke run failed" not in out and "MUJOCO_GL" not in environs[-1]


@pytest.mark.slow
def test_the_smoke_run_trains():
    facts = diagnosis.smoke()
    assert facts["ok"], facts
    assert facts["env_steps_per_s"] > 0 and facts["seconds"] > 0


@pytest.mark.slow
def test_conformance_of_mujoco(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    report = tmp_path / "mujoco.json"
    code, out, _ = run(capsys, "--conformance", "simulator:mujoco", "--json", f"--report={report}")
    found, written = json.loads(out), json.loads(report.read_text())
    assert written["results"] == found["results"] and written["machine"]["cores"] > 0
    assert code == 0 and found["simulator"] == "mujoco"
    assert found["results"] and all(row["passed"] for row in found["results"])


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--jsn"], "Did you mean --json?"),
        (["--smoke=perhaps"], "--smoke: ... 'perhaps' ... true or false"),
        (["--conformance", "simulator:mujocco"], "Did you mean 'mujoco'?"),
        (["--conformance", "simulator:isaacgym"], "ISAACGYM_PYTHON"),
        (["--conformance", "simulator:isaacsim"], "ISAACSIM_PYTHON is /no/python"),
        (
            ["--conformance", "simulator:isaacgym", "--simulator.config.remote.python=/no/p"],
            "is /no/p, which",
        ),
        (["--conformance", "simulator:mujoco", "--simulator.config.sim.fsp=100"], "sim.fps"),
        (["--conformance", "simulator:mujoco", "simulator:mjwarp"], "simulator"),
        (["--conformance", "simulator:mujoco", "exp:g1"], "g1-29dof"),
        (["--conformance", "simulator:mujoco", "--training.num-envs=2"], "--training.num-envs: "),
        (["--conformance", "simulator:mujoco", "terrain:terrain-locomotion-plane"], "terrain:"),
        (["--simulator.config.sim.fps=100"], "--simulator.config.sim.fps: "),
        (
            ["--conformance", "simulator:mujoco", "--report=/no/where/a.json"],
            "--report: got '/no/where/a.json'",
        ),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, argv: list[str], expected: str
):
    monkeypatch.delenv("ISAACGYM_PYTHON", raising=False)
    monkeypatch.setenv("ISAACSIM_PYTHON", "/no/python")
    code, _, err = run(capsys, *argv)
    assert code == 2 and len(err.strip().splitlines()) == 1
    assert tells(err, expected)
