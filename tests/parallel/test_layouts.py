"""Processes x devices: however the same environments are laid out, the same is learned.

That an update from pooled rows on several devices equals that of one device on all rows is tested in
`tests/learn/test_ppo_parallel.py` and `tests/learn/test_fast_sac_parallel.py`.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support import layout

Apart = Callable[[str, int, int], tuple[dict[str, np.ndarray], Path]]


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory, program_cache: str) -> Apart:
    """A kind of run in so many processes of so many devices, once for all tests: what it came to, and its folder."""

    @functools.cache
    def run(kind: str, processes: int, devices: int) -> tuple[dict[str, np.ndarray], Path]:
        folder = tmp_path_factory.mktemp("apart")
        return layout.spread(kind, processes, devices, folder, program_cache), folder / "run"

    return run


def assert_equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """Up to the order in which four numbers are added; contacts magnify that in the physics."""
    assert one.keys() == other.keys()
    for name, x in one.items():
        rtol, atol = (1e-3, 1e-4) if name.startswith("physics") else (1e-4, 1e-5)
        atol *= max(1.0, float(np.abs(x).max(initial=0.0)))  # accelerations reach thousands of rad/s^2
        np.testing.assert_allclose(x, other[name], rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(layout.KINDS))
@pytest.mark.parametrize(("processes", "devices"), [(2, 1), (2, 2)])
def test_processes_and_devices_are_interchangeable(
    tmp_path: Path, apart: Apart, kind: str, processes: int, devices: int
) -> None:
    if kind.startswith("mjwarp"):
        pytest.importorskip("mujoco_warp")
    together = layout.train(kind, processes * devices, tmp_path / "together")
    assert_equal(together, apart(kind, processes, devices)[0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ppo", "fast_sac"])
def test_a_run_of_two_processes_continues_on_two_devices_of_one(
    tmp_path: Path, apart: Apart, kind: str
) -> None:
    half = layout.KINDS[kind][1]["num_learning_iterations"]
    budget = {"num_learning_iterations": 2 * half}
    run = shutil.copytree(apart(kind, 2, 1)[1], tmp_path / "run")
    continued = layout.train(kind, 2, run, run / "checkpoints" / str(half), **budget)
    straight = layout.train(kind, 2, tmp_path / "straight", **budget)
    assert_equal(straight, continued)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mjwarp_ppo", "fast_sac", "mjwarp_fast_sac"])
def test_a_run_on_two_devices_resumes_bit_for_bit(tmp_path: Path, kind: str) -> None:
    if kind.startswith("mjwarp"):
        pytest.importorskip("mujoco_warp")
    half = layout.KINDS[kind][1]["num_learning_iterations"] // 2
    options = {"save_interval": half, "save_buffer": True} if "sac" in kind else {"save_interval": half}
    straight = layout.train(kind, 2, tmp_path / "straight", **options)
    parts = shutil.copytree(tmp_path / "straight", tmp_path / "parts")
    shutil.rmtree(parts / "checkpoints" / str(2 * half))
    resumed = layout.train(kind, 2, parts, parts / "checkpoints" / str(half), **options)
    np.testing.assert_equal(resumed, straight)
