"""The objects that a module makes of a class or a function of somebody else."""

from __future__ import annotations

from typing import Any

import pytest


def recorded(patch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """A list to which everything is appended that `module.name` returns, as long as `patch` lasts."""
    make, made = getattr(module, name), list[Any]()

    def record(*args: Any, **kwargs: Any) -> Any:
        made.append(make(*args, **kwargs))
        return made[-1]

    patch.setattr(module, name, record)
    return made
