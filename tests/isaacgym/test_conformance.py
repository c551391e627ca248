"""The bridge to IsaacGym, over the double, against every check; see `bridges.conformance`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridges import conformance
from bridges.conformance import CHECKS, Subject
from holosoma_jax.config import compose
from tests.support import isaacgym_python


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_bridge_conforms(subject: Subject, check: conformance.Check):
    results = check(subject)
    assert results
    assert [str(result) for result in results if not result.passed] == []


@pytest.mark.slow
@pytest.mark.parametrize("robot", ["g1-29dof", "t1-29dof", "k1-22dof"])
def test_the_robots_conform(tmp_path: Path, robot: str):
    python = isaacgym_python.write(tmp_path, "3.8")
    settings = [f"--simulator.config.remote.python={python}", "--simulator.config.sim.physx.device=cpu"]
    results = conformance.run(compose.load([f"exp:{robot}", "simulator:isaacgym", *settings]))
    assert len(results) > 50
    assert [str(result) for result in results if not result.passed] == []
