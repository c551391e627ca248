"""Models that have no end, or that a few letters make larger than memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.robots import load
from tests.support.pages import edit

HUNDRED = '<replicate count="100">'
COPIES = f"{HUNDRED}{HUNDRED}<geom size='1'/></replicate></replicate>"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('<include file="pipe"/>', "no regular file"),
        ("<include  file = 'more.xml' />", "no regular file"),
        ('<include file="/dev/zero"/>', "no regular file"),
        ('<include file="none.xml"/>', "none.xml"),
        ('<include file="mybot.xml"/>', "already included"),
        (f"<worldbody>{COPIES}</worldbody>", "10000 copies"),
    ],
)
def test_files_without_an_end_are_not_read(text: str, said: str, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "more.xml").write_text('<mujoco><include file="pipe"/></mujoco>')
    edit(folder, ("<worldbody>", f"{text}<worldbody>"))
    with pytest.raises(ConfigError, match=said):
        load(str(folder))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('<asset><hfield name="h" nrow="100000" ncol="100000" size="1 1 1 1"/></asset>', "hfield"),
        (
            '<worldbody><flexcomp name="f" type="grid" count="300 300 300" spacing="1 1 1" dim="3"/></worldbody>',
            "flexcomp",
        ),
        (
            '<worldbody><replicate count="200"><flexcomp name="f" type="grid" count="4 4 1" spacing="1 1 1" dim="2"/>'
            "</replicate></worldbody>",
            "flexcomp",
        ),
        ('<size nuser_geom="50000000"/>', "nuser_geom"),
        ('<include file="i0.xml"/>', "at most"),
        ('<asset><model name="s" file="mybot.xml"/></asset>', "of which it is a part"),
        ('<asset><model name="s" file="other.xml"/></asset>', "of which it is a part"),
    ],
)
def test_what_a_few_letters_make_large_or_endless_is_refused(folder: Path, text: str, said: str) -> None:
    """Each of them hung for minutes, filled the memory or ended the process in MuJoCo's reader."""
    for number in range(30):
        (folder / f"i{number}.xml").write_text(f'<mujoco><include file="i{number + 1}.xml"/></mujoco>')
    (folder / "other.xml").write_text('<mujoco><asset><model name="b" file="mybot.xml"/></asset></mujoco>')
    edit(folder, ("<worldbody>", f"{text}<worldbody>"))
    with pytest.raises(ConfigError, match=said):
        load(str(folder))


def test_what_is_large_but_honest_is_read(folder: Path) -> None:
    field = '<asset><hfield name="h" nrow="100" ncol="100" size="1 1 1 1"/></asset>'
    cloth = '<flexcomp name="f" type="grid" count="4 4 1" spacing=".1 .1 .1" dim="2" pos="3 0 1"/>'
    edit(folder, ("<worldbody>", f'{field}<size nuser_geom="4"/><worldbody>{cloth}'))
    assert load(str(folder)).num_joints == 5
