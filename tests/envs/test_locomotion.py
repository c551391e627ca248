"""The locomotion step as a whole: what it does with odd input, in evaluation, and with rare settings."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bridges.protocol import BridgeSpec, PhysicsParams, SimState
from holosoma_jax import envs, robots
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs import terrain
from holosoma_jax.envs.env import Env
from holosoma_jax.envs.view import View
from tests.support import terms

N = 4
PLANE = ("exp:g1-29dof", "terrain:terrain-locomotion-plane", f"--training.num-envs={N}")
OWN = "tests.envs.test_locomotion"
DRAWN = "--randomization.setup-terms"


def make(*overrides: str, evaluation: bool = False, randomizes: Any = PhysicsParams._fields) -> Env:
    """The G1's environment, without a simulator behind it."""
    cfg = compose.load([*PLANE, *overrides])
    robot = robots.configure(robots.load("g1"), cfg.robot)
    sim = cfg.simulator.config.sim
    bridge = BridgeSpec(
        simulator="test",
        num_envs=N,
        joint_names=robot.joint_names,
        body_names=robot.body_names,
        physics_dt=1.0 / sim.fps,
        decimation=sim.control_decimation,
        randomizes=frozenset(randomizes),
    )
    return envs.make(cfg, robot, terrain.build(cfg.terrain, 0), bridge, evaluation=evaluation)


def standing(n: int = N) -> SimState:
    """Robots at rest in their default pose, in the air."""
    g1 = robots.load("g1")
    upright = jnp.tile(jnp.array([[1.0, 0.0, 0.0, 0.0]]), (n, 1))
    bodies = jnp.zeros((n, g1.num_bodies, 3))
    return SimState(
        root_pos=jnp.tile(jnp.array([[0.0, 0.0, 0.8]]), (n, 1)),
        root_quat=upright,
        root_lin_vel=jnp.zeros((n, 3)),
        root_ang_vel=jnp.zeros((n, 3)),
        joint_pos=jnp.tile(jnp.asarray(g1.default_joint_pos)[None], (n, 1)),
        joint_vel=jnp.zeros((n, g1.num_joints)),
        body_pos=bodies,
        body_quat=jnp.tile(upright[:, None], (1, g1.num_bodies, 1)),
        body_lin_vel=bodies,
        body_ang_vel=bodies,
        contact_force=bodies,
    )


def test_a_broken_environment_is_isolated(key: jax.Array) -> None:
    """Its state is NaN; it is reset as cut by the clock, without reward; the others notice nothing."""
    env = make()
    state, _ = env.init(key)
    state, _ = env.pre_step(state, jnp.zeros((N, 29)))
    clean = standing()
    broken = clean._replace(joint_vel=clean.joint_vel.at[1, 3].set(jnp.nan))
    after, result = env.post_step(state, broken)
    _, undisturbed = env.post_step(state, clean)
    assert result.nonfinite.tolist() == [False, True, False, False]
    assert result.truncated[1] and not result.terminated[1] and result.reset.mask[1]
    assert float(result.reward[1]) == 0.0
    others = np.array([0, 2, 3])
    np.testing.assert_array_equal(result.reward[others], undisturbed.reward[others])
    _, obs = env.observe(after, broken)
    for tree in (result, obs, after.replace(key=0)):
        assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(tree))


def test_the_same_key_gives_the_same_step(key: jax.Array) -> None:
    env = make()
    runs = []
    for _ in range(2):
        state, reset = env.init(key)
        state, actuator_command = env.pre_step(state, jnp.ones((N, 29)))
        state, result = env.post_step(state, standing())
        runs.append((reset, actuator_command, result, env.observe(state, standing())[1]))
    jax.tree.map(np.testing.assert_array_equal, runs[0], runs[1])


def test_steps_and_environments_draw_different_numbers(key: jax.Array) -> None:
    env = make()
    state, reset = env.init(key)
    drawn = [reset.pose.joint_pos]
    for _ in range(2):
        state, _ = env.pre_step(state, jnp.zeros((N, 29)))
        state, result = env.post_step(state, standing())
        drawn.append(result.reset.pose.joint_pos)
    # joints whose default angle is 0 start there; the knee does not
    knees = np.stack(drawn)[..., 3].ravel()
    assert len(np.unique(knees)) == knees.size


def test_evaluation_keeps_the_command_through_a_reset(key: jax.Array) -> None:
    env = make(
        "--randomization.setup-terms.push-randomizer-state.params.push-interval-s=[0.02,0.02]",
        evaluation=True,
    )
    state, _ = env.init(key)
    assert not np.asarray(env.velocity_command(state)).any()
    np.testing.assert_allclose(terms.get(state, "phase_offset"), np.tile([0.0, -np.pi], (N, 1)), atol=1e-6)
    command = jnp.tile(jnp.array([[0.5, -0.2, 0.1]]), (N, 1))
    state = terms.put(state, command=command, episode_step=jnp.array([0, 499, 1000, 5]))
    state, _ = env.pre_step(state, jnp.zeros((N, 29)))
    state, result = env.post_step(state, standing())
    assert result.truncated.tolist() == [False, False, True, False]
    np.testing.assert_array_equal(env.velocity_command(state), command)
    np.testing.assert_array_equal(terms.get(state, "gait_frequency"), np.ones(N))
    assert not np.asarray(result.reset.push_mask).any()


def test_torque_noise_reaches_the_simulator(key: jax.Array) -> None:
    """Uniform within 10 % of each joint's limit, new at every physics step; none by default."""
    env = make("--randomization.setup-terms.setup-torque-rfi.params.enabled=True")
    state, _ = env.init(key)
    _, actuator_command = env.pre_step(state, jnp.zeros((N, 29)))
    assert actuator_command.torque_offset is not None and actuator_command.torque_offset.shape == (N, 4, 29)
    share = np.asarray(actuator_command.torque_offset) / robots.load("g1").torque_limit
    assert np.abs(share).max() <= 0.1 + 1e-6 and np.abs(share).max() > 0.09
    assert (share[:, 0] != share[:, 1]).all()
    plain = make()
    assert plain.pre_step(plain.init(key)[0], jnp.zeros((N, 29)))[1].torque_offset is None


def test_joint_bias_shifts_targets_and_observations(key: jax.Array) -> None:
    env = make(
        "--randomization.setup-terms.setup-dof-pos-bias.params.enabled=True",
        "--observation.groups.actor-obs.enable-noise=False",
    )
    state, _ = env.init(key)
    bias = np.asarray(terms.get(state, "joint_bias"))
    assert bias.min() >= -0.01 and bias.max() <= 0.01 and np.abs(bias).max() > 0.005
    state, actuator_command = env.pre_step(state, jnp.zeros((N, 29)))
    np.testing.assert_allclose(
        actuator_command.targets, robots.load("g1").default_joint_pos + bias, atol=1e-6
    )
    state, _ = env.post_step(state, standing())
    _, obs = env.observe(state, standing())
    np.testing.assert_allclose(obs["actor_obs"][:, 37:66], -bias, atol=1e-6)


def test_observation_noise_has_the_configured_width(key: jax.Array) -> None:
    """(value + U(-noise, noise)) * scale: joint positions 0.01, velocities 0.1 * 0.05; the critic none."""
    env = make()
    state, _ = env.init(key)
    seen = []
    for _ in range(30):
        state, _ = env.pre_step(state, jnp.zeros((N, 29)))
        seen.append(env.observe(state, standing())[1])
    actor, critic = (np.stack([s[g] for s in seen]) for g in ("actor_obs", "critic_obs"))
    for columns, width in ((slice(37, 66), 0.01), (slice(66, 95), 0.005)):
        noise = actor[..., columns]
        assert 0.98 * width < np.abs(noise).max() <= width + 1e-6
        np.testing.assert_allclose(noise.std(), width / np.sqrt(3), rtol=0.05)
    assert not critic[..., 40:98].any()


def test_what_the_simulator_cannot_randomise_stops_or_is_skipped(
    key: jax.Array, caplog: pytest.LogCaptureFixture
) -> None:
    able = ("kp_scale", "kd_scale", "friction", "com_offset")
    with pytest.raises(ConfigError, match=r"mass_randomizer: .*'test' .*mass_ratio"):
        make(randomizes=able)
    with caplog.at_level(logging.WARNING):
        env = make("--randomization.ignore-unsupported=True", randomizes=able)
    assert "randomization 'mass_randomizer' skipped" in caplog.text
    _, reset = env.init(key)
    assert reset.params.mass_ratio is None and reset.params.friction is not None


def no_reduction(view: View) -> jax.Array:
    """A user's reward that forgets to sum over joints."""
    return jnp.square(view.sim.joint_vel)


def speed(view: View, *, gain: float = 1.0) -> jax.Array:
    """A user's reward: forward speed."""
    return gain * view.base_lin_vel[:, 0]


def test_a_reward_of_the_wrong_shape_is_named(key: jax.Array) -> None:
    env = make(f"--reward.terms.alive.func={OWN}:no_reduction")
    state, _ = env.init(key)
    state, _ = env.pre_step(state, jnp.zeros((N, 29)))
    with pytest.raises(ValueError, match=r"'alive' .*\(4, 29\), .*\(4,\)"):
        env.post_step(state, standing())


def test_a_reward_of_ones_own(key: jax.Array) -> None:
    env = make(f"--reward.terms.alive.func={OWN}:speed", "--reward.terms.alive.params.gain=3.0")
    state, _ = env.init(key)
    state, _ = env.pre_step(state, jnp.zeros((N, 29)))
    still, moving = standing(), standing()._replace(root_lin_vel=jnp.full((N, 3), 2.0))
    _, slow = env.post_step(state, still)
    _, fast = env.post_step(state, moving)
    index = env.spec.reward_names.index("alive")
    state_slow, _ = env.post_step(state, still)
    state_fast, _ = env.post_step(state, moving)
    gained = np.asarray(state_fast.reward_sums - state_slow.reward_sums)[:, index]
    np.testing.assert_allclose(gained, 3.0 * 2.0 * 0.02, rtol=1e-5)
    assert (np.asarray(fast.reward) != np.asarray(slow.reward)).all()


@pytest.mark.parametrize(
    "override, message",
    [
        (f"--reward.terms.alive.func={OWN}:nothing", "has no 'nothing'"),
        ("--reward.terms.alive.func=no.such.module:f", "cannot import 'no.such.module'"),
        ("--reward.terms.alive.func=alife", "Did you mean 'alive'?"),
        (f"--reward.terms.alive.func={OWN}:speed --reward.terms.alive.params.gian=2", "gian"),
        (f"{DRAWN}.randomize-friction-startup.params.num-buckets=0", "num-buckets: got 0;"),
        (f"{DRAWN}.actuator-randomizer-state.params.kp-range=[-1,1]", "kp-range.0: got -1;"),
        ("--command.setup-terms.locomotion-gait.params.gait-period=0", "gait-period: got 0;"),
    ],
)
def test_a_wrong_term_is_one_line(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        make(*override.split())
    assert message in str(error.value) and "\n" not in str(error.value)


def test_optional_terms(key: jax.Array) -> None:
    """Terms that no preset uses: termination, limits, base height, stumble, tilt, low base."""
    from holosoma_jax.envs.terms import rewards, terminations

    sim = standing()
    force = sim.contact_force.at[0, robots.load("g1").body_index("left_ankle_roll_link")[0]].set(
        jnp.array([50.0, 0.0, 10.0])
    )
    tilted = sim.root_quat.at[1].set(jnp.array([np.cos(0.4), 0.0, np.sin(0.4), 0.0]))
    view = example_view(sim._replace(contact_force=force, root_quat=tilted))
    with pytest.raises(ConfigError, match=r"pose_weights has 2 .*'g1' has 29"):
        rewards.pose(view, pose_weights=(1.0, 2.0))
    assert rewards.penalty_stumble(view).tolist() == [1, 0, 0, 0]
    np.testing.assert_allclose(rewards.base_height(view, target=0.7), 0.01, rtol=1e-4)
    assert terminations.tilt(view, max_angle=0.7).tolist() == [False, True, False, False]
    assert not terminations.low_base(view, min_height=0.5).any()
    assert terminations.low_base(view, min_height=0.9).all()
    assert not rewards.limits_dof_pos(view).any()
    # left knee 0.1 rad beyond its soft limit of 2.80562
    bent = sim._replace(joint_pos=sim.joint_pos.at[2, 3].set(2.90562))
    np.testing.assert_allclose(rewards.limits_dof_pos(example_view(bent)), [0, 0, 0.1, 0], atol=1e-4)
    with pytest.raises(ValueError, match="needs the terminations"):
        rewards.termination(view)
    # the ankle bodies are at height 0, the sole markers raised: the parameter chooses which are measured
    soles = robots.load("g1").body_index(*robots.load("g1").foot_height_bodies)
    raised = example_view(sim._replace(body_pos=sim.body_pos.at[:, soles, 2].set(0.024)))
    like = {"swing_height": 0.0, "tracking_sigma": 0.008}
    ankles = ("left_ankle_roll_link", "right_ankle_roll_link")
    np.testing.assert_allclose(rewards.feet_phase(raised, **like), np.exp(-2 * 0.024**2 / 0.008), rtol=1e-5)
    np.testing.assert_allclose(rewards.feet_phase(raised, foot_bodies=ankles, **like), 1.0)
    with pytest.raises(ConfigError, match=r"'feet_phase': foot_bodies: .*'g1'.*'left_paw'"):
        rewards.feet_phase(raised, foot_bodies=("left_paw", "right_paw"), **like)


def example_view(sim: SimState) -> View:
    mdp = make().mdp
    view = mdp.rest(mdp.example_states())
    default = jnp.tile(jnp.asarray(view.robot.default_joint_pos)[None], (N, 1))
    return replace(view, sim=sim, default_joint_pos=default, episode_step=jnp.ones((N,), jnp.int32))
