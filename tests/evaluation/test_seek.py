"""A person who looks at a motion-tracking policy from a frame of their choice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from holosoma_jax import experiment
from holosoma_jax.envs.terms.motion.reference import ASSET
from holosoma_jax.evaluation import evaluate
from holosoma_jax.evaluation.teleop import Teleop
from holosoma_jax.policy.policies import Policy
from holosoma_jax.rollout.state import StepInfo
from tests.support import tracking


class Seeks:
    """Looks at environment 1, chooses frame 200 before the third control step, one behind the end before the fifth."""

    env = 1

    def __init__(self) -> None:
        self.frames: list[int] = []

    def command(self) -> None:
        return None

    def rope(self) -> None:
        return None

    def seek(self, frame: int) -> int | None:
        self.frames.append(frame)
        return {3: 200, 5: 10_000}.get(len(self.frames))

    def ended(self) -> bool:
        return False


def test_robots_start_in_the_frame_that_is_chosen() -> None:
    parts = experiment.build(
        tracking.config("motion-file=g1_squat", "evaluation-start=uniform", num_envs=2), evaluation=True
    )
    policy, live = Policy("still", lambda obs: jnp.zeros((2, parts.robot.num_joints))), Seeks()
    shown: list[tuple[np.ndarray, np.ndarray]] = []
    starts: list[bool] = []

    def on_step(info: StepInfo) -> None:
        assert info.ghost is not None
        shown.append((np.array(info.ghost.joint_pos), np.array(info.sim.joint_pos)))
        starts.append(bool(info.pending.starts.all()))

    try:
        evaluate.run(parts, policy, None, 5, jax.random.key(0), on_step, live)
    finally:
        parts.bridge.close()
    first = live.frames[0]
    assert live.frames == [first, first + 1, first + 2, 201, 202]
    assert starts == [True, False, True, False, True]
    clip = np.asarray(parts.env.mdp.scene.assets[ASSET].clips.frames.joint_pos)
    ghosts = [first, first + 1, 200, 201, len(clip) - 1]
    for (ghost, robot), frame in zip(shown, ghosts, strict=True):
        np.testing.assert_array_equal(ghost[live.env], clip[frame])
        together = frame in ghosts[2:]
        assert np.array_equal(ghost[0], ghost[1]) == together
        if frame == 200:  # without noise; one control step later
            np.testing.assert_allclose(robot, ghost, atol=0.15)


def test_the_viewers_user_chooses_by_slider_or_steps_back() -> None:
    wishes: dict[str, Any] = {"seek": None, "steps": 0}

    def take(name: str, nothing: Any) -> Any:
        taken, wishes[name] = wishes[name], nothing
        return taken

    shown: list[int] = []
    viewer = SimpleNamespace(
        paused=False, speed=1000.0, closed=False, command=None, env=3,
        take_seek=lambda: take("seek", None), take_steps=lambda: take("steps", 0),
        show=lambda sim, command, ghost, frame_index: shown.append(frame_index),
    )  # fmt: skip
    teleop = Teleop(cast(Any, viewer), 1, 0.02, frames=50)
    info = cast(StepInfo, SimpleNamespace(sim=None, command=None, ghost=None))
    assert teleop.env == 3
    assert teleop.seek(7) is None
    teleop(info)
    wishes["seek"] = 30
    assert teleop.seek(8) == 30
    viewer.paused, wishes["steps"] = True, -1
    teleop(info)  # returns, although the clock is stopped
    assert teleop.seek(31) == 29
    assert shown[0] == 7 and set(shown[1:]) == {30}
