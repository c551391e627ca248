"""A clip and the ground it was made on: heights agree, and what does not belong together is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from holosoma_jax import experiment, robots
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs import terrain
from holosoma_jax.envs.tasks import tracking_ground
from holosoma_jax.envs.terrain import Terrain
from holosoma_jax.motion import Clip, Skeleton, read, write
from holosoma_jax.motion.generation import props
from tests.support import tracking

CLIP = "g1_walk_slope"


@pytest.fixture(scope="module")
def skeleton() -> Skeleton:
    return Skeleton(robots.load("g1"))


@pytest.fixture(scope="module")
def clip(skeleton: Skeleton) -> Clip:
    return read(CLIP, skeleton)


def ground(*flags: str, preset: str = "terrain-slope") -> Terrain:
    return terrain.build(compose.load(["exp:g1-29dof-wbt", f"terrain:{preset}", *flags]).terrain, 0)


@pytest.fixture(scope="module")
def slope() -> Terrain:
    return ground()


def test_the_mesh_is_what_the_clip_was_made_for(slope: Terrain) -> None:
    x = np.arange(-3.0, 8.0, 0.1)
    xy = np.stack([x, 0.0 * x], -1).astype(np.float32)
    np.testing.assert_allclose(slope.height(xy), props.slope(x)[0], atol=1e-5)
    np.testing.assert_array_equal(slope.tile_origins, np.zeros((1, 1, 3)))


def test_soles_lie_on_the_slope(slope: Terrain, skeleton: Skeleton, clip: Clip) -> None:
    """Every standing foot touches the ground within a millimetre, and none is below it."""
    assert clip.contact is not None
    frames = np.arange(clip.num_frames)
    feet = [row for rows in skeleton.feet for row in rows if row in {b for b, *_ in skeleton.surface}]
    for side, row in enumerate(feet):
        (points,) = ((p, r) for b, p, r in skeleton.surface if b == row)
        gaps = np.stack(
            [_gap(slope, clip, row, point, radius) for point, radius in zip(*points, strict=True)]
        )
        lowest = gaps.min(0)
        assert lowest.min() > -2e-3
        assert np.abs(lowest[frames[clip.contact[:, side] > 0]]).max() < 2e-3


def test_a_plane_under_a_clip_of_another_ground_is_said(
    skeleton: Skeleton, clip: Clip, caplog: pytest.LogCaptureFixture
) -> None:
    tracking_ground.require_fit(
        [dataclasses.replace(clip, terrain=None)], skeleton, ground(preset="terrain-plane")
    )
    assert not caplog.records
    tracking_ground.require_fit([clip], skeleton, ground(preset="terrain-plane"))
    assert [record.args for record in caplog.records] == [(CLIP, "slope")]


def test_a_clip_that_is_not_on_the_plane_is_said(
    skeleton: Skeleton, caplog: pytest.LogCaptureFixture
) -> None:
    """Policies of BeyondMimic are shipped with clips whose feet are 0.17 m in the ground."""
    squat = read("g1_squat", skeleton)
    plane = ground(preset="terrain-plane")
    tracking_ground.require_fit([squat], skeleton, plane)
    assert not caplog.records
    lowered = dataclasses.replace(squat, body_pos=squat.body_pos - [0.0, 0.0, 0.17])
    tracking_ground.require_fit([squat, lowered], skeleton, plane)
    (record,) = caplog.records
    assert isinstance(record.args, tuple)
    assert record.args[0] == "g1_squat" and record.args[1] == pytest.approx(-0.17, abs=0.01)


def _gap(slope: Terrain, clip: Clip, row: int, point: np.ndarray, radius: float) -> np.ndarray:
    """[T] m from a sphere of a body to the ground, along its normal."""
    from holosoma_jax.motion import rotations

    place = clip.body_pos[:, row] + rotations.rotate(
        clip.body_quat[:, row], np.tile(point, (clip.num_frames, 1))
    )
    _, rise = props.slope(place[:, 0])
    height = np.asarray(slope.height(place[:, :2].astype(np.float32)))
    return (place[:, 2] - height) * np.cos(np.arctan(rise)) - radius


def test_the_clip_fits_its_ground_and_any_plane(slope: Terrain, skeleton: Skeleton, clip: Clip) -> None:
    tracking_ground.require_fit([clip], skeleton, slope)
    tracking_ground.require_fit([clip], skeleton, ground(preset="terrain-plane"))


@pytest.mark.parametrize(
    ("shift", "named"), [((0, 0, 0.3), "0.3"), ((0, 0, -0.3), "0.3"), ((20, 0, 0), "edge")]
)
def test_a_clip_elsewhere_does_not(
    slope: Terrain, skeleton: Skeleton, clip: Clip, shift: tuple[float, float, float], named: str
) -> None:
    moved = dataclasses.replace(clip, body_pos=clip.body_pos + np.array(shift))
    with pytest.raises(ConfigError, match=named) as error:
        tracking_ground.require_fit([clip, moved], skeleton, slope)
    assert CLIP in str(error.value) and "\n" not in str(error.value)


def test_the_run_says_which_key(tmp_path: Path, skeleton: Skeleton, clip: Clip) -> None:
    """A file whose clip is 0.3 m too high for the slope."""
    high = dataclasses.replace(clip, body_pos=clip.body_pos + np.array([0.0, 0.0, 0.3]))
    path = write(tmp_path / "high.npz", high, skeleton)
    flags = (f"{tracking.KEY}motion-file={path}", "terrain:terrain-slope")
    with pytest.raises(ConfigError, match=r"motion_config\.motion_file") as error:
        experiment.build(tracking.config(num_envs=2, more=flags))
    assert "high" in str(error.value)


def test_a_mesh_of_ones_own(tmp_path: Path, skeleton: Skeleton, clip: Clip) -> None:
    """A file in holosoma's place: the clip's coordinates are the file's."""
    text = (Path(terrain.__file__).parent / "meshes" / "slope.obj").read_text()
    path = tmp_path / "terrain_slope.obj"
    path.write_text(text)
    own = ground(f"--terrain.terrain-term.obj-file-path={path}")
    tracking_ground.require_fit([clip], skeleton, own)


def test_a_reset_on_the_slope_starts_on_the_ground() -> None:
    """Without noise, feet are at most a few millimetres off when an episode starts, wherever in the clip."""
    import jax

    from holosoma_jax.rollout import control_step

    motion = ("motion-file=" + CLIP, "noise-to-initial-pose.overall-noise-scale=0.0")
    setup = experiment.build(tracking.config(*motion, num_envs=4, more=("terrain:terrain-slope",)))
    _, _, sim = control_step.reset_all(setup.env, setup.bridge, jax.random.key(1))
    soles = setup.robot.body_index(*setup.robot.foot_height_bodies)
    place = np.asarray(sim.body_pos)[:, soles]
    gap = place[..., 2] - np.asarray(setup.terrain.height(place[..., :2]))
    assert np.abs(gap.min(1)).max() < 0.02
    setup.bridge.close()
