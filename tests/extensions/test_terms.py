"""The terms of docs/extending.md on numbers done by hand, and what is refused instead of ignored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bridges.protocol import BridgeSpec, PhysicsParams, SimState
from holosoma_jax import envs, robots
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema import TermConfig
from holosoma_jax.envs import step, terrain
from holosoma_jax.envs.env import Env
from holosoma_jax.envs.state import TaskState
from holosoma_jax.envs.terms import registry
from holosoma_jax.envs.terms.term import Curriculum, Randomization, Term, keep, where
from holosoma_jax.envs.view import View
from holosoma_jax.robots.robot import Robot
from tests.envs.test_locomotion import N, standing
from tests.support.own_terms import SMALL, build

HERE = __name__


@pytest.fixture(scope="module")
def walk(outside: Path) -> Env:
    """The preset that uses all of the page's terms."""
    return build("--config", str(outside / "walk.yaml"), *SMALL)


def touching(left: bool) -> SimState:
    """Robots at rest, on the left foot or on none."""
    foot = robots.load("g1").body_index("left_ankle_roll_link")[0]
    sim = standing()
    return sim._replace(contact_force=sim.contact_force.at[:, foot, 2].set(200.0 if left else 0.0))


def view_of(env: Env, sim: SimState, command: tuple[float, float, float] = (0.5, 0.0, 0.0)) -> View:
    """What terms see of `sim` when that velocity is asked for."""
    view = env.mdp.rest(env.mdp.example_states())
    told = {**view.commands, "locomotion_command": jnp.tile(jnp.array([command]), (N, 1))}
    return replace(view, sim=sim, commands=told)


def test_air_time_is_paid_at_touchdown(walk: Env) -> None:
    # 20 steps of 0.02 s in the air are 0.4 s, 0.1 more than the threshold of 0.3; the right foot never lands.
    term: Term = walk.mdp.rewards["feet_air_time"]
    air = term.init(jax.random.key(0), walk.mdp.scene)
    for _ in range(20):
        paid, air = term.apply(view_of(walk, touching(left=False)), air)
        assert not np.asarray(paid).any()
    landed, after = term.apply(view_of(walk, touching(left=True)), air)
    np.testing.assert_allclose(landed, 0.1, atol=1e-6)
    np.testing.assert_allclose(after, np.tile([0.0, 0.42], (N, 1)), atol=1e-6)
    assert not np.asarray(term.apply(view_of(walk, touching(True), (0.0, 0.0, 0.5)), air)[0]).any()
    mask = jnp.array([True, False, False, False])
    assert np.asarray(term.start_episodes(None, mask, air, ())).any(-1).tolist() == [False, True, True, True]


def test_acceleration_is_known_from_the_second_step_on(walk: Env) -> None:
    # all 29 joints change their speed by 0.1 rad/s in 0.02 s: 29 * 5^2
    term: Term = walk.mdp.rewards["dof_acc"]
    state = term.init(jax.random.key(0), walk.mdp.scene)
    sim = standing()
    moving = sim._replace(joint_vel=jnp.full_like(sim.joint_vel, 0.1))
    first, state = term.apply(view_of(walk, moving), state)
    second, _ = term.apply(view_of(walk, sim), state)
    assert not np.asarray(first).any()
    np.testing.assert_allclose(second, 29 * 25.0, rtol=1e-5)


def test_a_robot_that_stays_where_it_is_ends_its_episode(walk: Env) -> None:
    # 0.06 s are three steps of 0.02 s; who is not told to walk may stand
    term = registry.make("terminations", "stuck", "stuck:stuck", {"seconds": 0.06})
    assert isinstance(term, Term)
    still = term.init(jax.random.key(0), walk.mdp.scene)
    ended = []
    for velocity in (0.5, 0.5, 0.0, 0.5, 0.5, 0.5):
        done, still = term.apply(view_of(walk, standing(), (velocity, 0.0, 0.0)), still)
        ended.append(np.asarray(done).all())
    assert ended == [False, False, False, False, False, True]
    mask = jnp.array([True, False, False, False])
    after = term.start_episodes(None, mask, still, ())
    np.testing.assert_allclose(after, [0.0, 0.06, 0.06, 0.06], atol=1e-6)


def test_pushes_grow_within_an_episode(walk: Env) -> None:
    """The preset's, every 3 s: 150 steps. The second is 0.2 m/s fast, and an episode begins with 0.1 again."""
    term: Randomization = walk.mdp.records["randomization"]["shoves"]
    view, towards = view_of(walk, standing()), jnp.tile(jnp.array([[0.6, 0.8]]), (N, 1))
    speed, act = term.init(jax.random.key(0), walk.mdp.scene), term.push
    assert act is not None
    for steps, due, fast in ((0, False, 0.1), (150, True, 0.1), (151, False, 0.2), (300, True, 0.2)):
        push, speed = act(replace(view, episode_step=jnp.full(N, steps)), speed, towards)
        assert np.asarray(push.mask).all() == due
        np.testing.assert_allclose(push.lin, np.tile([0.6 * fast, 0.8 * fast, 0.0], (N, 1)), atol=1e-6)
    after = term.start_episodes(view, jnp.array([True, False, False, False]), speed, towards)
    np.testing.assert_allclose(after, [0.1, 0.3, 0.3, 0.3], atol=1e-6)


def told(env: Env, state: TaskState, **values: Any) -> TaskState:
    """`state` with the curriculum's levels replaced."""
    terms = {kind: dict(own) for kind, own in state.terms.items()}
    terms["curriculum"] |= values
    return state.replace(terms=terms)


def test_levels_decide_on_the_row_of_the_next_episode(walk: Env) -> None:
    """One robot walked far and fell, one fell at once, one walked far and continues, one stands."""
    state, _ = walk.init(jax.random.key(0))
    state = told(walk, state, terrain_level=jnp.array([1, 1, 1, 1], jnp.int32))
    state = state.replace(tile=jnp.tile(jnp.array([[1, 0]], jnp.int32), (N, 1)))
    origin = walk.mdp.scene.terrain.origins(state.tile)
    far = jnp.array([[5.0, 0.0, 0.8], [0.0, 0.0, 0.8], [5.0, 0.0, 0.8], [0.0, 0.0, 0.8]])
    pelvis = walk.mdp.scene.robot.body_index(*walk.mdp.scene.robot.termination_bodies)[0]
    sim = standing()
    fallen = sim.contact_force.at[:2, pelvis, 2].set(100.0)
    state, _ = walk.pre_step(state, jnp.zeros((N, 29)))
    state, result = walk.post_step(state, sim._replace(root_pos=origin + far, contact_force=fallen))
    assert result.terminated.tolist() == [True, True, False, False]
    assert state.terms["curriculum"]["terrain_level"].tolist() == [2, 0, 1, 1]
    assert state.tile[:, 0].tolist() == [2, 0, 1, 1]
    rows = np.asarray(walk.mdp.scene.terrain.tile_origins)
    start = np.asarray(result.reset.pose.root_pos)
    assert np.abs(start[:2, 0] - rows[[2, 0], 0, 0]).max() <= 1.0  # the spawn's offset
    assert float(result.metrics["Env/terrain_level"]) == 1.0  # before this step's update


def test_the_yaw_rate_follows_from_the_heading(walk: Env) -> None:
    # 0.8 1/s times an error of 0.5 rad, and at most 1 rad/s; who is to stand does not turn
    state, _ = walk.init(jax.random.key(0))
    commands = dict(state.terms["commands"])
    commands["locomotion_command"] = commands["locomotion_command"].replace(
        velocity=jnp.array([[0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.3, 0.0]]),
        heading=jnp.array([0.5, 3.0, 0.5, -0.5]),
    )
    state = state.replace(terms={**state.terms, "commands": commands})
    state, obs = walk.observe(state, standing())
    np.testing.assert_allclose(walk.velocity_command(state)[:, 2], [0.4, 1.0, 0.0, -0.4], atol=1e-6)
    (place,) = (t.start for t in walk.spec.layout if (t.group, t.name) == ("critic_obs", "command_ang_vel"))
    np.testing.assert_allclose(obs["critic_obs"][:, place], [0.4, 1.0, 0.0, -0.4], atol=1e-6)
    assert walk.spec.command_ranges["heading"] == (-3.14, 3.14)


def test_a_new_term_does_not_change_what_others_draw(walk: Env) -> None:
    plain = build("exp:g1-29dof", *SMALL)
    one, other = (step.draw(env.mdp, jax.random.key(3)).terms for env in (plain, walk))
    assert one.keys() == other.keys()
    for kind in one:
        for name in one[kind].keys() - {"locomotion_command"}:
            jax.tree.map(np.testing.assert_array_equal, one[kind][name], other[kind][name])


def ease(*, low: float = -0.5, axis: str = "lin_vel_x") -> Curriculum:
    """Commands of one axis between `low` and a limit that grows; publishes that limit."""
    return Curriculum(
        init=lambda key, scene: jnp.zeros((), jnp.float32),
        update=lambda view, limit: limit + 0.25,
        command_ranges=lambda limit: {axis: (low, limit)},
    )


def sideways() -> Curriculum:
    """Sets a range that no command has."""
    return ease(axis="lin_vel_z")


def reads(view: View, *, name: str = "ease") -> jax.Array:
    """A reward that reads what the curriculum publishes."""
    return jnp.broadcast_to(view.curricula[name], (N,))


def test_a_curriculum_sets_the_range_of_a_command_and_is_read(key: jax.Array) -> None:
    """The first draw is from [-0.5, 0], the next one, after two updates, from [-0.5, 0.5]."""
    always = "--command.setup-terms.locomotion-command.params"
    env = build(
        "exp:g1-29dof", *SMALL, f"{always}.stand-prob=0", f"{always}.resampling-time=0.02",
        f"--reward.terms.alive.func={HERE}:reads", "--reward.terms.alive.params.name=penalty_curriculum",
        penalty_curriculum=TermConfig(f"{HERE}:ease"),
    )  # fmt: skip
    state, _ = env.init(key)
    drawn = [np.asarray(env.velocity_command(state))]
    for _ in range(2):
        state, _ = env.pre_step(state, jnp.zeros((N, 29)))
        state, _ = env.post_step(state, standing())
        drawn.append(np.asarray(env.velocity_command(state)))
    assert drawn[0][:, 0].max() <= 0.0 and drawn[0][:, 0].min() >= -0.5
    assert drawn[2][:, 0].max() <= 0.5
    paid = np.asarray(state.raw_sums)[:, env.spec.reward_names.index("alive")]
    np.testing.assert_allclose(paid, 0.0 + 0.25)  # what it stood at when each reward was made


def forgetful() -> Term:
    """A memory that nobody resets."""
    return Term(init=lambda key, scene: jnp.zeros(N), apply=lambda view, state: (state, state))


def idle() -> Randomization:
    """Does nothing."""
    return Randomization()


REWARDS = tuple(compose.load(["exp:g1-29dof"]).reward.terms)


def unannotated(*, gain: float = 1.0):
    """Might be anything."""
    raise AssertionError(f"called with {gain}")


@pytest.mark.parametrize(
    ("argv", "terms", "named"),
    [
        (f"--reward.terms.alive.func={HERE}:forgetful", {}, ("alive", "reset=keep")),
        (f"--reward.terms.alive.func={HERE}:unannotated", {}, ("alive", "Term")),
        ("", {"push_randomizer_state": "idle"}, ("push_randomizer_state", "startup")),
        ("", {"locomotion_gait": "idle"}, ("locomotion_gait", "Command", "Randomization")),
        ("", {"locomotion_gait": "reads"}, ("locomotion_gait", "Command")),
        ("", {"average_episode_tracker": "idle"}, ("average_episode_tracker", "Curriculum")),
        (
            "--curriculum.setup-terms.penalty-curriculum.params.tag=no_such_tag",
            {},
            ("penalty_curriculum", "penalty_curriculum"),
        ),
        ("", {"penalty_curriculum": "sideways"}, ("penalty_curriculum", "lin_vel_z", "lin_vel_x")),
        (" ".join(f"--reward.terms.{name}.weight=0" for name in REWARDS), {}, ("reward.terms", "weight")),
        (f"--task={HERE}:HERE", {}, ("task", "str")),
        ("--task=locomotive", {}, ("locomotive", "locomotion")),
    ],
)
def test_what_would_be_ignored_is_refused_in_one_line(
    argv: str, terms: dict[str, str], named: tuple[str, ...]
) -> None:
    own = {name: TermConfig(f"{HERE}:{func}") for name, func in terms.items()}
    with pytest.raises(ConfigError) as error:
        build("exp:g1-29dof", *SMALL, *argv.split(), **own)
    assert all(part in str(error.value) for part in named), error.value
    assert "\n" not in str(error.value)


def grows() -> Term:
    """Returns another state than it got."""

    def apply(view: View, state: jax.Array) -> tuple[jax.Array, jax.Array]:
        return state[:, 0], jnp.concatenate([state, state], -1)

    return Term(init=lambda key, scene: jnp.zeros((N, 1)), apply=apply, reset=keep)


def test_a_state_keeps_its_shape(key: jax.Array) -> None:
    env = build("exp:g1-29dof", *SMALL, f"--reward.terms.alive.func={HERE}:grows")
    state, _ = env.init(key)
    with pytest.raises(ConfigError, match=r"'alive'.*float32\[4, 1\].*float32\[4, 2\]"):
        env.post_step(state, standing())


def heavier(key: jax.Array, robot: Robot, num_envs: int) -> PhysicsParams:
    """Twice the mass, in every episode."""
    return PhysicsParams(mass_ratio=jnp.full((num_envs, robot.num_bodies), 2.0))


def test_what_a_simulator_cannot_change_is_named_with_its_stage() -> None:
    cfg = compose.load(["exp:g1-29dof", *SMALL, f"--training.num-envs={N}"])
    terms = {"mine": TermConfig(f"{HERE}:heavier")}
    cfg = replace(cfg, randomization=replace(cfg.randomization, setup_terms={}, reset_terms=terms))
    robot = robots.configure(robots.load("g1"), cfg.robot)
    spec = BridgeSpec("test", N, robot.joint_names, robot.body_names, 0.005, 4, frozenset())
    with pytest.raises(ConfigError, match=r"randomization\.reset_terms\.mine: .*mass_ratio"):
        envs.make(cfg, robot, terrain.build(cfg.terrain, 0), spec)


def falling(view: View, *, force_threshold: float = 0.5) -> jax.Array:
    """A number where a condition is wanted; its parameter is that of the term whose place it takes."""
    return force_threshold - view.sim.root_pos[:, 2]


def test_a_termination_is_a_condition(key: jax.Array) -> None:
    env = build("exp:g1-29dof", *SMALL, f"--termination.terms.contact.func={HERE}:falling")
    state, _ = env.init(key)
    with pytest.raises(ConfigError, match=r"'contact'.*float32.*bool"):
        env.post_step(state, standing())


def measured() -> Term:
    """An observation that logs the number of environments."""
    return Term(
        apply=lambda view, state: (view.sim.joint_vel, state),
        metrics=lambda view, state: {"observed": jnp.float32(len(view.episode_step))},
    )


def test_observations_may_log_as_well(key: jax.Array) -> None:
    env = build("exp:g1-29dof", *SMALL, f"--observation.groups.critic-obs.terms.dof-vel.func={HERE}:measured")
    state, _ = env.init(key)
    _, result = env.post_step(state, standing())
    assert float(result.metrics["Env/observed"]) == N


def previous() -> Term:
    """Observation: the joint velocities of the control step before."""

    def apply(view: View, before: jax.Array) -> tuple[jax.Array, jax.Array]:
        return before, view.sim.joint_vel

    return Term(
        init=lambda key, scene: jnp.zeros((scene.num_envs, 29)),
        apply=apply,
        reset=lambda view, mask, before: where(mask, jnp.zeros_like(before), before),
    )


def test_an_observation_remembers_the_step_before_and_forgets_with_the_episode(key: jax.Array) -> None:
    """Its state moves on once a control step, though final observations are made from it as well."""
    term = "--observation.groups.critic-obs.terms.dof-vel"
    env = build("exp:g1-29dof", *SMALL, f"{term}.func={HERE}:previous", f"{term}.scale=1")
    (at,) = (
        slice(t.start, t.start + 29)
        for t in env.spec.layout
        if (t.group, t.name) == ("critic_obs", "dof_vel")
    )
    pelvis = robots.load("g1").body_index("pelvis")[0]
    state, _ = env.init(key)
    seen, final = [], []
    for speed, fall in ((1.0, False), (2.0, False), (3.0, True), (4.0, False)):
        sim = standing()._replace(joint_vel=jnp.full((N, 29), speed))
        sim = sim._replace(contact_force=sim.contact_force.at[0, pelvis, 2].set(100.0 * fall))
        state, _ = env.pre_step(state, jnp.zeros((N, 29)))
        state, result = env.post_step(state, sim)
        final.append(np.asarray(result.final_obs["critic_obs"])[:, at].mean(-1))
        state, obs = env.observe(state, sim)
        seen.append(np.asarray(obs["critic_obs"])[:, at].mean(-1))
    np.testing.assert_array_equal(np.stack(seen)[:, 1], [0.0, 1.0, 2.0, 3.0])
    np.testing.assert_array_equal(np.stack(final)[:, 1], [0.0, 1.0, 2.0, 3.0])
    np.testing.assert_array_equal(np.stack(seen)[:, 0], [0.0, 1.0, 0.0, 3.0])  # it fell in the third step


def test_a_velocity_command_has_three_entries(walk: Env) -> None:
    """JAX would read the second one in place of the third."""
    view = view_of(walk, standing())
    with pytest.raises(ConfigError, match=r"'locomotion_command'.*\(4, 2\).*\[E, 3\]"):
        _ = replace(view, commands={**view.commands, "locomotion_command": jnp.zeros((N, 2))}).command
    with pytest.raises(ConfigError, match=r"'locomotion_gait'.*phase"):
        _ = replace(view, commands={**view.commands, "locomotion_gait": jnp.zeros((N, 2))}).phase


def test_a_value_that_nobody_publishes_is_named(key: jax.Array) -> None:
    env = build("exp:g1-29dof", *SMALL, f"--reward.terms.alive.func={HERE}:reads")
    state, _ = env.init(key)
    with pytest.raises(ConfigError, match=r"'ease'.*penalty_curriculum"):
        env.post_step(state, standing())


def test_a_record_that_refuses_itself_is_named_and_no_parameter_of_it() -> None:
    with pytest.raises(ConfigError, match=r"rewards term 'walk_on': .*reset") as error:
        registry.make("rewards", "walk_on", f"{HERE}:forgetful", {})
    assert "params" not in str(error.value)
