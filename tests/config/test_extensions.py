"""Tasks and learners by name, and those of other packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from holosoma_jax.config import extensions
from holosoma_jax.config.errors import ConfigError

TABLE = {"one_thing": "pathlib:Path"}


def test_a_name_or_an_address_gives_the_object():
    assert extensions.resolve(TABLE, "one_thing", "key") is Path
    assert extensions.resolve(TABLE, "one-thing", "key") is Path
    assert extensions.resolve({}, "pathlib:Path", "key") is Path


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("one_thign", "'one_thing'"),
        ("other", "one_thing"),
        ("pathlib:Paht", "'Path'"),
        ("no.such.module:NAME", "no.such.module"),
        (".module:NAME", "package.module:NAME"),
        ("pathlib:", "package.module:NAME"),
        ("path lib:x.y", "package.module:NAME"),
    ],
)
def test_what_is_not_there_is_one_line_that_names_the_key(name: str, says: str):
    with pytest.raises(ConfigError) as caught:
        extensions.resolve(TABLE, name, "algo.name")
    assert str(caught.value).startswith("algo.name: ") and says in str(caught.value)


def test_a_module_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "broken_module.py").write_text("raise RuntimeError('not\\ntoday')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"task: .*'broken_module' .*RuntimeError: not today"):
        extensions.resolve({}, "broken_module:TASK", "task")
