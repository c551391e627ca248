"""Facts of this machine: usable CPU cores, host memory, the cache folder, the environment of child processes."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

from holosoma_jax.files import expanded

CACHE_VARIABLE = "HOLOSOMA_CACHE_DIR"
"""Environment variable: folder of compiled programs and downloads. Empty: compiled programs are not kept."""
_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """CPU cores that this process may use: those of its affinity mask, at most its container's CPU quota.

    A quota of 1.5 cores counts as 2. Where the system knows neither (macOS), all cores count.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min([cores, *(max(1, math.ceil(quota)) for quota in _cpu_quotas())])


def has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 factors itself: AVX512-BF16 or AMX, as Linux states it."""
    try:
        flags = re.search(r"^flags\s*:(.*)$", (_PROC / "cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return False
    return flags is not None and not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags[1].split())


def total_memory() -> int | None:
    """Bytes of the machine's memory, at most the container's limit; None where the system does not say."""
    limits = [limit for limit, _ in _memory_limits()]
    return min([size for size in (_physical_memory(), *limits) if size is not None], default=None)


def available_memory() -> int | None:
    """Bytes that can be allocated without swapping; None where the system does not say.

    Linux states it. macOS does not; there it is all of the machine's memory.
    """
    stated = _meminfo("MemAvailable")
    host = _physical_memory() if stated is None else stated
    left = [max(0, limit - used) for limit, used in _memory_limits()]
    return min([size for size in (host, *left) if size is not None], default=None)


def cache_folder() -> Path | None:
    """The folder of compiled programs and downloads; it need not exist. None for a user without a home."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return expanded(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holosoma_jax"
    except RuntimeError:  # no HOME, and no entry in the system's list of users
        return None


def child_environment() -> dict[str, str]:
    """The environment of a child process that imports this package from where this process did."""
    root = str(Path(__file__).resolve().parents[1])
    search = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": search}


def _physical_memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf; others lack a name
        return None


def _meminfo(key: str) -> int | None:
    """Bytes of a row of Linux's ``/proc/meminfo``."""
    try:
        lines = (_PROC / "meminfo").read_text().splitlines()
        return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{key}:")), None)
    except (OSError, ValueError, IndexError):
        return None


def _groups(controller: str) -> Iterator[Path]:
    """Folders of this process' control group and of those around it, each of which may set a limit.

    Version 2 has one tree; version 1 (Docker on Ubuntu 20.04, say) has one for each controller. Inside a
    container only the container's own group is visible, as the root.
    """
    try:
        lines = (_PROC / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        root = _CGROUP / controller if names else _CGROUP
        group = root / path.lstrip("/")
        while True:
            if group.is_dir():
                yield group
            if group == root or root not in group.parents:
                break
            group = group.parent


def _numbers(path: Path) -> list[int]:
    """The integers in a small file; 'max', which stands for no limit, is left out."""
    try:
        return [int(word) for word in path.read_text().split() if word.lstrip("-").isdigit()]
    except OSError:
        return []


def _cpu_quotas() -> Iterator[float]:
    """Cores that each control group allows on average."""
    for group in _groups("cpu"):
        both = _numbers(group / "cpu.max") or [
            *_numbers(group / "cpu.cfs_quota_us"),
            *_numbers(group / "cpu.cfs_period_us"),
        ]
        if len(both) == 2 and min(both) > 0:  # version 1 writes -1 for no limit
            yield both[0] / both[1]


def _memory_limits() -> Iterator[tuple[int, int]]:
    """(limit, use) in bytes of each control group that has a limit; what caches would give back is not used."""
    for group in _groups("memory"):
        for limit_file, use_file, reclaimable in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit = _numbers(group / limit_file)
            if len(limit) == 1:
                used = (_numbers(group / use_file) or [0])[0] - _stat(group / "memory.stat", reclaimable)
                yield limit[0], max(0, used)


def _stat(path: Path, key: str) -> int:
    try:
        rows = dict(line.split() for line in path.read_text().splitlines())
        return int(rows.get(key, 0))
    except (OSError, ValueError):
        return 0
