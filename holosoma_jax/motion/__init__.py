"""Motion clips: reading the files that circulate, recognising their order, writing, and making our own.

What the package offers is imported when it is first used, so that ``--help`` need not wait for MuJoCo.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holosoma_jax.motion.batch import Clips, Frames, concatenate
    from holosoma_jax.motion.clip import Clip, Provenance
    from holosoma_jax.motion.kinematics import Skeleton
    from holosoma_jax.motion.library import shipped
    from holosoma_jax.motion.reading import read, read_all
    from holosoma_jax.motion.writing import write

__all__ = [
    "Clip", "Clips", "Frames", "Provenance", "Skeleton", "concatenate", "read", "read_all", "shipped", "write",
]  # fmt: skip

_MODULES = {
    "batch": ("Clips", "Frames", "concatenate"),
    "clip": ("Clip", "Provenance"),
    "kinematics": ("Skeleton",),
    "library": ("shipped",),
    "reading": ("read", "read_all"),
    "writing": ("write",),
}
"""Module -> what it holds of `__all__`."""


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
