from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from holosoma_jax import machine, memory
from holosoma_jax.config.errors import ConfigError


def test_a_cpu_has_what_the_machine_has_available(monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 123)
    assert memory.available(jax.local_devices()[0]) == 123


def accelerator(stats) -> SimpleNamespace:
    return SimpleNamespace(platform="gpu", id=1, memory_stats=lambda: stats)


def test_an_accelerator_has_the_rest_of_its_share():
    assert memory.available(accelerator({"bytes_limit": 10, "bytes_in_use": 4})) == 6
    assert memory.available(accelerator(None)) is None  # some do not count


def test_what_does_not_fit_is_refused_in_one_line():
    gpu = accelerator({"bytes_limit": 4_000_000_000, "bytes_in_use": 1_500_000_000})
    memory.require(2_500_000_000, gpu, "the replay buffer", "Take less.")
    memory.require(10**15, accelerator(None), "the replay buffer", "Take less.")  # nobody knows
    with pytest.raises(ConfigError) as error:
        memory.require(7_330_000_000, gpu, "the replay buffer", "Take less.")
    line = str(error.value)
    assert line.startswith("the replay buffer ") and line.endswith(" Take less.")
    assert all(part in line for part in ("7.33 GB", "gpu:1", "2.50 GB"))


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries keep no freed memory to return"
)
def test_freed_memory_goes_back_to_the_system():
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    block, count = 60_000, 2_000  # small enough for the heap, from whose middle nothing returns by itself
    blocks = [libc.malloc(block) for _ in range(count)]
    for pointer in blocks:
        ctypes.memset(pointer, 1, block)
    for pointer in blocks[:-1]:
        libc.free(pointer)
    before = resident()
    memory.give_back()
    libc.free(blocks[-1])
    assert before - resident() > 0.9 * block * count


@pytest.mark.parametrize("library", [SimpleNamespace(), OSError("no such library"), TypeError("None")])
def test_a_c_library_that_cannot_give_back_is_left_alone(monkeypatch, library):
    def load(name):
        if isinstance(library, Exception):
            raise library
        return library

    monkeypatch.setattr(ctypes, "CDLL", load)
    memory.give_back()
