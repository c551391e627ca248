"""What docs/off_policy.md says holds."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from holosoma_jax import memory
from holosoma_jax.config import compose
from holosoma_jax.learn import replay
from holosoma_jax.learn.fast_sac import FastSacSpec
from tests.support.messages import tells

TEXT = (Path(__file__).parents[2] / "docs" / "off_policy.md").read_text()
COMMANDS = re.findall(r"^python -m holosoma_jax\.train (.+)$", TEXT, re.MULTILINE)


def size(*argv: str, dims: tuple[int, int, int]) -> int:
    cfg = compose.load(list(argv))
    spec = FastSacSpec(*dims, action_scale=(1.0,) * dims[2])
    return replay.size_bytes(cfg.algo.fast_sac, spec, cfg.training.num_envs)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_are_understood(command):
    assert compose.load(shlex.split(command)).algo.name == "fast_sac"


def test_the_buffer_has_the_size_that_is_said():
    rows, g1 = 1024 * 4096, (100, 103, 29)
    full = size("exp:g1-29dof-fast-sac", dims=g1)
    assert tells(TEXT, f"{full / memory.GB:.2f} GB for 1024 ... 4096 environments")
    half = size("exp:g1-29dof-fast-sac", "--algo.config.buffer_dtype=bfloat16", dims=g1)
    k1 = size("exp:k1-22dof-fast-sac", dims=(79, 82, 22))
    for said, found in (("1,747 bytes a", full), ("1,383 for K1", k1), ("(935 bytes)", half)):
        assert said in TEXT
        assert int(re.sub(r"\D", "", said.replace("K1", ""))) == round(found / rows)
