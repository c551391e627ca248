"""Robots: the record, and the model that it names."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from holosoma_jax import robots
from holosoma_jax.robots.robot import Robot
from tests.support.fuzzing import damaged, fuzz, mutated, read_or_refused

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logging.getLogger("holosoma_jax").setLevel(logging.ERROR)
    folder = tmp_path_factory.mktemp("robot") / "mine"
    shutil.copytree(robots.load("k1").mjcf.parent, folder)
    return folder


def valid(found: Robot | None) -> None:
    """Finite numbers, one for every joint."""
    if found is None:
        return
    for name in (
        "default_joint_pos",
        "kp",
        "kd",
        "torque_limit",
        "velocity_limit",
        "armature",
        "action_scale",
    ):
        array = getattr(found, name)
        assert array.shape == (found.num_joints,) and np.isfinite(array).all(), name
    assert np.isfinite(found.init_pos).all() and np.isfinite(found.body_mass).all()
    assert (found.joint_lower <= found.joint_upper).all()
    assert len(set(found.joint_names)) == found.num_joints


@fuzz(150)
@given(data=st.data())
def test_records(data: st.DataObject, whole: Path) -> None:
    path = whole / "robot.yaml"
    text = path.read_text()
    tree: Any = data.draw(mutated(yaml.safe_load(text)))
    made = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")
    if data.draw(st.integers(0, 3)) == 0:
        made = data.draw(damaged(made))
    try:
        path.write_bytes(made)
        valid(read_or_refused(lambda: robots.load(str(whole))))
    finally:
        path.write_text(text)


@fuzz(200)
@given(data=st.data())
def test_models(data: st.DataObject, whole: Path) -> None:
    (path,) = whole.glob("*.xml")
    text = path.read_bytes()
    made = data.draw(st.one_of(damaged(text), edited(text.decode())))
    try:
        path.write_bytes(made)
        valid(read_or_refused(lambda: robots.load(str(whole))))
    finally:
        path.write_bytes(text)


@st.composite
def edited(draw: st.DrawFn, text: str) -> bytes:
    """An attribute's value replaced, an element doubled or left out."""
    lines = text.splitlines()
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(lines) - 1))
        parts = lines[at].split('"')
        kind = draw(st.sampled_from(["value", "value", "value", "drop", "double"]))
        if kind == "value" and len(parts) > 2:
            place = 2 * draw(st.integers(0, len(parts) // 2 - 1)) + 1
            parts[place] = draw(
                st.sampled_from(
                    [
                        "",
                        "0",
                        "-1",
                        "nan",
                        "1e308",
                        "1 2 3",
                        "left_knee",
                        "../x",
                        "\x01",
                        "&lt;",
                        "true",
                        "1e-30",
                        "99999999999",
                    ]
                )
            )
            lines[at] = '"'.join(parts)
        elif kind == "double":
            lines[at:at] = [lines[at]]
        elif len(lines) > 1:
            del lines[at]
    return "\n".join(lines).encode()
