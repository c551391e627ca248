"""Where the coordinator of several processes listens."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest

from holosoma_jax import machine
from holosoma_jax.parallel import distributed, launch


@pytest.mark.parametrize(
    ("host", "bound"),
    [
        ("127.0.0.1", "127.0.0.1:4321"),
        ("127.0.0.2", "127.0.0.2:4321"),
        ("localhost", ("127.0.0.1:4321", "[::1]:4321")),
        ("127.1", "127.0.0.1:4321"),
        ("0x7f000001", "127.0.0.1:4321"),
        ("LOCALHOST", ("127.0.0.1:4321", "[::1]:4321")),
        ("::1", "[::1]:4321"),
        ("192.0.2.1", None),  # of no interface here: what a router translates, say
        ("name.invalid", None),
    ],
)
def test_the_coordinator_listens_at_the_address_that_is_asked_for(host, bound):
    if host in ("::1",) and not _has_ipv6():
        pytest.skip("no IPv6 here")
    found = distributed.bind_address(host, 4321)
    assert found in bound if isinstance(bound, tuple) else found == bound


def test_a_name_that_is_loopback_only_here_is_reached_from_elsewhere(monkeypatch):
    def resolve(host, port, **_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.1.1", port))]

    monkeypatch.setattr(distributed.socket, "getaddrinfo", resolve)
    assert distributed.bind_address("node0", 4321) is None


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is this machine on Linux only")
def test_other_addresses_of_this_machine_do_not_reach_the_coordinator():
    """Process 0 waits for process 1, which never comes."""
    port = launch.free_port()
    flags = [f"coordinator-address=127.0.0.1:{port}", "num-processes=2", "process-id=0"]
    argv = ["exp:g1-29dof", "--training.multigpu", *(f"--training.distributed.{flag}" for flag in flags)]
    code = (
        "from holosoma_jax.config import compose; from holosoma_jax.parallel import distributed\n"
        f"distributed.join(compose.load({argv!r}))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=machine.child_environment(), stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 60.0
        while not _answers("127.0.0.1", port):
            assert process.poll() is None and time.monotonic() < end, "the coordinator did not start"
            time.sleep(0.05)
        assert not _answers("127.0.0.2", port)
    finally:
        process.kill()
        process.wait()


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2.0):
            return True
    except OSError:
        return False
