"""How much memory a device has left, and refusing what cannot fit before it is asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from holosoma_jax.config.errors import ConfigError

GB = 1e9
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup/memory.max")


def available(device: Any) -> int | None:
    """Bytes that may still be allocated on `device`; None where nobody says.

    An accelerator is asked for the rest of the share that JAX may use of it. On a CPU it is what the
    system could hand out (Linux) or all it has (elsewhere), at most the container's limit.
    """
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        limit = stats.get("bytes_limit")
        return None if limit is None else limit - stats.get("bytes_in_use", 0)
    found = [size for size in (_system(), _container()) if size is not None]
    return min(found, default=None)


def require(needed: int, device: Any, what: str, remedy: str) -> None:
    """Raise ConfigError, naming `what` and the `remedy`, if `needed` bytes do not fit on `device`."""
    free = available(device)
    if free is not None and needed > free:
        raise ConfigError(
            f"{what} needs {needed / GB:.2f} GB, {device.platform}:{device.id} has {free / GB:.2f} GB left. "
            f"{remedy}"
        )


def _system() -> int | None:
    """What the system could hand out without swapping; where it does not say, all its memory."""
    try:
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _container() -> int | None:
    """The limit of this process' control group, if there is one."""
    try:
        return int(_CGROUP.read_text())
    except (OSError, ValueError):  # no such file, or 'max'
        return None
