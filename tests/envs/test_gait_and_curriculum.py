"""The gait clock and the curricula: worked examples, and holosoma's recorded values."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax.envs.scene import Scene
from holosoma_jax.envs.terms import curriculum as curricula
from holosoma_jax.envs.terms import gait
from holosoma_jax.envs.terms.term import Curriculum
from holosoma_jax.envs.view import View
from tests.support.shared import shared_arrays

PPO = curricula.penalty_curriculum()


@pytest.mark.parametrize(
    "phase, height",
    [
        (-np.pi, 0.0),
        (-3 * np.pi / 4, 0.0140625),
        (-np.pi / 2, 0.045),
        (0.0, 0.09),
        (1.0, 0.068449),
        (np.pi, 0.0),
    ],
)
def test_swing_height(phase: float, height: float) -> None:
    np.testing.assert_allclose(gait.swing_height_target(jnp.float32(phase), 0.09), height, atol=1e-6)


def test_right_foot_is_half_a_turn_off() -> None:
    np.testing.assert_allclose(gait.phase_offsets(jnp.array([0.3])), [[0.3, -2.841593]], atol=1e-5)


def test_phase_after_ten_steps_at_one_hertz() -> None:
    # 10 steps of 0.02 s at 1 Hz: a fifth of a turn
    phase = gait.gait_phase(jnp.array([10]), jnp.array([1.0]), jnp.zeros((1, 2)), 0.02)
    np.testing.assert_allclose(phase[0, 0], 1.256637, atol=1e-5)


def test_standing_freezes_both_feet_on_the_ground() -> None:
    command = jnp.array([[0.0, 0.0, 0.0], [0.009, 0.0, 0.009], [0.011, 0, 0], [0, 0, 0.02]])
    phase = gait.freeze_when_standing(jnp.zeros((4, 2)), command)
    np.testing.assert_allclose(phase[:, 0], [np.pi, np.pi, 0.0, 0.0])


def test_recorded_gait() -> None:
    d = shared_arrays("pure/gait")
    phi = jnp.asarray(d["phi"])
    for name, height in (("foot_height_swing_009", 0.09), ("foot_height_swing_012", 0.12)):
        np.testing.assert_allclose(gait.swing_height_target(phi, height), d[name], atol=1e-6)
    frequency = jnp.asarray(d["phase_dt"]).reshape(-1) / (2 * np.pi * 0.02)
    for step, command, recorded in zip(d["episode_length"], d["command"], d["phase"], strict=True):
        phase = gait.gait_phase(jnp.asarray(step), frequency, jnp.asarray(d["phase_offset"]), 0.02)
        ours = gait.freeze_when_standing(phase, jnp.asarray(command))
        np.testing.assert_allclose(np.sin((np.asarray(ours) - recorded) / 2), 0.0, atol=3e-5)


@pytest.mark.parametrize("envs, window", [(4096, 1000), (1024, 250), (1, 1)])
def test_tracker_window(envs: int, window: int) -> None:
    assert curricula.tracker_window(1000.0, envs) == window


def test_tracker_weighs_by_how_many_ended() -> None:
    # window 1 at 4 environments: two episodes of 10 and 30 steps replace the average by 20
    done = jnp.array([True, True, False, False])
    average = curricula.moving_average(jnp.float32(7.0), jnp.array([10, 30, 99, 99]), done, 1)
    assert float(average) == 20.0
    assert float(curricula.moving_average(average, jnp.array([1, 1, 1, 1]), ~done & done, 1)) == 20.0


def updated(curriculum: Curriculum, scale: jax.Array, average: jax.Array) -> jax.Array:
    """The scale one control step later, at this average episode length."""
    view = cast(View, SimpleNamespace(curricula={curricula.TRACKER: average}))
    return curriculum.update(view, scale)


def test_penalty_scale_climbs_and_falls() -> None:
    scale = jnp.float32(0.1)
    for _ in range(1000):
        scale = updated(PPO, scale, jnp.float32(800.0))
    np.testing.assert_allclose(scale, 0.128399, rtol=1e-4)
    assert float(updated(PPO, scale, jnp.float32(400.0))) == float(scale)
    assert float(updated(PPO, scale, jnp.float32(100.0))) < float(scale)
    for scale in (1.0, 0.3):  # the second of a run that is resumed without its curriculum
        assert (
            float(updated(curricula.penalty_curriculum(enabled=False), jnp.float32(scale), jnp.float32(9e9)))
            == 1.0
        )


@pytest.mark.parametrize(
    "kind, curriculum",
    [("ppo", PPO), ("sac", curricula.penalty_curriculum(initial_scale=0.5, min_scale=0.5, degree=0.001))],
)
def test_recorded_curriculum(kind: str, curriculum: Curriculum) -> None:
    window = curricula.tracker_window(1000.0, 4096)
    d = shared_arrays("pure/curriculum")
    counts, lengths = d[f"{kind}_num_resets"], d[f"{kind}_episode_lengths"]
    average, scale = jnp.float32(0.0), curriculum.init(jax.random.key(0), cast(Scene, None))
    for row, count in enumerate(counts):
        length = np.zeros(4096, np.int32)
        length[: lengths.shape[1]] = lengths[row]
        average = curricula.moving_average(average, jnp.asarray(length), jnp.arange(4096) < count, window)
        scale = updated(curriculum, scale, average)
        np.testing.assert_allclose(average, d[f"{kind}_average"][row], rtol=1e-5)
        np.testing.assert_allclose(scale, d[f"{kind}_scale"][row], rtol=1e-5)
