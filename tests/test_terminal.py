"""Records become lines, and a broken standard output is no reason to stop."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from holosoma_jax import terminal

ROOT = Path(__file__).resolve().parents[1]
LONG = (
    "import sys\nfrom holosoma_jax import terminal\nwith terminal.attached():\n"
    "    for i in range(20_000):\n        print('line', i, flush=i % 10 == 0)\n    print('late', file=sys.stderr)\n"
    "open(sys.argv[1], 'w').write('done')"
)


def test_records_of_this_package_are_printed(capsys):
    log = logging.getLogger("holosoma_jax.somewhere")
    with terminal.attached():
        log.info("downloading %s", "a file")
        log.warning("it is damaged")
        log.debug("not shown")
        logging.getLogger("bridges.somewhere").warning("unstable")
        logging.getLogger("other").info("not shown")
    log.info("not shown")
    assert capsys.readouterr().out == "downloading a file\nWARNING: it is damaged\nWARNING: unstable\n"


def test_a_handler_of_another_library_prints_nothing_again():
    code = (
        "import logging\nfrom holosoma_jax import terminal\nwith terminal.attached():\n"
        "    logging.basicConfig()\n    logging.getLogger('holosoma_jax.somewhere').info('once')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True)
    assert (done.stdout, done.stderr) == ("once\n", "")


def test_a_reader_that_goes_away(tmp_path: Path):
    command = [sys.executable, "-c", LONG, str(tmp_path / "end")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"line 0\n"
        process.stdout.close()
        assert process.stderr.read() == b"late\n"
    assert process.returncode == 0
    assert (tmp_path / "end").read_text() == "done"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_log_file_on_a_full_disk(tmp_path: Path):
    command = [sys.executable, "-c", LONG, str(tmp_path / "end")]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=full, check=False)
    assert done.returncode == 0
    assert (tmp_path / "end").exists()


def test_what_is_written_arrives_in_order(tmp_path: Path):
    code = (
        "import sys\nfrom holosoma_jax import terminal\nprint('ä before')\nwith terminal.attached():\n"
        "    print('within')\n    sys.stdout.write('no newline ')\nprint('after')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True)
    assert done.stdout == "ä before\nwithin\nno newline after\n"
