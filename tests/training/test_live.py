"""The viewer beside a run: what a training shows, and how a user steers an evaluation."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from holosoma_jax import experiment
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import Config, ViewerConfig, VirtualGantryConfig
from holosoma_jax.envs.terms import gait
from holosoma_jax.evaluation import evaluate
from holosoma_jax.evaluation.teleop import Teleop, command_limits
from holosoma_jax.experiment import Setup
from holosoma_jax.policy.policies import Policy
from holosoma_jax.rollout.state import StepInfo
from holosoma_jax.signals import Stop
from holosoma_jax.training import drivers
from holosoma_jax.training.viewer_callback import ViewerCallback
from holosoma_jax.viewer.controls import Command, CommandLimits
from holosoma_jax.viewer.session import viewer_session
from holosoma_jax.viewer.viewer import Viewer
from tests.support import terms
from tests.support.messages import tells


class FakeViewer:
    """A viewer of the test's."""

    def __init__(self) -> None:
        self.closed = False
        self.command: Command | None = (0.0, 0.0, 0.0)
        self.shown: list[tuple[Any, Any]] = []
        self.paused, self.speed, self.steps = False, 1.0, 0

    def take_steps(self) -> int:
        steps, self.steps = self.steps, 0
        return steps

    def take_rope(self) -> float | None:
        return None

    def show(self, sim: Any, command: Any = None, *, ghost: Any = None) -> None:
        self.shown.append((sim, command))

    def close(self) -> None:
        self.closed = True


def small(**training: Any) -> Config:
    cfg = compose.load(["exp:g1-29dof", "terrain:terrain-locomotion-plane", "simulator:mujoco"])
    return replace(cfg, training=replace(cfg.training, num_envs=2, **training))


def test_a_training_is_shown_and_continues_when_the_viewer_is_closed(messages):
    viewer = FakeViewer()
    callback = ViewerCallback(cast(Viewer, viewer), 0.02, Stop())
    info = cast(StepInfo, SimpleNamespace(sim="sim", command="command", ghost=None))
    bare = cast(
        StepInfo, SimpleNamespace(sim="bare", command=None, ghost=None)
    )  # a task without velocity commands
    callback.on_step(info)
    callback.on_step(bare)
    viewer.closed = True
    callback.on_step(info)
    callback.on_step(info)
    assert viewer.shown == [("sim", "command"), ("bare", None)]
    assert len(messages) == 1 and tells(messages[0], "viewer ... continues")


@pytest.mark.parametrize("ends", ["step", "resume", "close", "stop"])
def test_a_paused_training_waits_for_its_user(ends: str, messages) -> None:
    """It continues by one control step, for good, without the viewer, or to its end; meanwhile its robot is shown."""
    viewer, stop = FakeViewer(), Stop()
    viewer.paused, looks = True, 3

    def show(sim: Any, command: Any = None, *, ghost: Any = None) -> None:
        viewer.shown.append((sim, command))
        if len(viewer.shown) <= looks:
            return
        if ends == "step":
            viewer.steps = 1
        elif ends == "resume":
            viewer.paused = False
        elif ends == "close":
            viewer.closed = True
        else:
            stop.signal = signal.SIGTERM

    viewer.show = show  # type: ignore[method-assign]
    callback = ViewerCallback(cast(Viewer, viewer), 0.02, stop)
    callback.on_step(cast(StepInfo, SimpleNamespace(sim="sim", command=None, ghost=None)))
    assert len(viewer.shown) == looks + 1
    assert messages == ["Paused in the viewer."]


def test_teleop_tells_every_robot_once():
    viewer = FakeViewer()
    teleop = Teleop(cast(Viewer, viewer), 3, 0.02)
    np.testing.assert_array_equal(cast(np.ndarray, teleop.command()), np.zeros((3, 3), np.float32))
    assert teleop.command() is None
    viewer.command = (0.3, -0.1, 0.2)
    told = teleop.command()
    assert told is not None and told.dtype == np.float32
    np.testing.assert_allclose(told, np.tile([[0.3, -0.1, 0.2]], (3, 1)), rtol=1e-6)
    assert teleop.command() is None
    assert not teleop.ended()
    viewer.closed = True
    assert teleop.ended()
    stop = Stop()
    teleop = Teleop(cast(Viewer, FakeViewer()), 3, 0.02, stop)
    assert not teleop.ended()
    stop.signal = signal.SIGINT
    assert teleop.ended()


def test_a_stopped_clock_shows_the_step_until_the_next_one_is_asked_for():
    viewer = FakeViewer()
    viewer.paused = True
    info = cast(StepInfo, SimpleNamespace(sim="sim", command="command", ghost=None))

    def show(sim: Any, command: Any = None, *, ghost: Any = None) -> None:
        viewer.shown.append((sim, command))
        viewer.steps = int(len(viewer.shown) == 3)

    viewer.show = show  # type: ignore[method-assign]
    Teleop(cast(Viewer, viewer), 1, 0.02)(info)
    assert viewer.shown == [("sim", "command")] * 3


def test_a_viewer_looks_between_steps_so_iterations_are_not_one_program():
    def parts(**training: Any) -> Setup:
        bridge = SimpleNamespace(spec=SimpleNamespace(traceable=True, simulator="mjwarp"))
        return cast(Setup, SimpleNamespace(bridge=bridge, cfg=small(**training)))

    assert drivers.fused(parts())
    assert not drivers.fused(parts(headless=False))
    with pytest.raises(ConfigError, match=r"training\.driver: got 'fused' .*training\.headless"):
        drivers.fused(parts(headless=False, driver="fused"))


@pytest.fixture(scope="module")
def robots_alone() -> Iterator[Setup]:
    parts = experiment.build(small(), evaluation=True)
    yield parts
    parts.bridge.close()


def test_commands_are_clamped_to_what_was_trained(robots_alone: Setup):
    assert command_limits(robots_alone) == CommandLimits((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


def test_headless_opens_nothing(robots_alone: Setup):
    with viewer_session(robots_alone, "title", print) as viewer:
        assert viewer is None


def test_without_a_viewer_it_is_one_line(robots_alone: Setup):
    cfg = replace(small(headless=False), viewer=ViewerConfig(mode="web", host="192.0.2.1"))
    asked = viewer_session(replace(robots_alone, cfg=cfg), "title", print)
    with pytest.raises(ConfigError, match="viewer") as error, asked:
        pass
    assert "\n" not in str(error.value)


class WalksFromStep3:
    """Commands a velocity from step 3 on, and ends after step 6."""

    def __init__(self) -> None:
        self.asked = 0

    def command(self) -> np.ndarray | None:
        self.asked += 1
        return np.tile(np.array([0.5, 0.0, 0.1], np.float32), (2, 1)) if self.asked == 4 else None

    def rope(self) -> float | None:
        return None

    def ended(self) -> bool:
        return self.asked == 7


@pytest.mark.slow
def test_an_evaluation_follows_live_commands(robots_alone: Setup):
    policy = Policy("still", lambda obs: jnp.zeros((2, robots_alone.robot.num_joints)))
    moments: list[np.ndarray] = []
    scores = evaluate.run(
        robots_alone,
        policy,
        jnp.zeros((2, 3)),
        100,
        jax.random.key(0),
        lambda info: moments.append(np.array(info.command)),
        WalksFromStep3(),
    )
    told = np.stack(moments)
    assert told.shape == (7, 2, 3)
    np.testing.assert_array_equal(told[:3], 0.0)
    np.testing.assert_allclose(told[3:], np.broadcast_to([0.5, 0.0, 0.1], (4, 2, 3)), rtol=1e-6)
    assert scores.episode_length_s == pytest.approx(7 * 0.02)


class HangsFromStep2:
    """Hangs the robots up by ropes of no length before step 2, lets them go before step 30, ends after step 60."""

    def __init__(self) -> None:
        self.asked = 0

    def command(self) -> np.ndarray | None:
        return None

    def rope(self) -> float | None:
        self.asked += 1
        return {3: 0.0, 31: np.inf}.get(self.asked)

    def ended(self) -> bool:
        return self.asked == 61


@pytest.mark.slow
def test_the_user_of_an_evaluation_hangs_robots_up_and_lets_them_go() -> None:
    cfg = small()
    settings = replace(
        cfg.simulator.config, virtual_gantry=VirtualGantryConfig(enabled=True, hold_s=0.0, release_s=0.0)
    )
    parts = experiment.build(replace(cfg, simulator=replace(cfg.simulator, config=settings)), evaluation=True)
    policy = Policy("still", lambda obs: jnp.zeros((2, parts.robot.num_joints)))
    heights: list[np.ndarray] = []
    try:
        evaluate.run(
            parts,
            policy,
            jnp.zeros((2, 3)),
            100,
            jax.random.key(0),
            lambda info: heights.append(np.array(info.sim.root_pos[:, 2])),
            HangsFromStep2(),
        )
    finally:
        parts.bridge.close()
    high = np.stack(heights)
    assert len(high) == 61 and (high[:2] < 0.85).all()
    assert (high[29] > high[1] + 0.15).all() and (high[40] < high[29]).all()


def test_a_live_command_keeps_the_gait_and_standing_freezes_it(robots_alone: Setup):
    state, _ = jax.jit(robots_alone.env.init)(jax.random.key(0))
    state = terms.put(state, phase=jnp.full((2, 2), 1.25))
    command = jnp.array([[0.3, 0.0, 0.0], [0.0, 0.0, 0.0]])
    env = robots_alone.env
    steered = env.task.steering.set(env, state, command)
    np.testing.assert_allclose(terms.get(steered, "phase"), [[1.25, 1.25], [np.pi, np.pi]], rtol=1e-6)
    told = env.velocity_command(steered)
    np.testing.assert_array_equal(told, command)
    np.testing.assert_array_equal(gait.is_standing(told), [False, True])
