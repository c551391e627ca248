"""The wheel holds what the repository holds: presets and robot files are found once installed."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA = {".yaml", ".xml", ".urdf", ".usda", ".npz", ".json"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the contents of the built wheel, as pip would lay them out."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def test_every_data_file_is_in_the_wheel(installed: Path) -> None:
    def data(folder: Path) -> set[Path]:
        return {path.relative_to(folder) for path in folder.rglob("*") if path.suffix in DATA}

    assert data(ROOT / "configs")
    assert data(installed / "holosoma_jax" / "configs") == data(ROOT / "configs")
    for room in ("robots", "motion"):
        assert data(ROOT / "holosoma_jax" / room)
        assert data(installed / "holosoma_jax" / room) == data(ROOT / "holosoma_jax" / room)
    assert data(installed / "holosoma_jax" / "pretrained") == data(ROOT / "holosoma_jax" / "pretrained")


def test_presets_and_robots_load_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = (
        "import holosoma_jax; print(holosoma_jax.__file__)\n"
        "from holosoma_jax import robots; from holosoma_jax.config import compose\n"
        "print(robots.load(compose.load(['exp:g1-29dof']).robot.asset).mjcf)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = [Path(line) for line in done.stdout.splitlines()]
    assert all(path.is_relative_to(installed) for path in found) and len(found) == 2
