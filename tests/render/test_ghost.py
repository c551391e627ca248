"""A second, transparent robot: in videos, contact sheets and the viewer's scene."""

from __future__ import annotations

from pathlib import Path

import chex
import mujoco
import numpy as np
import pytest

from bridges.protocol import Ground
from holosoma_jax.render import scene, video_job, visual_model
from holosoma_jax.render.ghost import RGBA, Ghost
from holosoma_jax.render.video_job import GhostPath, Trajectory, read_job, write_job
from holosoma_jax.robots.robot import Robot
from tests.render.test_video import backend, read, robot, walk

__all__ = ["backend", "robot"]


@pytest.fixture
def visual(robot: Robot) -> visual_model.VisualModel:
    model = scene.scene_model(robot.mjcf, Ground(), 64, 48, joint_names=robot.joint_names)
    return visual_model.bind(model, robot.joint_names, robot.mjcf)


def beside(trajectory: Trajectory, left: float) -> Trajectory:
    """With a ghost `left` m to the left."""
    path = GhostPath(
        trajectory.root_pos + np.float32([0, left, 0]), trajectory.root_quat, trajectory.joint_pos
    )
    return trajectory._replace(ghost=path)


def test_its_geoms_are_those_of_the_robot_elsewhere(visual: visual_model.VisualModel):
    drawn = mujoco.MjvScene(visual.model, 100)
    pose = (np.array([1.0, 2.0, 0.9]), np.array([1.0, 0.0, 0.0, 0.0]), np.array([0.3, -0.2]))
    Ghost(visual).add_to(drawn, *pose)
    data = mujoco.MjData(visual.model)
    visual_model.set_pose(visual, data, *pose)
    of_robot = np.flatnonzero(visual.model.geom_bodyid > 0)
    assert drawn.ngeom == len(of_robot)
    for geom in drawn.geoms[: drawn.ngeom]:
        np.testing.assert_allclose(geom.pos, data.geom_xpos[geom.objid], atol=1e-6)
        np.testing.assert_allclose(geom.rgba, RGBA, rtol=1e-6)


def test_a_pose_that_is_not_finite_is_not_drawn(visual: visual_model.VisualModel):
    drawn = mujoco.MjvScene(visual.model, 100)
    Ghost(visual).add_to(drawn, np.full(3, np.nan), np.array([1.0, 0, 0, 0]), np.zeros(2))
    assert drawn.ngeom == 0


def test_a_scene_without_room_takes_what_fits(visual: visual_model.VisualModel):
    drawn = mujoco.MjvScene(visual.model, 1)
    Ghost(visual).add_to(drawn, np.zeros(3), np.array([1.0, 0, 0, 0]), np.zeros(2))
    assert drawn.ngeom <= 1


def test_it_survives_the_job_file_and_the_stride(robot: Robot, tmp_path: Path):
    trajectory = beside(walk(5), 0.5).every(2)
    job = video_job.Job(trajectory, robot.mjcf, robot.joint_names, Ground(), 160, 90, 50.0, "auto")
    write_job(tmp_path / "job.npz", job)
    back = read_job(tmp_path / "job.npz").trajectory
    assert back.ghost is not None
    chex.assert_trees_all_equal(trajectory.ghost, back.ghost)
    assert len(back.ghost.root_pos) == 3


def test_it_is_drawn_in_a_video(robot: Robot, backend: str, tmp_path: Path):
    from holosoma_jax.config.schema import VideoConfig
    from holosoma_jax.render.video import render_video

    still = walk(1)._replace(command=None, root_lin_vel=None)
    alone = read(render_video(tmp_path / "a.mp4", still, robot, Ground(), 0.02, VideoConfig()))[1][0]
    both = read(render_video(tmp_path / "b.mp4", beside(still, 0.8), robot, Ground(), 0.02, VideoConfig()))[
        1
    ][0]
    bluer = (both[..., 2].astype(int) - both[..., 0]) - (alone[..., 2].astype(int) - alone[..., 0])
    rows, columns = np.nonzero(bluer > 25)
    assert len(rows) > 500
    assert columns.mean() > 380 or columns.mean() < 260  # beside the robot, which stays as it was
    middle = np.s_[120:250, 310:330]
    assert np.abs(both[middle].astype(int) - alone[middle]).mean() < 3
