"""Being one of several processes of a run: meeting the others, and leaving when it is over.

Nothing here imports JAX before it is known which process this is.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NoReturn

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config

PARENT = "HOLOSOMA_PARENT"
"""Environment variable: number of a pipe that ends when the process that started this one does."""
LOOPBACK_NAMES = frozenset(
    {"localhost", "localhost4", "localhost6", "ip6-localhost", "ip6-loopback", "loopback"}
)
MEETING = 300.0
"""s that a process waits for the others at the start"""
LOST = 3
"""Exit code of a process that ended because another one was gone: what went wrong is said there."""
_GONE = re.compile(
    r"gloo|nccl|closed by peer|coordination ?service|heartbeat|barrier|sync_global_devices", re.IGNORECASE
)
"""how JAX says so, whatever the processes talk over"""
_WORLDS = {"SLURM_PROCID": "SLURM_NTASKS", "OMPI_COMM_WORLD_RANK": "OMPI_COMM_WORLD_SIZE"}
"""what a scheduler calls a process' rank -> what it calls their number"""


def is_member(cfg: Config) -> bool:
    """Whether this process is one of several: by its flags, or because a scheduler started it."""
    return cfg.training.multigpu and (cfg.training.distributed.process_id is not None or _scheduled())


def join(cfg: Config) -> Config:
    """Meet the other processes of the run; to be called before JAX does anything else.

    Returns:
      The config without what concerns this process alone, as it is saved.

    Raises:
      ConfigError: the others cannot be reached, or the port is taken.
    """
    _end_with_parent()
    import jax

    given = cfg.training.distributed
    bind = None
    if given.process_id == 0:
        host, port = _split(given.coordinator_address or "")
        bind = bind_address(host, port)
        _require_free(bind, port)
    where = f" at {given.coordinator_address}" if given.coordinator_address else ""
    longest = int(2 * MEETING)  # JAX's own patience, at the end of which it aborts with a stack trace
    try:
        with _deadline(_alone(where, f"not within {MEETING:.0f} s")):
            if given.process_id is None:
                jax.distributed.initialize(
                    local_device_ids=_only_devices(cfg.training.devices), initialization_timeout=longest
                )
            else:
                jax.distributed.initialize(
                    given.coordinator_address,
                    given.num_processes,
                    given.process_id,
                    cluster_detection_method="deactivate",
                    initialization_timeout=longest,
                    coordinator_bind_address=bind,
                )
    except (RuntimeError, ValueError) as error:
        raise ConfigError(_alone(where, str(error).splitlines()[0])) from None
    plain = replace(given, coordinator_address=None, process_id=None)
    return replace(cfg, training=replace(cfg.training, distributed=plain))


def _alone(where: str, why: str) -> str:
    return (
        f"training.multigpu: the processes of this run did not meet{where} ({why}). "
        "Start all of them, with the same coordinator_address and num_processes, and a process_id each."
    )


@contextmanager
def _deadline(message: str) -> Iterator[None]:
    """Leave with `message` if the body, which does not hold Python up, takes longer than `MEETING`."""

    def give_up() -> None:
        print(f"error: {message}", file=sys.stderr)
        _leave(2)

    timer = threading.Timer(MEETING, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _split(address: str) -> tuple[str, int]:
    """Host, without an IPv6 address' brackets, and port; raises ConfigError unless it is HOST:PORT."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (host and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise ConfigError(f"training.distributed.coordinator_address: got '{address}', wanted HOST:PORT.")
    return host, int(port)


def bind_address(host: str, port: int) -> str | None:
    """The address that the coordinator listens at; None for all interfaces, JAX's default.

    It is the one that the processes are told, so that a run on 127.0.0.1 cannot be reached from the
    network. All interfaces are left for two cases in which others reach this machine by another address:
    a name that means loopback here (Debian gives 127.0.1.1 to a machine's own name), and an address that no
    interface of this machine has (network address translation, containers).
    """
    try:
        family, *_, (address, *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        return None
    loopback = ipaddress.ip_address(str(address).split("%")[0]).is_loopback
    if loopback and _may_be_a_machine(host):
        return None
    with socket.socket(family) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return None
    return f"[{address}]:{port}" if family == socket.AF_INET6 else f"{address}:{port}"


def _may_be_a_machine(host: str) -> bool:
    """Whether `host` is a name other than those of the loopback interface, which mean the same on every machine."""
    with contextlib.suppress(OSError):
        socket.inet_aton(host)  # 127.1 and 0x7f000001 are addresses, too
        return False
    return ":" not in host and host.lower().partition(".")[0] not in LOOPBACK_NAMES


def _require_free(bind: str | None, port: int) -> None:
    """Raise ConfigError if the coordinator cannot listen at `bind` (None: all interfaces) and `port`."""
    host = "" if bind is None else bind.rpartition(":")[0].strip("[]")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that a run has just left is free
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"training.distributed.coordinator_address: port {port} of this machine cannot be used "
                f"({error.strerror}). Pass another one, the same to all processes."
            ) from None


def guarded(body: Callable[[], int]) -> int:
    """`body()`, of one of several processes: where it fails, this process ends at once.

    JAX lets all processes wait for each other at exit, those of a failed run for minutes. Where another
    process failed, what JAX makes of that is one line here, so that the cause stands out.
    """
    try:
        code = body()
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        _leave(2)
    except KeyboardInterrupt:
        _leave(130)
    except Exception as error:
        if isinstance(error, ValueError | RuntimeError | AssertionError) and _GONE.search(str(error)):
            reason = str(error).splitlines()[0]
            print(
                f"error: another process of this run is gone, so this one ends too ({reason})",
                file=sys.stderr,
            )
            _leave(LOST)
        traceback.print_exc()
        _leave(1)
    return _leave(code) if code in (1, 2) else code


def _leave(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _only_devices(count: int) -> list[int] | None:
    """[0, ...] where a scheduler shows this process its GPUs alone; JAX would look for the one of its rank."""
    shown = [device for device in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if device]
    return list(range(len(shown))) if len(shown) in (1, count) else None


def _scheduled() -> bool:
    """Whether a scheduler that JAX knows started this process as one of several."""
    if os.environ.get("KUBERNETES_SERVICE_HOST") and os.environ.get("JOB_COMPLETION_INDEX"):
        return True
    return any(rank in os.environ and int(os.environ.get(total, "1")) > 1 for rank, total in _WORLDS.items())


def _end_with_parent() -> None:
    """Stop this process as by SIGTERM when the one that started it is gone, whatever ended that."""
    pipe = os.environ.get(PARENT)
    if pipe is None:
        return

    def watch() -> None:
        os.read(int(pipe), 1)  # nothing is ever written: this returns at the end of the pipe
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
