"""How much memory a device has left, and the error for what does not fit, raised before it is allocated."""

from __future__ import annotations

from typing import Any

from holosoma_jax import machine
from holosoma_jax.config.errors import ConfigError

GB = 1e9


def available(device: Any) -> int | None:
    """Bytes that may still be allocated on `device`; None where nobody says.

    Of an accelerator it is the rest of the share that JAX may use. Of a CPU it is
    `machine.available_memory`.
    """
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        limit = stats.get("bytes_limit")
        return None if limit is None else limit - stats.get("bytes_in_use", 0)
    return machine.available_memory()


def require(needed: int, device: Any, what: str, remedy: str) -> None:
    """Raise ConfigError, naming `what` and the `remedy`, if `needed` bytes do not fit on `device`."""
    free = available(device)
    if free is not None and needed > free:
        raise ConfigError(
            f"{what} needs {needed / GB:.2f} GB, {device.platform}:{device.id} has {free / GB:.2f} GB left. "
            f"{remedy}"
        )
