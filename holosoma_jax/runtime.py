"""Environment variables of the command modules, set in this one place and before JAX is imported.

Everything here is a default: what the user has set stays.
"""

from __future__ import annotations

import os

DETERMINISTIC = "--xla_gpu_deterministic_ops=true"


def prepare(*, deterministic: bool = False) -> None:
    """Set what JAX and the libraries below it read when they start.

    deterministic: let GPU programs give the same bits every time (``training.deterministic``).
    """
    # TensorFlow's C++ logging, which XLA and tensorstore use, is chatty below level 2 (warnings).
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # The simulators share the GPU; JAX would take three quarters of its memory at start.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if deterministic and DETERMINISTIC not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {DETERMINISTIC}".strip()
