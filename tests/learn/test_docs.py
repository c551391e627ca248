"""The example of docs/ppo.md runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax.numpy as jnp


def test_example() -> None:
    text = (Path(__file__).parents[2] / "docs" / "ppo.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/ppo.md", "exec"), names)
    spread = names["states"].actor.params.std
    assert spread.shape == (4, 3) and jnp.all(jnp.diff(spread.mean(-1)) > 0)
    assert names["metrics"]["Loss/KL"].shape == (4,)
