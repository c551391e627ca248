"""The first signal asks, the second ends."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from holosoma_jax.signals import cleaned_up, on_signal

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
        hung_up = number == signal.SIGHUP  # which comes more than once when a terminal is lost
        assert signal.getsignal(number) is (signal.SIG_IGN if hung_up else signal.SIG_DFL)
    assert len(said) == 1
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("numbers", [(signal.SIGHUP,) * 3, (signal.SIGTERM, signal.SIGHUP)])
def test_a_lost_terminal_is_no_second_request(numbers: tuple[signal.Signals, ...]):
    """The shell and the kernel send SIGHUP both, and systemd sends it right after SIGTERM."""
    code = (
        "import sys, time\nfrom holosoma_jax.signals import on_signal\nwith on_signal(print) as stop:\n"
        "    print('ready', flush=True)\n    sys.stdin.readline()\n    print('saved', flush=True)\n"
        "sys.exit(stop.exit_code)"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=pipe, stdout=pipe) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        for number in numbers:
            process.send_signal(number)
            time.sleep(0.1)  # several at once would be one
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.stdout.read().endswith(b"saved\n")
    assert process.returncode == 128 + numbers[0]


def test_ctrl_c_after_a_lost_terminal_is_the_first_of_two():
    with on_signal(lambda text: None) as stop:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_native_code_runs_cleans_up_and_ends_the_process(number: signal.Signals):
    code = (
        "import hashlib\nfrom holosoma_jax.signals import cleaned_up\n"
        "with cleaned_up(lambda: print('clean', flush=True)):\n"
        "    print('ready', flush=True)\n    hashlib.pbkdf2_hmac('sha256', b'a', b'b', 30_000_000)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.stdout.read() == b"clean\n"
    assert process.returncode == 128 + number


def test_cleaning_up_is_left_out_while_a_run_can_be_saved():
    with cleaned_up(lambda: pytest.fail("nobody asked to end at once")):
        with on_signal(lambda text: None) as stop:
            signal.raise_signal(signal.SIGTERM)
        assert stop.requested
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_in_the_middle_of_a_line_is_answered_too(capfd):
    """Python refuses to write to a stream from a handler that interrupted a write to it."""

    def busy(text: str) -> None:
        raise RuntimeError("reentrant call")

    with on_signal(busy) as stop:
        signal.raise_signal(signal.SIGINT)
    assert stop.requested
    assert re.search("\nCtrl-C: .*iteration.*saving", capfd.readouterr().out)
