"""What the command modules settle before JAX is imported: environment variables, in this one place.

Every variable is a default: what the user has set stays.
"""

from __future__ import annotations

import os

DETERMINISTIC = "--xla_gpu_deterministic_ops=true"

EXTRAS = {
    "mujoco_warp": "warp",
    "warp": "warp",
    "torch": "isaac",
    "isaacgym": "isaac",
    "isaacsim": "isaac",
    "wandb": "wandb",
    "tensorboardX": "tensorboard",
}
"""Package that a feature needs -> the extra that installs it."""


def prepare(*, deterministic: bool = False) -> None:
    """Set what JAX and the libraries below it read when they start.

    deterministic: let GPU programs give the same bits every time (``training.deterministic``).
    """
    # XLA and tensorstore log through TensorFlow's C++ logger, which below level 2 (errors) is chatty.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # A simulator on the same GPU needs memory too; JAX would take three quarters of it at the start.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if deterministic and DETERMINISTIC not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {DETERMINISTIC}".strip()


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """One line that says which extra brings the missing package, or None if no extra does."""
    package = (error.name or "").split(".")[0]
    extra = EXTRAS.get(package)
    if extra is None:
        return None
    return (
        f"this needs the extra '{extra}', which is not installed ({error.name} is missing). "
        f"Install it with: pip install 'holosoma-jax[{extra}]'."
    )
