"""Many clips as one pytree of flat arrays."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.motion import Clip, Clips, Skeleton, concatenate, edit

TRACKED = ("pelvis", "torso_link", "left_wrist_yaw_link")


def test_tables_of_starts_and_lengths(g1: Skeleton, walk: Clip) -> None:
    clips = concatenate([walk, edit.cut(g1, walk, 0, 50), edit.mirror(g1, walk)], g1, TRACKED)
    np.testing.assert_array_equal(clips.start, [0, 200, 250])
    np.testing.assert_array_equal(clips.length, [200, 50, 200])
    np.testing.assert_array_equal(clips.clip, np.repeat([0, 1, 2], [200, 50, 200]))
    assert {x.dtype.name for x in jax.tree.leaves(clips.frames)} == {"float32"}
    assert clips.frames.body_pos.shape == (450, 3, 3)


def test_a_frame_is_that_of_its_clip(g1: Skeleton, walk: Clip) -> None:
    clips = concatenate([walk, edit.cut(g1, walk, 100, 200)], g1, TRACKED)
    row = clips.at(np.array([130, 230]))  # frame 130 of the first and frame 30 of the second are the same
    torso = walk.body_names.index("torso_link")
    for k in (0, 1):
        np.testing.assert_allclose(row.joint_pos[k], walk.joint_pos[130], atol=1e-6)
        np.testing.assert_allclose(row.body_pos[k, 1], walk.body_pos[130, torso], atol=1e-6)
        np.testing.assert_allclose(row.root_ang_vel[k], walk.body_ang_vel[130, 0], atol=1e-5)


def test_gathers_on_the_device(g1: Skeleton, walk: Clip) -> None:
    """One compiled step serves any set of clips with as many frames."""
    step = jax.jit(Clips.at)
    frame = jnp.array([0, 7, 199], jnp.int32)
    one = jax.device_put(concatenate([walk], g1, TRACKED))
    np.testing.assert_array_equal(step(one, frame).joint_pos, one.frames.joint_pos[np.array([0, 7, 199])])
    assert len(jax.tree.leaves(one)) == 10 + 3


def test_the_step_costs_the_same_for_one_clip_and_for_a_hundred(g1: Skeleton, walk: Clip) -> None:
    """The compiled program of a step depends on the number of frames only in the shapes it gathers from."""
    piece = edit.cut(g1, walk, 0, 20)
    many = concatenate([piece] * 10, g1, TRACKED)
    frame = jnp.zeros(8, jnp.int32)
    programs = [
        jax.jit(Clips.at).lower(clips, frame).compile().cost_analysis()
        for clips in (many, concatenate([walk], g1, TRACKED))
    ]
    assert programs[0]["flops"] == programs[1]["flops"]
    assert programs[0]["bytes accessed"] == programs[1]["bytes accessed"]


def test_other_rates_are_resampled(g1: Skeleton, walk: Clip) -> None:
    slow = edit.resample(g1, walk, 30.0)
    clips = concatenate([slow], g1, TRACKED, fps=50.0)
    assert clips.length[0] == pytest.approx(slow.duration * 50, abs=1)


def test_refusals(g1: Skeleton, walk: Clip) -> None:
    with pytest.raises(ConfigError, match=r"torso_lnk.*torso_link"):
        concatenate([walk], g1, ["torso_lnk"])
    with pytest.raises(ConfigError, match="at least 3"):
        concatenate([edit.cut(g1, walk, 0, 2)], g1, TRACKED)
    with pytest.raises(ConfigError, match="no motion clip"):
        concatenate([], g1, TRACKED)
