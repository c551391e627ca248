"""Observations in the order, frames and scales of another project's policy, and its actions in the robot's order."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs.env import EnvSpec, ObservationTerm
from holosoma_jax.policy.foreign import adapter


def spec_of(*terms: tuple[str, int, int, float]) -> EnvSpec:
    """An environment that observes (name, dim, frames, scale)."""
    layout, start = [], 0
    for name, dim, frames, scale in terms:
        layout.append(ObservationTerm("g", name, name, dim, frames, scale, 0.0, start, (), ()))
        start += dim * frames
    return cast(EnvSpec, SimpleNamespace(layout=tuple(layout), obs_dims={"g": start}))


def adapted(
    layout: list[dict[str, Any]], spec: EnvSpec, joints: list[int], num_joints: int = 3
) -> np.ndarray:
    made = adapter.make("p", layout, spec, "g", np.array(joints), num_joints)
    return made.observation(np.arange(spec.obs_dims["g"], dtype=np.float32)[None])[0]


def test_commands_of_three_entries_are_taken_frame_by_frame() -> None:
    # Ours: (vx vy) of two frames, then (wz) of two; theirs: (vx vy wz) of each frame, with a scale an entry.
    spec = spec_of(("command_ang_vel", 1, 2, 1.0), ("command_lin_vel", 2, 2, 1.0))
    layout = [{"name": "velocity_commands", "dim": 3, "history_length": 2, "scale": [1.0, 1.0, 0.5]}]
    assert adapted(layout, spec, [0]).tolist() == [2, 3, 0, 4, 5, 0.5]


def test_terms_may_keep_different_histories_of_which_the_newest_are_taken() -> None:
    spec = spec_of(("base_ang_vel", 3, 2, 1.0), ("dof_pos", 3, 2, 1.0))
    layout: list[Mapping[str, Any]] = [
        {"name": "joint_pos", "dim": 2, "history_length": 2, "scale": 1.0},  # joints 2 and 0 of three
        {"name": "gyro", "dim": 3, "history_length": 1, "scale": 1.0},
    ]
    assert adapted(cast(Any, layout), spec, [2, 0]).tolist() == [8, 6, 11, 9, 3, 4, 5]


def test_joints_that_the_policy_does_not_move_get_no_action() -> None:
    spec = spec_of(("dof_pos", 3, 1, 1.0))
    layout = [{"name": "dof_pos", "dim": 2, "history_length": 1}]
    made = adapter.make("p", layout, spec, "g", np.array([2, 0]), 3)
    assert made.action(np.array([[5.0, 7.0]])).tolist() == [[7.0, 0.0, 5.0]]


def test_a_policy_of_some_joints_that_lists_nothing_observes_these() -> None:
    spec = spec_of(("dof_pos", 3, 1, 1.0), ("motion_command", 6, 1, 1.0), ("base_ang_vel", 3, 1, 1.0))
    made = adapter.make("p", None, spec, "g", np.array([2, 0]), 3)
    obs = np.arange(12, dtype=np.float32)[None]
    assert made.observation(obs)[0].tolist() == [2, 0, 5, 3, 8, 6, 9, 10, 11]


def test_frames_before_the_episode_are_as_the_policy_states() -> None:
    """One that does not say takes ours; another filling is another observation, but for a single frame."""
    spec = spec_of(("dof_pos", 2, 3, 1.0))
    term: dict[str, Any] = {"name": "dof_pos", "dim": 2, "history_length": 3}
    for filled in (
        term,
        term | {"history_fill": "zero"},
        term | {"history_fill": "first", "history_length": 1},
    ):
        assert adapted([filled], spec, [0, 1]).size == 2 * filled["history_length"]
    with pytest.raises(ConfigError, match="history_fill first"):
        adapted([term | {"history_fill": "first"}], spec, [0, 1])
