"""`files.replacing`: what stands under a name is whole, before, during and after a write."""

from __future__ import annotations

from pathlib import Path

import pytest

from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.files import expanded, replacing


def test_the_name_changes_hands_when_all_is_written(tmp_path: Path):
    target = tmp_path / "deep" / "a.json"
    for text in ("first", "second"):
        with replacing(target) as temporary:
            temporary.write_text(text)
            assert temporary.parent == target.parent and temporary.suffix == ".json"
            assert not target.exists() or target.read_text() == "first"
        assert target.read_text() == text
    assert [path.name for path in target.parent.iterdir()] == ["a.json"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    target = tmp_path / "a.png"
    target.write_text("old")
    with pytest.raises(ValueError, match="half way"), replacing(target) as temporary:
        temporary.write_text("new")
        raise ValueError("half way")
    with pytest.raises(FileNotFoundError), replacing(target):
        pass  # nothing written
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_the_home_of_a_user_who_does_not_exist_is_a_name_as_it_is() -> None:
    assert expanded("~/a") == Path.home() / "a"
    assert expanded("~nobody_of_this_name/a") == Path("~nobody_of_this_name/a")
    with pytest.raises(ConfigError, match="nobody_of_this_name"):
        compose.load(["--config", "~nobody_of_this_name/a.yaml"])
