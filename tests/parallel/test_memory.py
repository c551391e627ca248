from __future__ import annotations

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
