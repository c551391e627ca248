"""Poses and velocities of bodies, against other routes to the same numbers."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from bridges import kinematics
from holosoma_jax import robots
from holosoma_jax.motion import Clip, Skeleton, read, rotations
from holosoma_jax.motion.clip import velocities
from holosoma_jax.robots import urdf
from tests.support import motion_files


@pytest.mark.parametrize("name", ["g1", "t1", "k1"])
def test_agrees_with_the_simulators_kinematics(name: str) -> None:
    """`bridges.kinematics` takes the root's angular velocity in its own frame, as MuJoCo does."""
    skeleton = Skeleton(robots.load(name))
    rng = np.random.default_rng(3)
    frames, joints = 8, skeleton.robot.num_joints
    quat = rng.normal(size=(frames, 4))
    quat /= np.linalg.norm(quat, axis=1, keepdims=True)
    qpos = np.concatenate([rng.normal(size=(frames, 3)), quat, rng.uniform(-0.8, 0.8, (frames, joints))], 1)
    qvel = rng.normal(size=(frames, 6 + joints))
    ours = skeleton.bodies(qpos, qvel)
    local = qvel.copy()
    local[:, 3:6] = rotations.rotate(rotations.conjugate(quat), qvel[:, 3:6])
    tree = kinematics.tree(skeleton.model, skeleton.robot.root_body, skeleton.robot.body_names)
    links = kinematics.links(tree, jnp.asarray(qpos, jnp.float32), jnp.asarray(local, jnp.float32))
    np.testing.assert_allclose(ours.pos, links.pos, atol=1e-5)
    np.testing.assert_allclose(ours.lin_vel, links.lin_vel, atol=2e-5)
    np.testing.assert_allclose(ours.ang_vel, links.ang_vel, atol=2e-5)
    assert rotations.distance(ours.quat, np.asarray(links.quat, np.float64)).max() < 1e-5


def test_velocities_are_differences_of_poses(g1: Skeleton, walk: Clip) -> None:
    inner = slice(2, -2)
    difference = np.gradient(walk.body_pos, 1 / walk.fps, axis=0)
    assert np.sqrt(np.mean((difference - walk.body_lin_vel)[inner] ** 2)) < 0.01
    angular = rotations.angular_velocity(walk.body_quat, 1 / walk.fps)
    assert np.sqrt(np.mean((angular - walk.body_ang_vel)[inner] ** 2)) < 0.03


def test_a_turning_root_moves_its_bodies_about_it(g1: Skeleton) -> None:
    """Yaw rate 2 rad/s while lying on the side: v = w x r, w in the world frame."""
    qpos = np.concatenate([[0, 0, 1], rotations.about(0, np.array(np.pi / 2)), np.zeros(29)])[None]
    qvel = np.zeros((1, 35))
    qvel[0, 5] = 2.0
    found = g1.bodies(qpos, qvel)
    expected = np.cross([0.0, 0.0, 2.0], found.pos[0] - found.pos[0, 0])
    np.testing.assert_allclose(found.lin_vel[0], expected, atol=1e-12)
    np.testing.assert_allclose(found.ang_vel[0], np.tile([0, 0, 2.0], (32, 1)), atol=1e-12)


def test_breadth_first_order_of_the_g1(g1: Skeleton) -> None:
    """As `joint_names` of BeyondMimic's exported policies have it."""
    arm = [
        "shoulder_pitch",
        "shoulder_roll",
        "shoulder_yaw",
        "elbow",
        "wrist_roll",
        "wrist_pitch",
        "wrist_yaw",
    ]
    rows = ["L hip_pitch", "R hip_pitch", "waist_yaw", "L hip_roll", "R hip_roll", "waist_roll", "L hip_yaw",
            "R hip_yaw", "waist_pitch", "L knee", "R knee", "L shoulder_pitch", "R shoulder_pitch", "L ankle_pitch",
            "R ankle_pitch", "L shoulder_roll", "R shoulder_roll", "L ankle_roll", "R ankle_roll"]  # fmt: skip
    rows += [f"{side} {part}" for part in arm[2:] for side in "LR"]
    names = tuple(f"{r.replace('L ', 'left_').replace('R ', 'right_')}_joint" for r in rows)
    assert g1.breadth_first_joints == names


def test_root_velocity_by_hand() -> None:
    """One turn in 100 frames at 50 fps while moving along y at 1 m/s: pi rad/s, (0, 1, 0)."""
    t = np.arange(101)
    qpos = np.concatenate([np.zeros((101, 1)), t[:, None] / 50, np.ones((101, 1)),
                           rotations.about(2, 2 * np.pi * t / 100), np.zeros((101, 2))], 1)  # fmt: skip
    found = velocities(qpos, 50.0)
    np.testing.assert_allclose(found, np.tile([0, 1, 0, 0, 0, np.pi, 0, 0], (101, 1)), atol=1e-9)


def test_stored_bodies_are_returned_unchanged(tmp_path: Path, g1: Skeleton, walk: Clip) -> None:
    """For parity with holosoma, whose clips hold velocities of another kind; markers take their foot's row."""
    path = motion_files.holosoma(tmp_path / "clip.npz", walk, g1)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["body_lin_vel_w"] = arrays["body_lin_vel_w"] + 0.5
    np.savez(path, **arrays)
    stored, computed = read(path, g1, bodies="stored"), read(path, g1)
    foot, marker = (walk.body_names.index(n) for n in ("left_ankle_roll_link", "left_foot_contact_point"))
    np.testing.assert_allclose(stored.body_lin_vel[:, foot], walk.body_lin_vel[:, foot] + 0.5, atol=1e-9)
    np.testing.assert_array_equal(stored.body_pos[:, marker], stored.body_pos[:, foot])
    assert np.abs(computed.body_lin_vel - walk.body_lin_vel)[2:-2].max() < 1e-6
    assert computed.provenance.stored["linear velocity (rms, m/s)"] == pytest.approx(0.5 * 3**0.5, rel=1e-3)
    assert computed.provenance.stored["position (mean, m)"] < 1e-9


def test_the_sole_of_a_level_foot(g1: Skeleton) -> None:
    """The G1's soles are 0.757 m below the pelvis in the default pose."""
    qpos = np.concatenate([[0, 0, 0.757, 1, 0, 0, 0], g1.robot.default_joint_pos])[None]
    np.testing.assert_allclose(g1.clearance(*g1.poses(qpos)), 0.0, atol=1e-3)


@pytest.mark.parametrize("form", ["scene", "urdf"])
def test_a_robot_in_a_scene_or_as_urdf_moves_as_it_does_alone(form: str, tmp_path: Path) -> None:
    k1 = robots.load("k1")
    folder = shutil.copytree(k1.mjcf.parent, tmp_path / "mine")
    if form == "scene":
        scene = '<worldbody><geom name="floor" type="plane" size="0 0 1"/><body name="table"><geom size="1"/></body>'
        model = folder / k1.mjcf.name
        model.write_text(model.read_text().replace("<worldbody>", scene, 1))
        mine = Skeleton(robots.load(str(folder)))
    else:
        model = folder / "k1.urdf"
        model.write_text(urdf.urdf(k1))
        mine = Skeleton(dataclasses.replace(k1, mjcf=model))
    clip = read("k1_squat")
    pos, quat = mine.poses(clip.qpos)
    np.testing.assert_allclose(pos, clip.body_pos, atol=1e-5)
    assert rotations.distance(quat, clip.body_quat).max() < 1e-5
