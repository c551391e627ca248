"""Every bridge that can run here against every check; see `bridges.conformance`."""

from __future__ import annotations

import pytest

from bridges import conformance
from bridges.conformance import CHECKS, Subject
from holosoma_jax.config import compose


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
def test_bridge_conforms(subject: Subject, check: conformance.Check):
    results = check(subject)
    assert results
    assert [str(result) for result in results if not result.passed] == []


@pytest.mark.slow
@pytest.mark.parametrize("simulator", ["mujoco", "mjwarp"])
def test_the_g1_conforms(simulator: str):
    if simulator == "mjwarp":
        pytest.importorskip("mujoco_warp")
    results = conformance.run(compose.load(["exp:g1-29dof", f"simulator:{simulator}"]))
    assert len(results) > 50
    assert [str(result) for result in results if not result.passed] == []
