"""Configs: command lines, files, and what artifacts bring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holosoma_jax.config import compose, files, keys, values
from holosoma_jax.config.schema import Config
from holosoma_jax.config.trust import Saved
from holosoma_jax.config.yaml12 import dump, show
from tests.support.fuzzing import NUMBERS, TEXTS, VALUES, damaged, fuzz, mutated, read_or_refused

pytestmark = pytest.mark.slow

PRESETS = ("g1-29dof", "g1-29dof-fast-sac", "g1-29dof-wbt")
MAPPINGS = {name: compose.to_mapping(compose.load([f"exp:{name}"])) for name in PRESETS}
FLAGS = {name: sorted(dict(keys.walk(Config, mapping)).items()) for name, mapping in MAPPINGS.items()}
GROUPS = [f"{group}:{name}" for group in files.GROUPS for name in files.names(group)]


def valid(config: Config | None) -> None:
    """It survives a round trip, holds finite numbers only, and can be written."""
    if config is None:
        return
    mapping = compose.to_mapping(config)
    json.dumps(mapping, allow_nan=False).encode()
    assert compose.from_mapping(Saved(mapping, trusted=True)) == config


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else show(value)


TYPED = st.one_of(
    st.integers(-2, 9).map(str),
    st.floats(-2, 2).map(str),
    NUMBERS.map(text_of),
    st.lists(NUMBERS, min_size=1, max_size=3).map(text_of),
    st.dictionaries(st.sampled_from(["lin_vel_x", "flat", "a"]), NUMBERS, max_size=2).map(text_of),
    st.sampled_from(["true", "null", "x:y", "os:system", "a.b:c", "[]", "{}", "(1, 2)"]),
    st.just("holosoma_jax.envs.terms.rewards:alive"),
)
ANY = st.one_of(VALUES.map(text_of), TEXTS)


@st.composite
def flag(draw: st.DrawFn, preset: str) -> str:
    """One of the preset's keys, seldom misspelt or cut, with a value, often one that suits it."""
    path, tp = draw(st.sampled_from(FLAGS[preset]))
    name = keys.as_flag(path)
    if draw(st.integers(0, 9)) == 0:
        name = draw(st.sampled_from([name[:-1], name.rpartition(".")[0] or name, name + "." + draw(TEXTS)]))
    value = (
        draw(st.sampled_from(options)) if (options := values.options(tp)) and draw(st.booleans()) else None
    )
    value = draw(st.one_of(TYPED, TYPED, TYPED, ANY)) if value is None else value
    return name + draw(st.sampled_from(["=", "=", "=", ""])) + value


@st.composite
def command_line(draw: st.DrawFn) -> list[str]:
    """A preset, one to three flags, and sometimes another group, `--config`, or anything."""
    preset = draw(st.sampled_from(PRESETS))
    tokens = [f"exp:{preset}", *(draw(flag(preset)) for _ in range(draw(st.integers(1, 3))))]
    if draw(st.integers(0, 4)) == 0:
        tokens.append(draw(st.one_of(st.sampled_from(GROUPS), TEXTS)))
    if draw(st.integers(0, 19)) == 0:
        tokens[0] = draw(
            st.one_of(TEXTS.map(lambda text: f"--config={text}"), TEXTS.map(lambda text: f"exp:{text}"))
        )
    return tokens


@fuzz(1500)
@given(tokens=command_line())
def test_command_lines(tokens: list[str]) -> None:
    valid(read_or_refused(lambda: compose.load(tokens)))


@fuzz(700)
@given(
    mapping=st.sampled_from(PRESETS).flatmap(lambda name: mutated(MAPPINGS[name])),
    trusted=st.booleans(),
)
def test_mappings(mapping: dict[str, Any], trusted: bool) -> None:
    valid(read_or_refused(lambda: compose.from_mapping(Saved(mapping, trusted=trusted))))


PRESET_FILES = [(path.parent.name, path.read_text()) for path in sorted(files.root().glob("*/*.yaml"))]
PIECES = st.one_of(
    st.sampled_from(list("\t{}[]#'\"|>=@`\u2028\ufeff\n")),
    st.sampled_from(
        ["- ", ": ", "&a ", "*a", "!!int ", "!!timestamp x", "!!binary a", "? ", "---", "...", "  "]
    ),
    st.sampled_from(["%YAML 3", "<<: ", "null", "1e999", "0b1", "12:30", "a: 1"]),
)


@st.composite
def edited(draw: st.DrawFn, text: str) -> bytes:
    """`text` with the value of some lines replaced, lines dropped, doubled or indented, and YAML's signs put in."""
    lines = text.splitlines()
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1)) if lines else 0
        line = lines[at] if lines else ""
        kind = draw(st.sampled_from(["value", "value", "value", "piece", "drop", "double", "indent"]))
        if kind == "value" and ":" in line:
            lines[at] = f"{line.partition(':')[0]}: {draw(st.one_of(TYPED, TYPED, ANY))}"
        elif kind == "piece" and lines:
            column = draw(st.integers(0, len(line)))
            lines[at] = line[:column] + draw(PIECES) + line[column:]
        elif kind == "double":
            lines[at:at] = [line]
        elif kind == "indent" and lines:
            lines[at] = draw(st.sampled_from([line[2:], f"  {line}", f" {line}"]))
        elif lines:
            del lines[at]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


@st.composite
def preset_file(draw: st.DrawFn) -> tuple[str, bytes]:
    """Its group, and what is left of the file."""
    group, text = draw(st.sampled_from(PRESET_FILES))
    kinds = [edited(text), edited(text), edited(text), damaged(text.encode()), st.binary(max_size=60)]
    return group, draw(draw(st.sampled_from(kinds)))


@fuzz(1200)
@given(file=preset_file())
def test_files(file: tuple[str, bytes], folder: Path) -> None:
    group, data = file
    path = folder / "config.yaml"
    path.write_bytes(data)
    tokens = ["--config", str(path)] if group == "exp" else ["exp:g1-29dof", f"{group}:{path}"]
    valid(read_or_refused(lambda: compose.load(tokens)))


@st.composite
def experiment(draw: st.DrawFn) -> dict[str, Any]:
    """An experiment file with a few overrides, or with a whole section."""
    base = {"groups": {"robot": "g1-29dof", "algo": "ppo"}, "overrides": {"training": {"num_envs": 16}}}
    sections = draw(st.lists(st.sampled_from(sorted(MAPPINGS["g1-29dof"])), max_size=2))
    base["overrides"] |= {name: MAPPINGS["g1-29dof"][name] for name in sections}
    return draw(mutated(base))


@fuzz(400)
@given(mapping=experiment())
def test_structured_files(mapping: dict[str, Any], folder: Path) -> None:
    path = folder / "structured.yaml"
    try:
        path.write_text(dump(mapping))
    except UnicodeEncodeError:
        path.write_bytes(dump(mapping).encode("utf-8", "surrogatepass"))
    valid(read_or_refused(lambda: compose.load(["--config", str(path)])))
