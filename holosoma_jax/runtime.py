"""What the command modules share: environment variables before JAX is imported, and how they fail.

Every variable is a default: what the user has set stays.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from holosoma_jax import machine, terminal
from holosoma_jax.config import extras
from holosoma_jax.config.errors import ConfigError

DETERMINISTIC = "--xla_gpu_deterministic_ops=true"

_GC_CALLBACK = "_xla_gc_callback"


class ExpectedFailure(RuntimeError):
    """Something outside of this package failed: commands print it as one line, without a traceback."""


def prepare(*, deterministic: bool = False) -> None:
    """Set what JAX and the libraries below it read when they start.

    deterministic: let a GPU compute the same bits every time (``training.deterministic``).
    """
    # XLA and tensorstore log through TensorFlow's C++ logger, which below level 2 (errors) is chatty.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # A simulator on the same GPU needs memory too; JAX would take three quarters of it at the start.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # ONNX Runtime reports to its makers, unless told not to.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # Where the home folder cannot be written, matplotlib says so at length and takes another folder.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    _keep_compiled_programs()
    if deterministic and DETERMINISTIC not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {DETERMINISTIC}".strip()


def _keep_compiled_programs() -> None:
    """Let JAX keep what took over a second to compile, for the next start of the same run.

    Warp keeps its kernels by itself, below ~/.cache/warp. HOLOSOMA_CACHE_DIR moves both caches into one
    folder; empty, it switches JAX's off. So does a home that is not there or cannot be written, as many
    containers have.
    """
    chosen, folder = os.environ.get(machine.CACHE_VARIABLE), machine.cache_folder()
    if chosen == "" or folder is None:
        return
    if chosen:
        os.environ.setdefault("WARP_CACHE_PATH", str(folder / "warp"))
    else:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return
        if not os.access(folder, os.W_OK):
            return
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "jax"))


def command(body: Callable[[], int], interrupted: str) -> int:
    """Run a command's body; what the user can fix becomes one line on standard error.

    Args:
      body: returns the exit code.
      interrupted: the line for Ctrl-C.

    Returns:
      The body's exit code; 1 after an `ExpectedFailure`; 2 for a wrong configuration or a missing extra; 130
      after Ctrl-C. Any other exception is a defect and is raised.
    """
    with terminal.attached():
        return _exit_code(body, interrupted)


def _exit_code(body: Callable[[], int], interrupted: str) -> int:
    try:
        with _interruptible():
            return body()
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        print(f"error: {missing}", file=sys.stderr)
        return 2
    except ExpectedFailure as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Within the context, Ctrl-C is a `KeyboardInterrupt` that is not lost in JAX.

    JAX has a callback in Python's garbage collection, which imports keep busy, and what is raised in there
    is reported and forgotten. So there the signal is sent once more, a moment later.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        if frame is None or frame.f_code.co_name != _GC_CALLBACK:
            raise KeyboardInterrupt
        again = threading.Timer(0.05, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler or not _in_main_thread():
        yield
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """One line that says which extra brings the missing package, or None if no extra does."""
    return extras.explain_missing("this", error.name or "")
