"""Training, evaluation and export of humanoid policies as pure jitted JAX functions.

Importing the package loads nothing heavy; import the part you need, e.g. `holosoma_jax.learn.ppo`.
"""

from __future__ import annotations

__version__ = "0.1.0"
