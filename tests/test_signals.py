"""The first signal asks, the second ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holosoma_jax.signals import on_signal

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.usefixtures("default_signals")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_sets_the_flag(number):
    said: list[str] = []
    before = signal.getsignal(number)
    with on_signal(said.append) as stop:
        assert not stop.requested
        signal.raise_signal(number)
        assert stop.requested and stop.exit_code == 128 + number
        assert signal.getsignal(number) is signal.SIG_DFL  # a second one ends the process
    assert len(said) == 1
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_stays_ignored():
    """As nohup wants it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with on_signal(print) as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)


def test_two_signals_while_native_code_runs_end_the_process():
    """As while XLA compiles: no handler runs before it returns, which here would be after a minute."""
    code = (
        "import hashlib\nfrom holosoma_jax.signals import on_signal\nwith on_signal(print):\n"
        "    print('ready', flush=True)\n    hashlib.pbkdf2_hmac('sha256', b'a', b'b', 30_000_000)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        for _ in range(2):
            time.sleep(0.2)  # two at once would be one
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM


def test_a_signal_in_the_middle_of_a_line_is_answered_too(capfd):
    """Python refuses to write to a stream from a handler that interrupted a write to it."""

    def busy(text: str) -> None:
        raise RuntimeError("reentrant call")

    with on_signal(busy) as stop:
        signal.raise_signal(signal.SIGINT)
    assert stop.requested
    assert "\nCtrl-C: stopping after this iteration, then saving." in capfd.readouterr().out
