"""The guide's command-line examples, seen in what the environment then does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml

from bridges.protocol import SimState
from holosoma_jax import robots
from holosoma_jax.config import compose, files
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs import terrain
from holosoma_jax.envs.env import Env, StepResult
from holosoma_jax.envs.terms.observations import mirrored
from holosoma_jax.envs.view import View
from holosoma_jax.experiment import learner_spec, load_learner
from holosoma_jax.learn.symmetry import Reflection
from tests.envs.test_locomotion import PLANE, N, make, standing
from tests.support import terms


def stepped(env: Env, key: jax.Array, sim: SimState | None = None, **fields: Any) -> tuple[Any, StepResult]:
    """State and result after one step with zero action from a fresh state with `fields`."""
    state, _ = env.init(key)
    state, _ = env.pre_step(terms.put(state, **fields), jnp.zeros((N, env.spec.action_dim)))
    return env.post_step(state, sim or standing())


def earned(env: Env, key: jax.Array, term: str, sim: SimState | None = None, **fields: Any) -> np.ndarray:
    """[N] weighted reward of one term in that step."""
    state, _ = stepped(env, key, sim, **fields)
    return np.asarray(state.reward_sums)[:, env.spec.reward_names.index(term)]


def test_reward_weight(key: jax.Array) -> None:
    preset = earned(make(), key, "tracking_lin_vel", command=jnp.zeros((N, 3)))
    mine = earned(
        make("--reward.terms.tracking-lin-vel.weight=2.5"), key, "tracking_lin_vel", command=jnp.zeros((N, 3))
    )
    np.testing.assert_allclose(preset, 2.0 * 0.02, rtol=1e-6)
    np.testing.assert_allclose(mine, 2.5 * 0.02, rtol=1e-6)


def test_swing_height(key: jax.Array) -> None:
    """At mid-swing of the left foot the reward is full when that foot is at the height asked for."""
    g1 = robots.load("g1")
    left, right = g1.body_index(*g1.foot_height_bodies)
    phase = jnp.tile(jnp.array([[0.0, -np.pi]], jnp.float32), (N, 1))
    for override, height in (((), 0.09), (("--reward.terms.feet-phase.params.swing-height=0.12",), 0.12)):
        sim = standing()
        sim = sim._replace(body_pos=sim.body_pos.at[:, left, 2].set(height).at[:, right, 2].set(0.0))
        got = earned(make(*override), key, "feet_phase", sim, phase=phase)
        np.testing.assert_allclose(got, 5.0 * 0.02, rtol=1e-4)
        higher = sim._replace(body_pos=sim.body_pos.at[:, left, 2].add(0.09))
        np.testing.assert_allclose(
            earned(make(*override), key, "feet_phase", higher, phase=phase) / got, np.exp(-1.0125), rtol=1e-4
        )


def test_observation_noise_off(key: jax.Array) -> None:
    env = make("--observation.groups.actor-obs.enable-noise=False")
    state, _ = stepped(env, key)
    _, obs = env.observe(state, standing())
    assert not np.asarray(obs["actor_obs"])[:, 37:95].any()  # joints at rest in their default pose
    state, _ = stepped(make(), key)
    _, noisy = make().observe(state, standing())
    assert np.asarray(noisy["actor_obs"])[:, 37:95].all()


def test_order_of_observations(key: jax.Array) -> None:
    """The same entries, in the order that the config gives; every term has to be in it once."""
    names = sorted(compose.load(["exp:g1-29dof"]).observation.groups["actor_obs"].terms)
    flag = "--observation.groups.actor-obs.order"
    plain, backward = make(), make(f"{flag}=[{','.join(reversed(names))}]")
    assert [t.name for t in backward.spec.layout if t.group == "actor_obs"] == names[::-1]
    vectors = []
    for env in (plain, backward):
        _, obs = env.observe(env.init(key)[0], standing())
        vectors.append(np.asarray(obs["actor_obs"]))
    start, blocks = 0, []
    for term in (t for t in plain.spec.layout if t.group == "actor_obs"):
        blocks.append(vectors[0][:, start : start + term.dim])
        start += term.dim
    quiet = {"actions", "command_lin_vel", "command_ang_vel", "projected_gravity"}  # terms without noise
    there = {t.name: t for t in backward.spec.layout if t.group == "actor_obs"}
    for name, block in zip(names, blocks, strict=True):
        if name in quiet:
            np.testing.assert_array_equal(vectors[1][:, there[name].start :][:, : there[name].dim], block)
    with pytest.raises(ConfigError, match=r"actor_obs\.order.*'sin_phase'"):
        make(f"{flag}=[{','.join(names[:-1])}]")


def test_history_length(key: jax.Array) -> None:
    """Spelt as in the guide: underscore, value after a blank. Four frames a term, oldest first."""
    env = make(
        "--observation.groups.actor_obs.history-length",
        "4",
        "--observation.groups.actor-obs.enable-noise=False",
    )
    assert env.spec.obs_dims == {"actor_obs": 400, "critic_obs": 103}
    state, _ = stepped(env, key, episode_step=jnp.zeros((N,), jnp.int32))
    for turn in range(3):
        spinning = standing()._replace(joint_vel=jnp.full((N, 29), 1.0 + turn))
        state, obs = env.observe(state, spinning)
    term = next(t for t in env.spec.layout if (t.group, t.name) == ("actor_obs", "dof_vel"))
    frames = np.asarray(obs["actor_obs"])[0, term.start : term.start + 4 * term.dim].reshape(4, term.dim)
    np.testing.assert_allclose(frames, np.tile(0.05 * np.array([[0.0], [1.0], [2.0], [3.0]]), 29), rtol=1e-6)


def test_a_history_may_begin_with_copies_of_its_first_frame(key: jax.Array) -> None:
    """Three frames of joint velocities 1, 2, 3, ...; environment 0 starts anew before the fourth.

    Every environment sees 111, 112, 123; then environment 0 sees 444, the others 234. The same for both groups,
    and what an ended episode saw last is its own history.
    """
    flags = ("history-length=3", "history-fill=first", "enable-noise=False")
    groups = ("actor_obs", "critic_obs")
    env = make(*(f"--observation.groups.{group}.{flag}" for group in groups for flag in flags))
    assert {t.history_fill for t in env.spec.layout} == {"first"}

    def seen(obs: Any) -> list[list[list[int]]]:
        """group -> environment -> the velocity in each frame."""
        found = []
        for group in groups:
            term = next(t for t in env.spec.layout if (t.group, t.name) == (group, "dof_vel"))
            vector = np.asarray(obs[group])[:, term.start : term.start + 3 * term.dim] / term.scale
            found.append(np.round(vector.reshape(-1, 3, term.dim)[..., 0]).astype(int).tolist())
        return found

    def moving(velocity: float) -> SimState:
        return standing()._replace(joint_vel=jnp.full((N, 29), velocity))

    state, _ = env.init(key)
    for velocity, wanted in ((1, [1, 1, 1]), (2, [1, 1, 2]), (3, [1, 2, 3])):
        state, obs = env.observe(state, moving(velocity))
        assert seen(obs) == [[wanted] * N] * 2
    # the clock of environment 0 runs out; the state that ended it is still part of the old episode
    clock = jnp.zeros((N,), jnp.int32).at[0].set(env.spec.max_episode_steps)
    state, _ = env.pre_step(state.replace(episode_step=clock), jnp.zeros((N, env.spec.action_dim)))
    state, result = env.post_step(state, moving(4))
    assert np.asarray(result.truncated).tolist() == [True] + [False] * (N - 1)
    assert seen(result.final_obs) == [[[2, 3, 4]] * N] * 2
    state, obs = env.observe(state, moving(4))
    assert seen(obs) == [[[4, 4, 4]] + [[2, 3, 4]] * (N - 1)] * 2


def test_without_a_history_there_is_nothing_to_fill(key: jax.Array) -> None:
    env = make("--observation.groups.actor-obs.history-fill=first")
    assert env.init(key)[0].history == {}


def test_penalty_curriculum_off_and_its_threshold(key: jax.Array) -> None:
    path = "--curriculum.setup-terms.penalty-curriculum.params"
    average = jnp.asarray(400.0)
    scale = {}
    for name, overrides in (
        ("preset", ()),
        ("off", (f"{path}.enabled=False",)),
        ("lower", (f"{path}.level-up-threshold=350",)),
    ):
        env = make(*overrides)
        state, _ = stepped(env, key, average_length=average, episode_step=jnp.ones((N,), jnp.int32))
        scale[name] = float(terms.get(state, "penalty_scale"))
    np.testing.assert_allclose(scale["preset"], 0.1, rtol=1e-6)  # 400 steps are below 750
    np.testing.assert_allclose(scale["lower"], 0.1 * 1.00025, rtol=1e-6)
    assert scale["off"] == 1.0


def test_episode_length(key: jax.Array) -> None:
    env = make("--simulator.config.sim.max-episode-length-s=10.0")
    assert env.spec.max_episode_steps == 500
    _, result = stepped(env, key, episode_step=jnp.array([498, 499, 500, 501]))
    assert result.truncated.tolist() == [False, False, True, True]


def test_pushes_off(key: jax.Array) -> None:
    due = {"push_counter": jnp.full((N,), 299), "push_interval": jnp.full((N,), 300)}
    off = make("--randomization.setup-terms.push-randomizer-state.params.enabled=False")
    assert stepped(make(), key, **due)[1].reset.push_mask.all()
    assert not stepped(off, key, **due)[1].reset.push_mask.any()


def test_com_and_added_mass(key: jax.Array) -> None:
    path = "--randomization.setup-terms"
    t1 = ("exp:t1-29dof", "terrain:terrain-locomotion-plane", "--training.num-envs=64")
    for preset, enabled in (
        (t1, False),
        ((*t1, f"{path}.randomize-base-com-startup.params.enabled=True"), True),
    ):
        env = make_robot(preset)
        params = env.init(key)[1].params
        moved = params.com_offset is not None and bool(np.asarray(params.com_offset).any())
        assert moved == enabled
    heavy = make_robot(
        (
            "exp:g1-29dof",
            "--training.num-envs=64",
            f"{path}.mass-randomizer.params.added-mass-range=[-1.0,3.0]",
            f"{path}.mass-randomizer.params.link-mass-range=[1.0,1.0]",
        )
    )
    g1 = robots.load("g1")
    torso = int(g1.body_index("torso_link")[0])
    ratio = np.asarray(heavy.init(key)[1].params.mass_ratio)
    added = (ratio[:, torso] - 1.0) * g1.body_mass[torso]
    assert added.min() >= -1.0 and added.max() <= 3.0 and np.ptp(added) > 3.0
    np.testing.assert_allclose(np.delete(ratio, torso, 1), 1.0)


def make_robot(argv: tuple[str, ...]) -> Env:
    from bridges.protocol import BridgeSpec, PhysicsParams
    from holosoma_jax import envs

    cfg = compose.load(list(argv))
    robot = robots.configure(robots.load(cfg.robot.asset), cfg.robot)
    fields = frozenset(PhysicsParams._fields)
    spec = BridgeSpec("test", cfg.training.num_envs, robot.joint_names, robot.body_names, 0.005, 4, fields)
    return envs.make(cfg, robot, terrain.build(cfg.terrain, 0), spec)


def test_terrain_scale_and_plane() -> None:
    def built(*argv: str) -> terrain.Terrain:
        return terrain.build(compose.load(["exp:t1-29dof", *argv]).terrain, 0)

    half = built("--terrain.terrain-term.scale-factor=0.5")
    assert half.tile_origins.shape == (5, 10, 3)
    np.testing.assert_allclose(half.tile_origins[1, 1, :2] - half.tile_origins[0, 0, :2], 4.0)
    assert half.ground.corner == (-20.0, -20.0)
    assert built("terrain:terrain-locomotion-plane").ground.heights is None


@mirrored(-1.0, 1.0)
def own(view: View, *, scale: float = 2.0) -> jax.Array:
    return scale * view.command[:, 1::-1]


def unsaid(view: View) -> jax.Array:
    return view.command


def test_an_observation_of_ones_own_brings_its_mirror(tmp_path: Path) -> None:
    """At every frame of its history; one that does not say how it looks is refused, with the way out."""
    preset = yaml.safe_load((files.root() / "observation" / "g1-29dof-locomotion.yaml").read_text())
    file = tmp_path / "mine.yaml"

    def spec(func: str, *arguments: str):
        group = {"history_length": 2, "terms": {"own": {"func": f"{__name__}:{func}"}}}
        file.write_text(yaml.safe_dump({"groups": {**preset["groups"], "actor_obs": group}}))
        mine = (f"observation:{file}", *arguments)
        env = make(*mine)
        cfg = compose.load([*PLANE, *mine])
        return env.spec, learner_spec(cfg, env, robots.load("g1"), load_learner(cfg))

    env, learner = spec("own")
    (term,) = (term for term in env.layout if term.name == "own")
    assert (term.start, term.dim) == (0, 2)
    assert learner.mirror.obs["actor_obs"] == Reflection((0, 1, 2, 3), (-1.0, 1.0, -1.0, 1.0))
    with pytest.raises(ConfigError, match=r"actor_obs.terms.own: '.*unsaid' .*Decorate"):
        spec("unsaid")
    assert spec("unsaid", "--algo.config.use-symmetry=False")[1].mirror is None
    with pytest.raises(ValueError, match=r"like='velocity'; .*signs.*actions"):
        mirrored(like="velocity")
