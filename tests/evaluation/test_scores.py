"""Measures by hand on one environment's numbers, and the bookkeeping of falls."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bridges.protocol import SimState
from holosoma_jax import robots
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs.env import StepResult
from holosoma_jax.envs.task import Measurement
from holosoma_jax.envs.tasks import locomotion_metrics
from holosoma_jax.evaluation import scores, sweep
from holosoma_jax.robots.robot import Robot

DT = 0.02
REWARDS = ("alive",)


@pytest.fixture(scope="module")
def g1() -> Robot:
    return robots.load("g1")


def at_rest(robot: Robot, num_envs: int = 1) -> SimState:
    """Upright at the default pose, nothing moving, nothing touched."""
    e, j, b = num_envs, robot.num_joints, robot.num_bodies
    upright = jnp.zeros((e, 4)).at[:, 0].set(1.0)
    return SimState(
        root_pos=jnp.zeros((e, 3)),
        root_quat=upright,
        root_lin_vel=jnp.zeros((e, 3)),
        root_ang_vel=jnp.zeros((e, 3)),
        joint_pos=jnp.tile(jnp.asarray(robot.default_joint_pos)[None], (e, 1)),
        joint_vel=jnp.zeros((e, j)),
        body_pos=jnp.zeros((e, b, 3)),
        body_quat=jnp.zeros((e, b, 4)).at[..., 0].set(1.0),
        body_lin_vel=jnp.zeros((e, b, 3)),
        body_ang_vel=jnp.zeros((e, b, 3)),
        contact_force=jnp.zeros((e, b, 3)),
    )


def measured(robot: Robot, sim: SimState, **changes: object) -> dict[str, tuple[float, float]]:
    """(value, weight) of every measure in the one environment of `sim`."""
    e = sim.root_pos.shape[0]
    given = {
        "command": jnp.zeros((e, 3)),
        "targets": sim.joint_pos,
        "action_change": jnp.zeros_like(sim.joint_pos),
        "first_step": jnp.zeros(e, bool),
    }
    samples = locomotion_metrics.measure(robot, DT, sim, **(given | changes))
    return {name: (float(s.value[0]), float(s.weight[0])) for name, s in samples.items()}


def test_standing_still_as_told_scores_zero_everywhere(g1: Robot) -> None:
    samples = measured(g1, at_rest(g1))
    assert {name: value for name, (value, _) in samples.items()} == dict.fromkeys(
        locomotion_metrics.MEASURES, 0.0
    )
    assert samples["foot_slip"][1] == 0.0  # in the air, no foot can slip


def test_velocity_error_is_taken_in_the_base_frame(g1: Robot) -> None:
    # Heading +90 degrees, moving along world y: that is forward at 1 m/s. Told 0.4 forward, 0.8 left:
    # the error is (0.6, -0.8), length 1. Turning at 0.5 rad/s where -0.25 was asked: 0.75.
    turned = jnp.array([[math.cos(math.pi / 4), 0.0, 0.0, math.sin(math.pi / 4)]])
    sim = at_rest(g1)._replace(
        root_quat=turned,
        root_lin_vel=jnp.array([[0.0, 1.0, -3.0]]),
        root_ang_vel=jnp.array([[0.0, 0.0, 0.5]]),
    )
    samples = measured(g1, sim, command=jnp.array([[0.4, 0.8, -0.25]]))
    assert samples["lin_vel_error"][0] == pytest.approx(1.0, abs=1e-5)
    assert samples["yaw_rate_error"][0] == pytest.approx(0.75, abs=1e-5)


def test_power_is_torque_times_speed_with_the_torque_clipped(g1: Robot) -> None:
    # Joint 0 is 0.1 rad from its target and turns at 2 rad/s: tau = 0.1 kp - 2 kd.
    # Joint 1 is 100 rad away: tau is its limit. It turns backwards at 3 rad/s; work counts unsigned.
    sim = at_rest(g1)
    sim = sim._replace(joint_vel=sim.joint_vel.at[0, 0].set(2.0).at[0, 1].set(-3.0))
    targets = sim.joint_pos.at[0, 0].add(0.1).at[0, 1].add(100.0)
    torque = 0.1 * g1.kp[0] - 2.0 * g1.kd[0]
    expected = abs(torque * 2.0) + g1.torque_limit[1] * 3.0
    assert measured(g1, sim, targets=targets)["power"][0] == pytest.approx(expected, rel=1e-4)


def test_action_rate_is_the_speed_of_the_targets(g1: Robot) -> None:
    # One of J joints changes its action by 0.5: 0.5 * scale / 0.02 s, averaged over J joints.
    change = jnp.zeros((1, g1.num_joints)).at[0, 4].set(-0.5)
    expected = 0.5 * g1.action_scale[4] / DT / g1.num_joints
    assert measured(g1, at_rest(g1), action_change=change)["action_rate"] == pytest.approx((expected, 1.0))
    begun = measured(g1, at_rest(g1), action_change=change, first_step=jnp.ones(1, bool))
    assert begun["action_rate"][1] == 0.0  # there was no action before


def test_slip_counts_the_feet_that_touch_the_ground(g1: Robot) -> None:
    left, right = g1.body_index(*g1.feet_bodies)
    left_sole, right_sole = g1.body_index(*g1.foot_height_bodies)
    sim = at_rest(g1)
    velocity = sim.body_lin_vel.at[0, left_sole].set(jnp.array([0.3, 0.4, 9.0]))
    velocity = velocity.at[0, right_sole].set(jnp.array([0.0, 0.1, 0.0]))
    touch = sim.contact_force.at[0, left, 2].set(200.0)
    one = measured(g1, sim._replace(body_lin_vel=velocity, contact_force=touch))
    assert one["foot_slip"] == pytest.approx((0.5, 1.0))
    both = sim._replace(body_lin_vel=velocity, contact_force=touch.at[0, right, 2].set(200.0))
    assert measured(g1, both)["foot_slip"] == pytest.approx((0.3, 2.0))  # the mean of 0.5 and 0.1


def step_result(terminated: list[int], bad: list[int] | None = None, reward: float = 0.0) -> StepResult:
    """A result of E environments; the reward sums of the episodes that ended are `reward` a second."""
    ended = jnp.array(terminated, bool)
    flags = jnp.zeros_like(ended) if bad is None else jnp.array(bad, bool)
    count = ended.sum(dtype=jnp.float32)
    empty = jnp.zeros(len(terminated))
    return StepResult(
        reward=empty,
        terminated=ended,
        truncated=flags,
        final_obs={},
        reset=None,
        episode_return=empty,
        episode_length=empty,
        metrics={"PerSecond/rew_alive": (reward * count, count)},
        nonfinite=flags,
    )


def samples(value: list[float]) -> dict[str, Measurement]:
    weight = jnp.ones(len(value))
    return {name: Measurement(jnp.array(value), weight) for name in locomotion_metrics.MEASURES}


def fresh(num_envs: int) -> scores.EvalAccumulator:
    return scores.empty_accumulator(num_envs, REWARDS, locomotion_metrics.MEASURES)


def summary(
    totals: scores.EvalAccumulator, steps: int, running: list[float], running_steps: list[int]
) -> scores.Scores:
    return scores.summarize(totals, steps, DT, {"alive": jnp.array(running)}, jnp.array(running_steps))


def test_a_fall_ends_the_first_episode_and_what_follows_counts_apart() -> None:
    totals = fresh(2)
    count = jax.jit(scores.accumulate)
    totals = count(totals, samples([1.0, 3.0]), step_result([0, 0]))
    totals = count(totals, samples([1.0, 5.0]), step_result([0, 1]))  # the second falls in step 2
    totals = count(totals, samples([1.0, 7.0]), step_result([0, 0]))
    totals = count(totals, samples([1.0, 9.0]), step_result([0, 1]))  # and again in step 4
    result = summary(totals, 4, [0.0, 0.0], [4, 0])
    assert result.survival_rate == 0.5
    assert result.episode_length_s == pytest.approx((4 + 2) / 2 * DT)
    assert result.falls == 2
    assert result.falls_per_minute == pytest.approx(2 / (8 * DT) * 60)
    assert result.first == pytest.approx(
        dict.fromkeys(locomotion_metrics.MEASURES, (1 + 1 + 1 + 1 + 3 + 5) / 6)
    )
    assert result.later == pytest.approx(dict.fromkeys(locomotion_metrics.MEASURES, (7 + 9) / 2))


def test_survivors_leave_no_later_episodes() -> None:
    totals = scores.accumulate(fresh(2), samples([1.0, 1.0]), step_result([0, 0]))
    result = summary(totals, 1, [0.0, 0.0], [1, 1])
    assert result.survival_rate == 1.0 and result.falls == 0
    assert set(result.later.values()) == {None}


def test_a_non_finite_state_is_a_failure_and_no_measurement() -> None:
    totals = fresh(1)
    totals = scores.accumulate(totals, samples([2.0]), step_result([0]))
    totals = scores.accumulate(totals, samples([math.nan]), step_result([0], bad=[1]))
    result = summary(totals, 2, [0.0], [0])
    assert result.survival_rate == 0.0 and result.nonfinite == 1 and result.falls == 0
    assert set(result.first.values()) == {2.0}


def test_rewards_count_ended_and_running_episodes() -> None:
    # One episode of 1 s ended with 3 in sum; one is running since 25 steps (0.5 s) and has 1.5.
    totals = scores.accumulate(
        fresh(2),
        samples([0.0, 0.0]),
        step_result([1, 0], reward=3.0),
    )
    result = summary(totals, 1, [0.0, 1.5], [0, 25])
    assert result.rewards_per_second == {"alive": pytest.approx((3.0 + 1.5) / (1.0 + 0.5))}


def test_order_of_environments_does_not_matter(g1: Robot, key: jax.Array) -> None:
    keys = iter(jax.random.split(key, 3))
    sim = at_rest(g1, 3)
    sim = sim._replace(root_lin_vel=jax.random.normal(next(keys), (3, 3)))
    command = jax.random.normal(next(keys), (3, 3))
    change = jax.random.normal(next(keys), (3, g1.num_joints))
    order = jnp.array([2, 0, 1])

    def outcome(sim: SimState, command: jax.Array, change: jax.Array, fallen: list[int]) -> scores.Scores:
        first = jnp.zeros(3, bool)
        taken = locomotion_metrics.measure(g1, DT, sim, command, sim.joint_pos, change, first)
        return summary(
            scores.accumulate(fresh(3), taken, step_result(fallen)),
            1,
            [0.0] * 3,
            [1] * 3,
        )

    shuffled = jax.tree.map(lambda x: x[order], (sim, command, change))
    a, b = outcome(sim, command, change, [1, 0, 0]), outcome(*shuffled, [0, 1, 0])
    for name in ("lin_vel_error", "yaw_rate_error", "action_rate"):
        assert a.first[name] == pytest.approx(b.first[name], rel=1e-6)
    assert dataclasses.replace(a, first={}) == dataclasses.replace(b, first={})


def test_velocity_reached_and_drift_off_the_asked_axes(g1: Robot) -> None:
    # Told 0.5 forward and nothing else: 0.4 forward is no drift, 0.3 to the right and 0.2 rad/s are.
    sim = at_rest(g1)._replace(
        root_lin_vel=jnp.array([[0.4, -0.3, 9.0]]), root_ang_vel=jnp.array([[7.0, 7.0, 0.2]])
    )
    taken = measured(g1, sim, command=jnp.array([[0.5, 0.0, 0.0]]))
    names = ("lin_vel_x", "lin_vel_y", "yaw_rate", "drift_x", "drift_y", "drift_yaw")
    assert [taken[name][0] for name in names[:3]] == pytest.approx([0.4, -0.3, 0.2])
    assert [taken[name][0] * taken[name][1] for name in names[3:]] == pytest.approx([0.0, -0.3, 0.2])
    assert taken["drift_x"][1] == 0.0


def test_drift_cancels_within_an_environment_and_not_between_two() -> None:
    totals = fresh(4)
    for sway in (1.0, -1.0):  # environments 0, 1 drift by +0.3 and -0.3 beside it; 2 and 3 do not
        totals = scores.accumulate(
            totals, samples([0.3 + sway, -0.3 + sway, sway, sway]), step_result([0, 0, 0, 0])
        )
    result = scores.summarize(
        totals,
        2,
        DT,
        {"alive": jnp.zeros(4)},
        jnp.full(4, 2),
        locomotion_metrics.MEASURES,
        {"drifting": np.array([True, True, False, False]), "straight": np.array([False, False, True, True])},
    )
    assert result.first["drift_y"] == pytest.approx(0.15)
    assert result.first["lin_vel_y"] == pytest.approx(0.0, abs=1e-6)
    drift = {name: group.first["drift_y"] for name, group in result.groups.items()}
    assert drift == pytest.approx({"drifting": 0.3, "straight": 0.0}, abs=1e-6)


def test_a_sweep_gives_every_command_its_share() -> None:
    command, groups = sweep.commands(19)
    assert sum(rows.sum() for rows in groups.values()) == 19
    for name, rows in groups.items():
        assert rows.sum() in (2, 3)
        assert (command[rows] == np.asarray(sweep.COMMANDS[name], np.float32)).all()
    with pytest.raises(ConfigError, match="num-envs 7"):
        sweep.commands(7)
