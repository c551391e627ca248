"""How much memory a device has left, the error for what does not fit, and what the host's allocator gives back."""

from __future__ import annotations

import ctypes
import gc
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


def give_back() -> None:
    """Return to the system what Python and the C library keep of freed memory.

    Tracing, compiling and exporting leave hundreds of megabytes behind that nothing uses. glibc keeps them for
    later; other C libraries are left alone.
    """
    gc.collect()
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # macOS and musl have none; Windows takes no None
        return
    trim(ctypes.c_size_t(0))
