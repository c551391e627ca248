"""Tracking with an object: what is seen, rewarded and ended of it, where a reset puts it, how it is randomised."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bridges.protocol import SimState
from holosoma_jax import experiment
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs.env import EnvState
from holosoma_jax.envs.terms.motion import objects
from holosoma_jax.envs.terms.motion.reference import ASSET, MOTION, Motion
from holosoma_jax.envs.view import View
from holosoma_jax.experiment import Setup
from holosoma_jax.rollout import control_step
from tests.support import tracking

EXP = "g1-29dof-wbt-w-object"
QUIET = ("noise-to-initial-pose.overall-noise-scale=0.0",)
E = 4


@pytest.fixture(scope="module")
def setup() -> Setup:
    return experiment.build(tracking.config(*QUIET, exp=EXP, num_envs=E))


@pytest.fixture(scope="module")
def placed(setup: Setup) -> tuple[EnvState, SimState]:
    state, _, sim = control_step.reset_all(setup.env, setup.bridge, jax.random.key(3))
    return setup.env.observe(state, sim)[0], sim


def view_of(setup: Setup, state: EnvState, sim: SimState) -> View:
    return replace(
        setup.env.mdp.rest(state.terms),
        sim=sim,
        origin=setup.terrain.origins(state.tile),
        terminated=jnp.zeros(E, bool),
        finished=jnp.ones(E, bool),
    )


def test_sizes_and_places_in_the_vector(setup: Setup) -> None:
    spec = setup.env.spec
    assert spec.obs_dims == {"actor_obs": 154, "critic_obs": 298}
    starts = {term.name: (term.start, term.dim) for term in spec.layout if term.group == "critic_obs"}
    assert {name: starts[name] for name in ("obj_lin_vel_b", "obj_ori_b", "obj_pos_b")} == {
        "obj_lin_vel_b": (160, 3),
        "obj_ori_b": (163, 6),
        "obj_pos_b": (169, 3),
    }
    assert (starts["robot_body_ori_b"][0], starts["robot_body_pos_b"][0]) == (172, 256)


def test_a_reset_puts_the_object_where_the_clip_has_it(
    setup: Setup, placed: tuple[EnvState, SimState]
) -> None:
    state, sim = placed
    command = setup.env.mdp.values("commands", state.terms)[MOTION]
    motion: Motion = setup.env.mdp.scene.assets[ASSET]
    clip = motion.clips.at(command.start)
    origin = setup.terrain.origins(state.tile)
    np.testing.assert_allclose(sim.object_pos, clip.object_pos + origin, atol=1e-5)
    np.testing.assert_allclose(sim.object_quat, clip.object_quat, atol=1e-5)
    np.testing.assert_allclose(sim.object_lin_vel, clip.object_lin_vel, atol=1e-5)
    np.testing.assert_array_equal(sim.object_ang_vel, 0.0)
    # and there it costs nothing
    view = view_of(setup, state, sim)
    for reward in (objects.object_position, objects.object_orientation):
        np.testing.assert_allclose(reward(view, sigma=0.3), 1.0, atol=1e-4)
    assert not objects.bad_object().apply(view, ())[0].any()


def test_the_noise_of_a_reset_is_within_its_amplitudes() -> None:
    made = experiment.build(
        tracking.config("noise-to-initial-pose.object-pos=[0.05,0.1,0.0]", exp=EXP, num_envs=64)
    )
    state, _, sim = control_step.reset_all(made.env, made.bridge, jax.random.key(4))
    command = made.env.mdp.values("commands", state.terms)[MOTION]
    clip = made.env.mdp.scene.assets[ASSET].clips.at(command.start)
    off = np.asarray(sim.object_pos - clip.object_pos - made.terrain.origins(state.tile))
    assert np.abs(off).max(0) == pytest.approx([0.05, 0.1, 0.0], rel=0.1, abs=1e-5)
    assert np.abs(off).max(0)[0] <= 0.05 + 1e-5
    params = made.env.init(jax.random.key(4))[1].params
    mass, friction = np.asarray(params.object_mass_ratio) * 0.1, np.asarray(params.object_friction)
    assert 1.1 <= mass.min() < 1.4 and 3.8 < mass.max() <= 4.1
    assert 0.2 <= friction.min() < 0.3 and 0.8 < friction.max() <= 0.9
    inertia = np.asarray(params.object_inertia_ratio)
    np.testing.assert_array_equal(inertia[:, 1:], 1.0)
    assert 0.5 <= inertia[:, 0].min() < 0.6 and 1.4 < inertia[:, 0].max() <= 1.5
    made.bridge.close()


def test_the_object_in_the_anchors_frame(setup: Setup, placed: tuple[EnvState, SimState]) -> None:
    """The worked example of the specification, section 3: the object takes the place of the clip's anchor."""
    state, sim = placed
    row = setup.env.mdp.scene.assets[ASSET].rows[7]
    assert setup.robot.body_names[row] == "torso_link"
    ours = ([1.2, 1.7, 0.75], [0.87415305, 0.07171868, -0.00630551, 0.48028441])
    theirs = ([1.0, 2.0, 0.8], [0.98704008, -0.03215227, 0.04567162, 0.15044006])
    sim = sim._replace(
        body_pos=jnp.asarray(sim.body_pos).at[:, row].set(jnp.array(ours[0])),
        body_quat=jnp.asarray(sim.body_quat).at[:, row].set(jnp.array(ours[1])),
        object_pos=jnp.tile(jnp.array([theirs[0]]), (E, 1)),
        object_quat=jnp.tile(jnp.array([theirs[1]]), (E, 1)),
        object_lin_vel=jnp.tile(jnp.array([[0.3, -0.2, 0.1]]), (E, 1)),
    )
    view = view_of(setup, state, sim)
    place = [0.14791480, 0.33259418, -0.00152461]
    turn = [0.75060904, 0.63357660, -0.65558319, 0.74953116, -0.08244246, -0.19179085]
    np.testing.assert_allclose(objects.obj_pos_b(view)[0], place, atol=1e-6)
    np.testing.assert_allclose(objects.obj_ori_b(view)[0], turn, atol=1e-6)
    # A velocity is only turned; the legacy flag subtracts the anchor's position first.
    w, x, y, z = ours[1]
    matrix = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    velocity = np.array([0.3, -0.2, 0.1])
    np.testing.assert_allclose(objects.obj_lin_vel_b(view)[0], matrix.T @ velocity, atol=1e-6)
    legacy = objects.obj_lin_vel_b(view, subtract_position=True)[0]
    np.testing.assert_allclose(legacy, matrix.T @ (velocity - np.array(ours[0])), atol=1e-6)


def test_rewards_and_ends_by_hand(setup: Setup, placed: tuple[EnvState, SimState]) -> None:
    """Four objects: 0.2 m off, 0.26 m off, turned by 0.7 rad, turned by 0.9 rad about x."""
    state, sim = placed
    command = setup.env.mdp.values("commands", state.terms)[MOTION]
    clip = setup.env.mdp.scene.assets[ASSET].clips.at(command.frame)
    off = jnp.array([[0.2, 0, 0], [0, 0, -0.26], [0, 0, 0], [0, 0, 0]])
    angle = jnp.array([0.0, 0.0, 0.7, 0.9])
    from holosoma_jax import rotations

    turn = jnp.stack([jnp.cos(angle / 2), jnp.sin(angle / 2), 0 * angle, 0 * angle], -1)
    moved = sim._replace(
        object_pos=clip.object_pos + setup.terrain.origins(state.tile) + off,
        object_quat=rotations.multiply(turn, clip.object_quat),
    )
    view = view_of(setup, state, moved)
    place = objects.object_position(view, sigma=0.3)
    np.testing.assert_allclose(place, np.exp(-(np.array([0.2, 0.26, 0, 0]) ** 2) / 0.09), atol=2e-5)
    turned = objects.object_orientation(view, sigma=0.4)
    np.testing.assert_allclose(turned, np.exp(-(np.array([0, 0, 0.7, 0.9]) ** 2) / 0.16), atol=1e-4)
    term = objects.bad_object()
    np.testing.assert_array_equal(term.apply(view, ())[0], [False, True, False, True])
    assert term.metrics is not None
    assert [float(x) for x in term.metrics(view, ())["bad_object"]] == [2.0, 4.0]


def test_the_ghost_has_the_object(setup: Setup, placed: tuple[EnvState, SimState]) -> None:
    state, _ = placed
    command = setup.env.mdp.values("commands", state.terms)[MOTION]
    clip = setup.env.mdp.scene.assets[ASSET].clips.at(command.frame)
    ghost = setup.env.ghost(state)
    assert ghost is not None
    np.testing.assert_allclose(
        ghost.object_pos, clip.object_pos + setup.terrain.origins(state.tile), atol=1e-5
    )


@pytest.mark.parametrize(
    ("exp", "more", "named"),
    [
        (EXP, (f"{tracking.KEY}motion-file=g1_squat",), "object_pos_w"),
        ("g1-29dof-wbt", ("observation:wbt-w-object",), "robot.object.enabled"),
        ("g1-29dof-wbt", ("randomization:wbt-w-object",), "object"),
        (
            EXP,
            ("--randomization.setup-terms.randomize-object-startup.params.added-mass-range=[2,1]",),
            "added-mass-range",
        ),
    ],
)
def test_what_does_not_fit_together(exp: str, more: tuple[str, ...], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        experiment.build(tracking.config(exp=exp, num_envs=2, more=more))
