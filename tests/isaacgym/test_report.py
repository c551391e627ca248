"""The report that a user with IsaacGym can post, written over the double."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridges import conformance
from bridges.isaacgym import install
from holosoma_jax import doctor


def test_a_report_over_the_double(
    python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The interpreter and the device are named as for `train`, by the flag that the error names."""
    monkeypatch.delenv(install.PYTHON, raising=False)
    monkeypatch.setattr(conformance, "CHECKS", {"quaternion_order": conformance.CHECKS["quaternion_order"]})
    named = f"--simulator.config.remote.python={python}"
    command = ["--conformance", "simulator:isaacgym", "exp:k1-22dof", f"--report={tmp_path / 'report.json'}"]
    assert doctor.main(command) == 2
    assert named.partition("=")[0] in capsys.readouterr().err
    assert doctor.main([*command, named, "--simulator.config.sim.physx.device=cpu"]) == 0
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["results"] and all(row["passed"] for row in found["results"])
    assert (found["robot"], found["settings"]["sim"]["physx"]["device"]) == ("k1", "cpu")
    assert python not in json.dumps(found) and "remote" not in found["settings"]
