"""A run on a robot of one's own: its files lie in the run, its numbers in every checkpoint."""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from holosoma_jax import robots
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.policy import policies
from holosoma_jax.robots.record import first_difference, reconfigured, record, trained_on
from holosoma_jax.runs import checkpoint, robot_files, terrain_file
from holosoma_jax.runs.open_run import open_run
from holosoma_jax.runs.run_config import saved_config
from holosoma_jax.training import run_state
from tests.support import toy
from tests.support.messages import tells
from tests.support.pages import write_robot


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The robot of docs/new_robot.md."""
    return write_robot(tmp_path)


def test_a_run_works_without_the_folder_it_was_begun_with(folder: Path, tmp_path: Path) -> None:
    cfg = toy.config(output_dir=str(tmp_path / "logs"))
    cfg = replace(cfg, robot=replace(cfg.robot, asset=str(folder)))
    with open_run(cfg) as run:
        (run.folder.path / "metrics.jsonl").write_text("{}\n")
    shutil.rmtree(folder)
    asset = saved_config(run.folder.path).config["robot"]["asset"]
    assert robots.load(asset).joint_names[0] == "neck"
    moved = run.folder.path.rename(tmp_path / "elsewhere")
    assert robots.load(saved_config(moved).config["robot"]["asset"]).name == "mybot"


def test_a_mesh_is_kept_with_the_run_that_walks_on_it(tmp_path: Path) -> None:
    mesh = tmp_path / "hill.obj"
    mesh.write_text("v 0 0 0\nv 4 0 0\nv 0 4 0\nf 1 2 3\n")
    cfg = toy.config(output_dir=str(tmp_path / "logs"))
    term = replace(cfg.terrain.terrain_term, mesh_type="load_obj", obj_file_path=str(mesh))
    with open_run(replace(cfg, terrain=replace(cfg.terrain, terrain_term=term))) as run:
        (run.folder.path / "metrics.jsonl").write_text("{}\n")
    text = mesh.read_text()
    mesh.unlink()
    moved = run.folder.path.rename(tmp_path / "elsewhere")
    kept = Path(saved_config(moved).config["terrain"]["terrain_term"]["obj_file_path"])
    assert kept.is_relative_to(moved) and kept.read_text() == text
    with open_run(toy.config(output_dir=str(tmp_path / "logs"))) as other:
        assert terrain_file.path_in(other.folder.path) is None


def test_robots_of_the_package_are_not_copied(tmp_path: Path) -> None:
    robot_files.keep("g1", tmp_path)
    assert robot_files.path_in(tmp_path) is None


def test_links_that_lead_out_of_a_robots_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the person who copies")
    (folder / "notes").symlink_to(tmp_path / "secret")
    (folder / "all").symlink_to("/usr")
    (folder / "again").symlink_to("robot.yaml")
    run = tmp_path / "run"
    run.mkdir()
    robot_files.keep(str(folder), run)
    names = {path.name for path in (run / robot_files.FOLDER).iterdir()}
    assert names == {"mybot.xml", "robot.yaml", "again"}


def test_a_copy_that_does_not_load_is_not_kept(folder: Path, tmp_path: Path, caplog) -> None:
    shared = folder.parent / "parts.xml"
    shared.write_text('<mujocoinclude><site name="origin"/></mujocoinclude>')
    model = folder / "mybot.xml"
    model.write_text(model.read_text().replace("<worldbody>", '<worldbody><include file="../parts.xml"/>'))
    target = tmp_path / "deep" / "run"
    target.mkdir(parents=True)
    robot_files.keep(str(folder), target)
    assert robot_files.path_in(target) is None and "is not copied into the run" in caplog.text


def test_a_run_inside_of_the_robots_folder(folder: Path, caplog) -> None:
    """As after `cd mybot; train --robot.asset .`: a copy would hold itself."""
    run = folder / "logs" / "run"
    run.mkdir(parents=True)
    robot_files.keep(str(folder), run)
    assert list(run.iterdir()) == [] and str(folder) in caplog.text


def test_the_first_number_that_differs_is_named() -> None:
    g1 = robots.load("g1")
    saved = json.loads(json.dumps(record(g1)))
    assert first_difference(saved, g1) is None and first_difference({}, g1) is None
    kp = g1.kp.copy()
    kp[3] += 1.0
    stiffer = first_difference(saved, replace(g1, kp=kp)) or ""
    assert tells(stiffer, f"joints.{g1.joint_names[3]}.kp ... {kp[3]:g} ... {g1.kp[3]:g}")
    lighter = replace(g1, body_mass=np.where(np.arange(g1.num_bodies) == 2, 0.5, g1.body_mass))
    assert f"bodies.{g1.body_names[2]}.mass is 0.5" in (first_difference(saved, lighter) or "")


def test_joints_in_another_order_differ() -> None:
    g1 = robots.load("g1")
    first, second, *rest = g1.joint_names
    assert first_difference(
        json.loads(json.dumps(record(g1))), replace(g1, joint_names=(second, first, *rest))
    ) == (f"joints: '{second}' stands where '{first}' was")


def test_the_joints_of_a_trained_robot_are_found_by_name() -> None:
    g1 = robots.load("g1")
    saved = json.loads(json.dumps(record(g1)))
    other = replace(g1, joint_lower=g1.joint_lower - 1, action_scale=np.full(29, 0.5, np.float32))
    again = trained_on(saved, other)
    np.testing.assert_array_equal(again.joint_lower, g1.joint_lower)
    np.testing.assert_array_equal(again.action_scale, g1.action_scale)
    older = {"joints": {g1.joint_names[0]: {"joint_lower": "low", "kp": math.inf}}}  # says nothing of use
    np.testing.assert_array_equal(trained_on(older, other).joint_lower, other.joint_lower)
    np.testing.assert_array_equal(trained_on({}, other).action_reach, other.action_reach)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"action_scale": np.full(29, 0.3, np.float32)}, "action_scale.left_hip_pitch_joint is 0.3"),
        ({"init_pos": (0.0, 0.0, 0.9)}, "init_pos[2] is 0.9"),
        ({"init_quat": (0.0, 0.0, 0.0, 1.0)}, "init_quat[0] is 0"),
        ({"soft_limit_factor": 0.9}, "soft_limit_factor is 0.9"),
        ({"velocity_limit": np.full(29, 3.0, np.float32)}, "velocity_limit.left_hip_pitch_joint is 3"),
        ({"mirror_sign": np.full(29, 1.0, np.float32)}, "mirror_sign."),
        ({"mirror_index": np.arange(29, dtype=np.int32)}, "mirror.left_hip_pitch_joint is 'left_hip_pitch"),
        ({"torso_body": "pelvis"}, "torso_body is 'pelvis'"),
        ({"feet_bodies": ("right_ankle_roll_link", "left_ankle_roll_link")}, "feet_bodies[0] is"),
        ({"termination_bodies": ("pelvis",)}, "termination_bodies[1] is absent"),
        ({"randomized_mass_bodies": ()}, "randomized_mass_bodies[0] is absent"),
        ({"tracked_bodies": ("torso_link",)}, "tracked_bodies[0] is"),
    ],
)
def test_the_rest_of_a_robots_record_is_compared_too(change: dict[str, Any], named: str) -> None:
    g1 = robots.load("g1")
    saved = json.loads(json.dumps(record(g1)))
    key = next(iter(change))
    found = first_difference(saved, replace(g1, **change)) or ""
    assert found.startswith(f"robot.{named}")
    older = {section: values for section, values in saved.items() if section != "robot"}
    assert first_difference(older, replace(g1, **change)) is None  # it does not hold that
    assert first_difference(saved, replace(g1, **change), but=(key,)) is None or "mirror" in key


def test_what_the_person_sets_otherwise_is_no_change_of_the_robot() -> None:
    before = {"control": {"action_scale": None}, "init_state": {"pos": None}}
    assert reconfigured(before, before) == ()
    assert reconfigured(before, before | {"control": {"action_scale": 0.5}}) == ("action_scale",)
    assert reconfigured(before, before | {"init_state": {"pos": [0, 0, 1.0]}}) == ("init_pos",)
    by_effort = {"action_scale": None, "action_scales_by_effort_limit_over_p_gain": True}
    assert reconfigured(before, before | {"control": by_effort}) == ("action_scale",)
    # a key beside them says nothing of the scale; one that an older version did not have is as it was
    clipped = {"action_clip_value": 5.0, "action_scales_by_effort_limit_over_p_gain": False}
    assert reconfigured(before, before | {"control": clipped}) == ()


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        (
            'range="-1 1"',
            'range="-1 1" frictionloss="0.5"',
            "joints.left_ankle.dof_frictionloss ... 0.5 ... 0",
        ),
        (
            'axis="0 1 0" range="-1 1"',
            'axis="0 -1 0" range="-1 1"',
            "joints.left_ankle.axis[1] ... -1 ... 1",
        ),
        ('pos="0 0 0.2"', 'pos="0 0 0.21"', "bodies.head.pos[2] ... 0.21 ... 0.2"),
        ("0.09 0.07 0.05", "0.08 0.07 0.05", "bodies.torso.inertia[0] ... 0.08 ... 0.09"),
        ('size="0.07"', 'size="0.08"', "geoms.head/0.size[0] ... 0.08 ... 0.07"),
        ('friction="0.8', 'friction="0.4', "geoms.left_foot/0.friction[0] ... 0.4 ... 0.8"),
        ('<geom class="sole" pos="0.13 0.04 -0.06"/>', "", "geoms.left_foot/0.pos[1] ... -0.04 ... 0.04"),
    ],
)
def test_an_edit_of_the_model_is_named(folder: Path, before: str, after: str, named: str) -> None:
    saved = json.loads(json.dumps(record(robots.load(str(folder)))))
    model = folder / "mybot.xml"
    assert before in model.read_text()
    model.write_text(model.read_text().replace(before, after, 1))
    assert tells(first_difference(saved, robots.load(str(folder))) or "", f"model.{named}")


def test_what_is_only_drawn_or_written_otherwise_is_no_difference(folder: Path) -> None:
    saved = json.loads(json.dumps(record(robots.load(str(folder)))))
    model = folder / "mybot.xml"
    text = model.read_text().replace('<geom type="box"', '<geom type="box" rgba="1 0 0 1" name="chest"')
    drawn = '<geom type="sphere" size="0.3" contype="0" conaffinity="0" mass="0"/>'
    inertia = 'fullinertia="0.09 0.07 0.05 0 0 0"'
    text = text.replace('diaginertia="0.09 0.07 0.05"/>', inertia + "/>" + drawn)
    model.write_text(
        text.replace('fromto="0 0 -0.05 0 0 -0.4" size="0.04"', 'pos="0 0 -0.225" size="0.04 0.175"')
    )
    assert inertia in model.read_text() and drawn in model.read_text()
    assert first_difference(saved, robots.load(str(folder))) is None


def test_a_mesh_is_compared_by_what_it_fills(folder: Path) -> None:
    """Not by where MuJoCo puts its frame, and not by the order of its vertices."""

    def tetrahedron(height: float, order: tuple[int, ...] = (0, 1, 2, 3)) -> None:
        points = [(0.0, 0.0, 0.0), (0.1, 0.0, 0.0), (0.0, 0.2, 0.0), (0.0, 0.0, height)]
        place = {point: number + 1 for number, point in enumerate(order)}
        faces = [(0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2)]
        lines = ["v {} {} {}".format(*points[i]) for i in order]
        lines += ["f {} {} {}".format(*(place[i] for i in face)) for face in faces]
        (folder / "head.obj").write_text("\n".join(lines) + "\n")
        times.append(times[-1] + 10)
        os.utime(
            folder / "head.obj", (times[-1], times[-1])
        )  # MuJoCo keeps a mesh until its file is a second newer

    times = [1_700_000_000]
    model = folder / "mybot.xml"
    text = model.read_text().replace('<geom type="sphere" size="0.07"', '<geom type="mesh" mesh="head"')
    model.write_text(text.replace("<worldbody>", '<asset><mesh file="head.obj"/></asset><worldbody>'))
    tetrahedron(0.3)
    saved = record(robots.load(str(folder)))
    tetrahedron(0.3, order=(3, 1, 0, 2))
    assert first_difference(saved, robots.load(str(folder))) is None
    tetrahedron(0.4)
    difference = first_difference(saved, robots.load(str(folder)))
    assert difference is not None and tells(difference, "model.geoms.head/0.high[2] ... 0.47 ... 0.37")


def test_a_checkpoint_of_another_robot_of_the_same_name_is_not_resumed(tmp_path: Path, caplog) -> None:
    cfg = toy.config(output_dir=str(tmp_path))
    setup = toy.setup(cfg)
    with open_run(cfg) as run:
        _, state = run_state.create_or_restore(setup)
        path = run_state.save(run.folder, setup, state)
    run_state.require(path, setup)
    other = replace(setup, robot=replace(setup.robot, kp=2.0 * setup.robot.kp))
    with pytest.raises(ConfigError, match=r"joints\.joint_0\.kp is .*, it was"):
        run_state.require(path, other)
    # It may be evaluated on: that is said, not refused.
    assert not caplog.messages
    policies.find(str(path)).policy(other)
    (line,) = caplog.messages
    assert tells(line, "joints.joint_0.kp ... 2 ... 1")


def test_a_checkpoint_without_the_numbers_of_the_model_is_one_line(tmp_path: Path, caplog) -> None:
    """As versions before this one wrote them."""
    cfg = toy.config(output_dir=str(tmp_path))
    setup = toy.setup(cfg)
    with open_run(cfg) as run:
        _, state = run_state.create_or_restore(setup)
        path = run_state.save(run.folder, setup, state)
    assert "model" not in checkpoint.read_meta(path).robot_record
    run_state.require(path, setup)
    assert not caplog.messages
    run_state.require(path, replace(setup, robot=replace(setup.robot, model={"geoms": {}})))
    (line,) = caplog.messages
    assert str(path) in line and "toy.xml" in line and "\n" not in line
