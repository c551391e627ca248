"""Training, evaluation and export of humanoid policies as pure jitted JAX functions.

Importing the package loads nothing heavy; import the part you need, e.g. `holosoma_jax.learn.ppo`. It sets one
environment variable, unless you have: a simulator on the same GPU needs memory too, and JAX would take three
quarters of it when it computes for the first time.
"""

from __future__ import annotations

import os

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

__version__ = "0.1.0"
