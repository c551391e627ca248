"""The examples of docs/ppo.md and docs/fast_sac.md run, and show what they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest


def run(page: str) -> dict[str, Any]:
    """What the page's Python blocks, one after the other, leave behind."""
    text = (Path(__file__).parents[2] / "docs" / page).read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    names: dict[str, Any] = {}
    exec(compile(code, f"docs/{page}", "exec", dont_inherit=True), names)
    return names


def test_ppo() -> None:
    names = run("ppo.md")
    spread = names["states"].actor.params.std
    assert spread.shape == (4, 3) and jnp.all(jnp.diff(spread.mean(-1)) > 0)
    assert names["metrics"]["Loss/KL"].shape == (4,)


@pytest.mark.slow
def test_fast_sac() -> None:
    names = run("fast_sac.md")
    assert names["rewards"].shape == (4, 300)
    # every seed, and each in its own way, answers with half of what it is shown
    np.testing.assert_allclose(names["answers"][..., 0], [[-0.5, 0.5]] * 4, atol=0.15)
    assert len(np.unique(names["answers"])) == 8
    assert names["metrics"]["Loss/apart"] > 0
