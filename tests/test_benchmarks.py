"""All benchmarks in one go, and what is called a regression between two of their files."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from benchmarks import all as every
from benchmarks import compare


def written(folder: Path, name: str, values: list[float]) -> Path:
    """A file of `benchmarks.all` with one ratio."""
    file = folder / f"{name}.json"
    runs = {"collection": {"times_as_quick": {"raw": values}}}
    file.write_text(json.dumps({"machine": "a machine", "commit": name, "runs": runs}))
    return file


@pytest.mark.parametrize(
    ("new", "verdict"),
    [
        ([0.81, 0.80, 0.79, 0.80, 0.80], ""),
        ([0.79, 0.79, 0.79, 0.79, 0.79], ""),  # 1.25 %: below what is called a change
        ([0.65, 0.64, 0.63, 0.64, 0.64], "slower"),
        ([0.96, 0.96, 0.95, 0.97, 0.96], "quicker"),
        ([0.90, 0.40, 0.70, 0.55, 1.00], ""),  # 12 % less, by rounds that differ by more
    ],
)
def test_a_change_is_called_one_beyond_noise(new, verdict, tmp_path, monkeypatch, capsys):
    old = written(tmp_path, "old", [0.80, 0.81, 0.79, 0.80, 0.80])
    monkeypatch.setattr(sys, "argv", ["compare", str(old), str(written(tmp_path, "new", new))])
    assert compare.main() == (verdict == "slower")
    line = capsys.readouterr().out.splitlines()[-1].rstrip()
    assert line.endswith(verdict or "%")


def test_the_noise_of_a_median_is_that_of_normal_samples():
    # 1, 2, ..., 9: median 5, MAD 2; 1.4826 * 1.2533 = 1.858.
    assert compare.noise(list(map(float, range(1, 10)))) == pytest.approx(1.858 * 2.0 / 3.0 / 5.0, rel=2e-3)


def test_a_peer_that_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert every.execute(every.RUNS["PPO update"]) == {"skipped": "not installed: torch, rsl_rl"}


def test_what_a_failed_benchmark_printed_is_kept():
    found = every.execute(every.Run(("environment", "--num-envs=none")))
    assert "invalid int value" in str(found["failed"])
