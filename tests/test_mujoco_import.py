"""A ``MUJOCO_GL`` with which MuJoCo cannot be imported is one line wherever the import happens."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from holosoma_jax import opengl

ROOT = Path(__file__).resolve().parents[1]
FIRST = (
    *(
        "robots",
        "motion.clip",
        "motion.generation",
        "experiment",
        "envs",
        "policy.session",
        "training.session",
    ),
    *("evaluation.session", "viewer.replay_session"),
)
"""Of holosoma_jax: what notebooks and commands may import first."""
BRIDGES = ("mujoco", "mjwarp", "conformance")


def child(*argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own; an empty value takes the variable out of its environment."""
    env = {k: v for k, v in (os.environ | environ).items() if v or k not in environ}
    return subprocess.run([sys.executable, *argv], cwd=ROOT, env=env, capture_output=True, text=True)


def without_library(tmp_path: Path) -> str:
    """PYTHONPATH on which PyOpenGL fails as it does where a backend's library is not installed."""
    (tmp_path / "OpenGL").mkdir()
    (tmp_path / "OpenGL" / "__init__.py").write_text("None.glGetError\n")
    return os.pathsep.join([str(tmp_path), str(ROOT)])


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("train", ["exp:g1-29dof"]),
        ("eval", ["--checkpoint=pretrained:g1-29dof"]),
        ("export", ["--checkpoint=pretrained:g1-29dof"]),
        ("replay", ["exp:g1-29dof-wbt"]),
        ("motion", ["inspect", "squat.npz"]),
        ("doctor", ["--conformance=simulator:mujoco"]),
    ],
)
def test_commands_end_with_the_line_and_code_2(name: str, argv: list[str]):
    done = child("-m", f"holosoma_jax.{name}", *argv, MUJOCO_GL="bogus")
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: MUJOCO_GL: got 'bogus'") and "unset MUJOCO_GL" in line
    assert all(backend in line for backend in opengl.candidates())


def test_whoever_imports_a_part_gets_the_line_as_an_exception():
    names = [*(f"holosoma_jax.{name}" for name in FIRST), *(f"bridges.{name}" for name in BRIDGES)]
    code = (
        "import importlib\n"
        "from holosoma_jax.config.errors import ConfigError\n"
        f"for name in {names}:\n"
        "    try:\n        importlib.import_module(name)\n"
        "    except ConfigError as error:\n        print(name, error)\n"
    )
    done = child("-c", code, MUJOCO_GL="bogus")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == names
    assert all("MUJOCO_GL: got 'bogus'" in line for line in lines)


@pytest.mark.skipif(platform.system() != "Linux", reason="EGL and OSMesa are Linux's")
@pytest.mark.parametrize(("backend", "package"), [("osmesa", "libosmesa6"), ("EGL ", "libegl1")])
def test_a_backend_without_its_library_names_the_package(tmp_path: Path, backend: str, package: str):
    path = without_library(tmp_path)
    done = child("-c", "from holosoma_jax import robots", MUJOCO_GL=backend, PYTHONPATH=path)
    line = done.stderr.splitlines()[-1]
    assert "ConfigError: MUJOCO_GL" in line and f"'{backend.lower().strip()}'" in line
    assert "glGetError" in line and f"apt-get install {package}" in line and "unset MUJOCO_GL" in line


@pytest.mark.parametrize(
    "environ",
    [{"MUJOCO_GL": "off"}, {"MUJOCO_GL": ""}, {"MUJOCO_GL": "", "PYOPENGL_PLATFORM": "bogus"}],
    ids=lambda environ: " ".join(f"{k}={v}" for k, v in environ.items()),
)
def test_nothing_is_asked_of_a_library_that_nobody_chose(tmp_path: Path, environ: dict[str, str]):
    path = without_library(tmp_path)
    done = child("-c", "from holosoma_jax import robots", PYTHONPATH=path, **environ)
    assert done.returncode == 0, done.stderr


def test_another_failure_of_the_import_stays_what_it_is(tmp_path: Path):
    (tmp_path / "mujoco.py").write_text("raise RuntimeError('another')\n")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = child("-c", "from holosoma_jax import robots", MUJOCO_GL="bogus", PYTHONPATH=path)
    assert done.stderr.splitlines()[-1] == "RuntimeError: another"


def test_doctor_finds_it():
    code = "from holosoma_jax.diagnostics import diagnosis; print(diagnosis.mujoco_gl())"
    assert "MUJOCO_GL: got 'bogus'" in child("-c", code, MUJOCO_GL="bogus").stdout
    assert child("-c", code, MUJOCO_GL="off").stdout == "None\n"
