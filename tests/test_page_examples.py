"""The Python blocks of pages that build a run: as they stand there, one after the other, with fewer steps."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from holosoma_jax.viewer import opening

DOCS = Path(__file__).resolve().parents[1] / "docs"


def run(page: str, *shorter: tuple[str, str]) -> dict[str, Any]:
    """What the blocks of docs/`page` leave behind, with each first text of `shorter` replaced by its second."""
    code = "\n".join(
        re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    )
    for text, instead in shorter:
        assert text in code
        code = code.replace(text, instead)
    scope: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, str(DOCS / page), "exec", dont_inherit=True), scope)
    return scope


def test_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope = run("configuration.md")
    view = SimpleNamespace(base_height=np.float32([0.5, 1.0]), base_ang_vel=np.ones((2, 3), np.float32))
    np.testing.assert_allclose(scope["torso_height"](view, target=0.75), [0.0625, 0.0625])
    assert scope["torso_tilt_rate"](view, scale=2.0).tolist() == [[2.0] * 3] * 2


@pytest.mark.slow
def test_evaluation() -> None:
    scope = run("evaluation.md", ("steps=500", "steps=3"))
    assert scope["command"].shape == (16, 3)
    assert scope["scores"].survival_rate == 1.0
    scope["parts"].bridge.close()


@pytest.mark.slow
def test_mjwarp() -> None:
    pytest.importorskip("mujoco_warp")
    scope = run("mjwarp.md", ("(25, 4, 1)", "(3, 4, 1)"))
    path = np.asarray(scope["path"])
    assert path.shape == (3, 4, 3)
    assert (np.diff(path[..., 2], axis=0) < 0.0).all()  # they fall
    scope["bridge"].close()


@pytest.mark.slow
def test_viewer(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    window = SimpleNamespace(show=shown.append, close=lambda: shown.append("closed"))
    monkeypatch.setattr(opening, "open_viewer", lambda *_, **__: window)
    run("viewer.md", ("range(500)", "range(3)"))["parts"].bridge.close()
    *states, end = shown
    assert [state.root_pos.shape for state in states] == [(4, 3)] * 3 and end == "closed"
