"""Starting the processes of a run on this machine, one for each accelerator or group of them, and waiting for them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config
from holosoma_jax.parallel.distributed import LOST, PARENT
from holosoma_jax.signals import NAMES, handled

GRACE = 10.0
"""s that the other processes have to end by themselves when one has failed"""
REFUSED = 2
"""exit code of a command that refuses its config"""
_SHOWN = 20
"""lines of what a failed process has printed"""


def run(cfg: Config, argv: Sequence[str]) -> int:
    """Start the processes of the run, wait for them, and pass signals on.

    Process 0 has this terminal; what the others print is shown if they fail.

    Args:
      cfg: what `argv` means.
      argv: arguments of this command.

    Returns:
      The exit code of the first process that failed, or that of process 0.

    Raises:
      ConfigError: there are no accelerators, or fewer than asked for.
    """
    wanted = cfg.training.distributed.num_processes
    platform, devices = _accelerators()
    each = cfg.training.devices
    number = how_many(wanted, platform, devices, each)
    command = [*_this_command(argv), f"--training.distributed.coordinator-address=127.0.0.1:{free_port()}"]
    if wanted is None:
        command.append(f"--training.distributed.num-processes={number}")
    folder = Path(tempfile.mkdtemp(prefix="holosoma-"))
    children: list[subprocess.Popen[bytes]] = []
    watched, held = os.pipe()  # `held` closes with this process, however it ends
    print(f"Starting {number} processes ({platform}).", flush=True)
    try:
        with _forwarded(children):
            for index in range(number):
                children.append(_start(command, index, device(platform, index, each), watched, folder))
            failed = wait_for_children(children)
        if failed is None:
            return children[0].wait()
        _report(failed, children[failed], folder)
        code = children[failed].returncode
        return code if code > 0 else 128 - code
    finally:
        for child in children:
            child.kill()
            child.wait()
        os.close(watched)
        os.close(held)
        shutil.rmtree(folder, ignore_errors=True)


def _start(
    command: Sequence[str], index: int, visible: dict[str, str], watched: int, folder: Path
) -> subprocess.Popen[bytes]:
    """Process `index`, on its own accelerators, in a session of its own: Ctrl-C reaches it through this one."""
    env = os.environ | visible | {PARENT: str(watched)}
    command = [*command, f"--training.distributed.process-id={index}"]
    if index == 0:
        return subprocess.Popen(command, env=env, pass_fds=(watched,), start_new_session=True)
    with _printed(folder, index).open("wb") as out:
        return subprocess.Popen(
            command,
            env=env,
            stdout=out,
            stderr=subprocess.STDOUT,
            pass_fds=(watched,),
            start_new_session=True,
        )


@contextlib.contextmanager
def _forwarded(children: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Within the context, signals that stop a run go to `children`, which save and end; nothing happens here."""

    def forward(number: int, frame: object) -> None:
        for child in children:
            child.send_signal(number)  # does nothing to one that has ended

    before = {number: signal.signal(number, forward) for number in handled()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def wait_for_children(children: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Until all have ended, or `GRACE` seconds after the first failed; returns whose failure it was.

    That is the first one that failed, except that those which noticed the loss of another (`LOST`, or JAX's
    abort) come last: they may be seen before it. If all have refused the config it is the main process: all of them
    say the same.
    """
    failed, deadline = list[int](), float("inf")
    saved = {0, *(128 + number for number in NAMES)}  # and ended, as asked
    while True:
        running = False
        for index, child in enumerate(children):
            code = child.poll()
            running |= code is None
            if code is not None and code not in saved and index not in failed:
                failed.append(index)
                deadline = min(deadline, time.monotonic() + GRACE)
        if not running or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    if 0 in failed and {children[index].returncode for index in failed} == {REFUSED}:
        return 0
    # a process also ends with `REFUSED` when the others have not come to meet it
    noticed = {REFUSED: 1, LOST: 2, -signal.SIGABRT: 2}
    return min(failed, key=lambda index: noticed.get(children[index].returncode, 0), default=None)


def _report(failed: int, child: subprocess.Popen[bytes], folder: Path) -> None:
    """Say which process failed and how; of process 0 everybody has seen it, and a wrong config says it all."""
    if failed == 0 and child.returncode == REFUSED:
        return
    how = f"exit code {child.returncode}" if child.returncode >= 0 else signal.Signals(-child.returncode).name
    print(f"error: process {failed} of the run failed ({how}); the others were ended.", file=sys.stderr)
    if failed > 0:
        lines = _printed(folder, failed).read_text(errors="replace").splitlines()[-_SHOWN:]
        print("\n".join(f"process {failed}: {line}" for line in lines), file=sys.stderr)


def _printed(folder: Path, index: int) -> Path:
    return folder / f"process{index}.log"


def _accelerators() -> tuple[str, int]:
    """JAX's platform and its number of devices here, seen by a process that lets go of them again."""
    code = "import jax; d = jax.local_devices(); print(d[0].platform, len(d))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        raise ConfigError(f"training.multigpu: JAX does not start here ({last}).")
    platform, number = answer.stdout.split()[-2:]
    return platform, int(number)


def how_many(wanted: int | None, platform: str, devices: int, each: int = 1) -> int:
    """Processes to start, with `each` so many devices; raises ConfigError if there is nothing to put them on."""
    if platform == "cpu":
        if wanted is None:
            raise ConfigError(
                "training.multigpu: JAX sees no accelerator here, only the CPU. Leave it out, or pass "
                "--training.distributed.num-processes 2 to share the CPU between two processes."
            )
        return wanted
    if wanted is not None and wanted > devices:
        raise ConfigError(
            f"training.distributed.num_processes: got {wanted}, but there are {devices} devices here. Processes "
            "on several machines are started there, by a scheduler or with a process_id each."
        )
    fitting = devices // each
    if (wanted or 1) > fitting:
        raise ConfigError(
            f"training.devices: got {each} for each of {wanted or 1} process(es), but there are {devices} devices "
            f"here. Pass --training.devices {max(1, devices // (wanted or 1))} or less."
        )
    return wanted or fitting


def device(platform: str, index: int, each: int = 1) -> dict[str, str]:
    """Environment in which a process' accelerators alone are visible, so that JAX and the simulator take the same."""
    if platform == "cpu":
        return {}
    name = "ROCR_VISIBLE_DEVICES" if platform == "rocm" else "CUDA_VISIBLE_DEVICES"
    visible = [device for device in os.environ.get(name, "").split(",") if device]
    own = range(index * each, (index + 1) * each)
    return {name: ",".join(visible[i] if visible else str(i) for i in own)}


def _this_command(argv: Sequence[str]) -> list[str]:
    """How this program was started, with `argv`; `python -m holosoma_jax.train` if a program called it."""
    used, arguments = sys.orig_argv, list(argv)
    if arguments and used[-len(arguments) :] == arguments:
        return [sys.executable, *used[1:]]
    return [sys.executable, "-m", "holosoma_jax.train", *arguments]


def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
