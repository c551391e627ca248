"""Facts of the machine, read from system files that the tests write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from holosoma_jax import machine


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with 8 cores whose /proc and control groups are folders of the test's."""
    (tmp_path / "proc/self").mkdir(parents=True)
    monkeypatch.setattr(machine, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    return tmp_path


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


MEMINFO = "MemTotal: 16000000 kB\nMemFree: 100 kB\nMemAvailable:  8000000 kB\n"


def test_cores_are_those_of_the_affinity_mask_and_of_the_quota(host: Path):
    assert machine.usable_cores() == 8
    write(host / "proc/self", cgroup="0::/\n")
    for text, cores in (("max 100000", 8), ("250000 100000", 3), ("10000 100000", 1), ("900000 100000", 8)):
        write(host / "cgroup", cpu__max=text)
        assert machine.usable_cores() == cores, text


def test_a_quota_of_a_group_around_this_one_counts(host: Path):
    write(host / "proc/self", cgroup="0::/jobs/run\n")
    write(host / "cgroup/jobs/run", cpu__max="max 100000")
    write(host / "cgroup/jobs", cpu__max="200000 100000", memory__max="3000", memory__current="1000")
    assert machine.usable_cores() == 2
    assert machine.available_memory() == 2000


def test_control_groups_of_version_1(host: Path):
    write(host / "proc/self", cgroup="4:cpu,cpuacct:/box\n7:memory:/box\n0::/init.scope\n")
    write(host / "cgroup/cpu/box", cpu__cfs_quota_us="150000", cpu__cfs_period_us="100000")
    write(host / "cgroup/cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    write(
        host / "cgroup/memory/box",
        memory__limit_in_bytes="5000",
        memory__usage_in_bytes="2000",
        memory__stat="total_inactive_file 500\n",
    )
    assert machine.usable_cores() == 2
    assert machine.available_memory() == 5000 - (2000 - 500)
    assert machine.total_memory() == 5000


def test_all_cores_where_the_system_knows_no_affinity(monkeypatch: pytest.MonkeyPatch, host: Path):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert machine.usable_cores() == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.usable_cores() == 1


def test_memory_is_what_the_system_and_the_container_allow(host: Path):
    write(host / "proc", meminfo=MEMINFO)
    assert machine.available_memory() == 8_192_000_000
    write(host / "proc/self", cgroup="0::/\n")
    write(host / "cgroup", memory__max="max\n")  # a container without a limit
    assert machine.available_memory() == 8_192_000_000
    write(host / "cgroup", memory__max="2000000000\n")
    assert machine.available_memory() == machine.total_memory() == 2_000_000_000
    # 1.5 GB are used, 0.4 of them are cached files that the kernel gives back
    write(host / "cgroup", memory__current="1500000000", memory__stat="anon 7\ninactive_file 400000000\n")
    assert machine.available_memory() == 900_000_000
    assert machine.total_memory() == 2_000_000_000


def test_memory_where_the_system_does_not_say(host: Path, monkeypatch: pytest.MonkeyPatch):
    """As on macOS, and as on Windows."""
    pages = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__, raising=False)
    assert machine.available_memory() == machine.total_memory() == 4_096_000
    monkeypatch.delattr(os, "sysconf")
    assert machine.available_memory() is None and machine.total_memory() is None


def test_damaged_system_files_do_not_stop_anything(host: Path):
    write(host / "proc", meminfo="MemAvailable:\n")
    write(host / "proc/self", cgroup="0::/\n")
    write(
        host / "cgroup", memory__max="5000", memory__current="", memory__stat="inactive_file\n", cpu__max=""
    )
    assert machine.available_memory() == 5000 and machine.usable_cores() == 8


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"HOLOSOMA_CACHE_DIR": "/big"}, "/big"),
        ({"HOLOSOMA_CACHE_DIR": "~/big", "HOME": "/home/me"}, "/home/me/big"),
        ({"XDG_CACHE_HOME": "/cache"}, "/cache/holosoma_jax"),
        (
            {"HOLOSOMA_CACHE_DIR": "", "XDG_CACHE_HOME": "", "HOME": "/home/me"},
            "/home/me/.cache/holosoma_jax",
        ),
    ],
)
def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], folder: str):
    for name in ("HOLOSOMA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert machine.cache_folder() == Path(folder)


def test_a_child_process_imports_the_same_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", "mine")
    env = machine.child_environment()
    assert env["PYTHONPATH"].split(os.pathsep)[1:] == ["mine"]
    code = "import holosoma_jax; print(holosoma_jax.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, check=True
    )
    assert Path(done.stdout.decode().strip()).parent == Path(machine.__file__).parent
