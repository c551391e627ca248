"""What docs/motions.md shows works."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from holosoma_jax.config.command_line import flags
from tests.support.motion_files import FORMATS

PAGE = Path(__file__).parents[2] / "docs" / "motions.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
COMMANDS = [
    shlex.split(line)[3:] for kind, text in BLOCKS if kind == "bash" for line in text.strip().splitlines()
]


@pytest.mark.parametrize("argv", COMMANDS, ids=" ".join)
def test_every_command_line_parses(argv: list[str]) -> None:
    command = importlib.import_module("holosoma_jax.motion.__main__")
    record, _ = command.SUBCOMMANDS[argv[0]]
    files, options = command.split(argv[1:], record)
    assert files
    assert (flags.parse(options, record) != record()) == bool(options)


def test_the_table_lists_every_format() -> None:
    text = PAGE.read_text()
    names = {how.format.split(" (")[0] for how in FORMATS.values()}
    assert len(names) == 19
    assert not [name for name in names if f"| {name}" not in text]
    assert f"[{len(names)} formats](docs/motions.md)" in (PAGE.parents[1] / "README.md").read_text()


def test_the_example_runs() -> None:
    (example,) = (text for kind, text in BLOCKS if kind == "python")
    scope: dict[str, object] = {}
    exec(compile(example, str(PAGE), "exec", dont_inherit=True), scope)
    frames = scope["frames"]
    assert np.shape(frames.body_pos) == (2, 2, 3)  # type: ignore[attr-defined]


def test_pictures_exist_and_are_small() -> None:
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", PAGE.read_text())
    assert pictures
    for picture in pictures:
        assert (PAGE.parent / picture).stat().st_size < 300_000
