from __future__ import annotations

from types import SimpleNamespace

import jax
import pytest

from holosoma_jax import memory
from holosoma_jax.config.errors import ConfigError


@pytest.fixture
def host(monkeypatch, tmp_path):
    """A machine whose system files say what the test writes into them."""
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path / "memory.max")
    return tmp_path


def test_a_cpu_has_what_the_system_could_hand_out(host):
    cpu = jax.local_devices()[0]
    (host / "meminfo").write_text("MemTotal: 16000000 kB\nMemFree: 100 kB\nMemAvailable:  8000000 kB\n")
    assert memory.available(cpu) == 8_192_000_000
    (host / "memory.max").write_text("max\n")  # a container without a limit
    assert memory.available(cpu) == 8_192_000_000
    (host / "memory.max").write_text("2000000000\n")
    assert memory.available(cpu) == 2_000_000_000


def test_where_the_system_does_not_say_it_is_all_there_is(host, monkeypatch):
    pages = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(memory.os, "sysconf", pages.__getitem__)
    assert memory.available(jax.local_devices()[0]) == 4_096_000

    def unknown(name):
        raise ValueError(name)

    monkeypatch.setattr(memory.os, "sysconf", unknown)
    assert memory.available(jax.local_devices()[0]) is None


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
    assert str(error.value) == "the replay buffer needs 7.33 GB, gpu:1 has 2.50 GB left. Take less."
