"""The code blocks of a documentation page, as the files that their first lines name."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^```(?:xml|yaml) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```(?:python|yaml)\n# (\S+\.(?:py|yaml))\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def write_files(page: str, folder: Path) -> list[Path]:
    """Write the blocks of docs/`page` that begin with a file's name into `folder`."""
    blocks = _BLOCK.findall((ROOT / "docs" / page).read_text())
    for name, text in blocks:
        (folder / name).write_text(text)
    return [folder / name for name, _ in blocks]


def write_robot(folder: Path) -> Path:
    """Write the files of docs/new_robot.md, which its code fences name, below `folder`; returns the robot's folder."""
    for name, text in _FENCE.findall((ROOT / "docs" / "new_robot.md").read_text()):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder / "mybot"


def edit(folder: Path, *changes: tuple[str, str], file: str = "mybot.xml") -> None:
    """Replace parts of a page's file, each of which has to be there."""
    text = (folder / file).read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / file).write_text(text)
