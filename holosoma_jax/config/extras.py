"""The optional packages: which extra installs each of them, and the line that says so.

`pyproject.toml` declares the extras; a test compares this table with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from holosoma_jax.config.errors import ConfigError

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "warp": ("warp-lang", "mujoco-warp"),
    "isaac": ("torch",),
    "wandb": ("wandb",),
    "tensorboard": ("tensorboardX",),
    "notebook": ("ipykernel", "ipywidgets", "nbclient"),
}
"""Extra -> the packages that it installs, by their names in the package index."""
VENDOR: Mapping[str, str] = {
    "isaacgym": "NVIDIA's Isaac Gym Preview 4",
    "isaacsim": "NVIDIA's Isaac Sim",
}
"""Module -> the product that brings it; no extra does."""
_MODULES = {"warp-lang": "warp", "mujoco-warp": "mujoco_warp"}
"""Package -> the module to import, where the names differ."""


def extra_of(module: str) -> str | None:
    """The extra that installs `module` or the package it is part of; None if no extra does."""
    top = module.split(".")[0]
    return next(
        (extra for extra, names in EXTRAS.items() if top in {_MODULES.get(name, name) for name in names}),
        None,
    )


def is_installed(module: str) -> bool:
    """Whether `module` can be imported; imports nothing but its parent packages."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def pip_install(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'holosoma-jax[{extra}]'"


def explain_missing(feature: str, module: str) -> str | None:
    """One line: `feature` needs `module`, and how to install it. None if this table does not know `module`."""
    top = module.split(".")[0]
    if top in VENDOR:
        return f"{feature} needs {VENDOR[top]}, which is not installed ({module} is missing)."
    extra = extra_of(module)
    if extra is None:
        return None
    return (
        f"{feature} needs the extra '{extra}', which is not installed ({module} is missing). "
        f"Install it with: {pip_install(extra)}."
    )


def require(feature: str, module: str, otherwise: str = "") -> None:
    """Check that the optional `module` can be imported.

    Args:
      feature: what needs it, as the user named it.
      module: a module of `EXTRAS` or `VENDOR`.
      otherwise: what to do instead of installing it, a sentence.

    Raises:
      ConfigError: it is not installed; names the extra.
    """
    if not is_installed(module):
        raise ConfigError(f"{explain_missing(feature, module)} {otherwise}".rstrip())
