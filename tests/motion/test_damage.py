"""Damaged bytes anywhere in a file: a clip or one line, never a crash."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.motion import Clip, Skeleton, edit, read
from tests.support.motion_files import FORMATS


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "sonic.csv"])
def test_damaged_bytes(name: str, tmp_path: Path, walk: Clip, g1: Skeleton) -> None:
    piece = edit.cut(g1, walk, 0, 12)
    whole = FORMATS[name].write(tmp_path / name, piece, g1).read_bytes()
    rng = random.Random(name)
    path = tmp_path / f"damaged_{name}"
    refused = 0
    for _ in range(60):
        data = bytearray(whole)
        if rng.random() < 0.2:
            data = data[: rng.randrange(len(data))]
        else:
            reach = rng.choice([len(data), 400])
            for _ in range(rng.choice([1, 3, 20])):
                data[rng.randrange(min(reach, len(data)))] = rng.randrange(256)
        path.write_bytes(data)
        try:
            read(path, g1)
        except ConfigError as error:
            assert "\n" not in str(error) and path.name in str(error)
            refused += 1
    assert refused > 10
