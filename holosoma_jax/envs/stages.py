"""The stages of a control step, in the order of `step`: pure functions of an `Mdp` and its state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from bridges.protocol import Pose, SimState
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs.mdp import Mdp, nonempty, of, upright
from holosoma_jax.envs.scene import Scene
from holosoma_jax.envs.state import Draws, TaskState
from holosoma_jax.envs.terms.term import Record, Term, where
from holosoma_jax.envs.view import View


def with_states(state: TaskState, kind: str, states: Mapping[str, Any]) -> TaskState:
    """`state` with the states of some terms of one kind replaced.

    Raises:
      ConfigError: one has other shapes or types than it was made with.
    """
    own = nonempty({kind: states}).get(kind, {})
    for name, new in own.items():
        was, now = (_shapes(s) for s in (of(state.terms, kind, name), new))
        if was != now:
            raise ConfigError(
                f"{kind} term '{name}': its state was {was} and became {now}; every function of a term has to keep "
                "the shapes and types that `init` gave."
            )
    return state.replace(terms={**state.terms, kind: {**state.terms[kind], **own}}) if own else state


def _shapes(state: Any) -> str:
    """Shape and type of every leaf, and how they are arranged."""
    leaves, tree = jax.tree.flatten(state)
    arrays = ", ".join(f"{jnp.result_type(x)}{list(jnp.shape(x))}" for x in leaves)
    return f"({arrays})" + (f" in {tree}" if len(leaves) > 1 else "")


def view_of(mdp: Mdp, state: TaskState, sim: SimState) -> View:
    """What terms see of `state` and `sim`."""
    return View(
        scene=mdp.scene,
        sim=sim,
        action=state.action,
        prev_action=state.prev_action,
        default_joint_pos=mdp.default_joint_pos(state.terms),
        episode_step=state.episode_step,
        origin=mdp.scene.terrain.origins(state.tile),
        commands=mdp.values("commands", state.terms),
        curricula=mdp.values("curriculum", state.terms),
        randomization=mdp.values("randomization", state.terms),
        command_ranges=mdp.command_ranges(state.terms),
    )


def isolate(sim: SimState) -> tuple[SimState, jax.Array]:
    """The state with non-finite environments replaced by zeros (upright), and which they are [E]."""
    finite = [jnp.all(jnp.isfinite(x), axis=tuple(range(1, x.ndim))) for x in jax.tree.leaves(sim)]
    nonfinite = ~jnp.stack(finite).all(0)
    rest = upright(jax.tree.map(jnp.zeros_like, sim))
    return where(nonfinite, rest, sim), nonfinite


def _evaluated(
    kind: str, terms: Mapping[str, Term], state: TaskState, view: View, draws: Draws
) -> tuple[dict[str, jax.Array], TaskState]:
    """Value [E] of every term of a kind, by name.

    Raises:
      ConfigError: one has another shape.
    """
    values, states, shape = {}, {}, state.episode_step.shape
    for name, term in terms.items():
        own, drawn = of(state.terms, kind, name), of(draws.terms, kind, name)
        values[name], states[name] = term.call(term.apply, view, own, draws=drawn)
        if jnp.shape(values[name]) != shape:
            raise ConfigError(
                f"{kind.removesuffix('s')} '{name}' returned shape {jnp.shape(values[name])}, expected {shape}: one "
                "value per environment. Reduce over joints, e.g. `.sum(-1)`."
            )
    return values, with_states(state, kind, states)


def terminations(
    mdp: Mdp, state: TaskState, view: View, draws: Draws
) -> tuple[TaskState, jax.Array, jax.Array]:
    """Who failed, and whose time is up [E] bool.

    Raises:
      ConfigError: a term returned another shape or type.
    """
    values, state = _evaluated("terminations", mdp.terminations, state, view, draws)
    failed = timed_out = jnp.zeros(state.episode_step.shape, bool)
    for name, value in values.items():
        if value.dtype != bool:
            raise ConfigError(
                f"termination '{name}' returned {value.dtype}, expected bool. Compare with a threshold, e.g. "
                "`height < 0.3`."
            )
        if name in mdp.timeouts:
            timed_out = timed_out | value
        else:
            failed = failed | value
    return state, failed, timed_out


def rewards(
    mdp: Mdp, state: TaskState, view: View, draws: Draws, nonfinite: jax.Array
) -> tuple[TaskState, jax.Array]:
    """The step's reward [E], and the state with the episode's sums; non-finite environments get none."""
    weights = mdp.reward_weights(state.terms)
    raw, state = _evaluated("rewards", mdp.rewards, state, view, draws)
    values = jnp.where(nonfinite[:, None], 0.0, jnp.stack(list(raw.values()), axis=-1))
    weighted = values * weights[None] * mdp.scene.control_dt
    total = jnp.sum(weighted, axis=-1)
    if mdp.only_positive:
        total = jnp.where(jnp.isfinite(total), jnp.maximum(total, 0.0), total)  # -inf must not become 0
    state = state.replace(
        episode_return=state.episode_return + total,
        reward_sums=state.reward_sums + weighted,
        raw_sums=state.raw_sums + values,
    )
    return state, total


def metrics(mdp: Mdp, state: TaskState, view: View) -> dict[str, Any]:
    """What terms report, and (sum, count) over the episodes that ended, by the maximum length as in holosoma."""
    metrics: dict[str, Any] = {}
    for kind, terms in mdp.records.items():
        for name, term in terms.items():
            if term.metrics is not None:
                reported = term.metrics(view, of(state.terms, kind, name))
                metrics |= {f"Env/{key}": value for key, value in reported.items()}
    assert view.finished is not None
    weight = view.finished.astype(jnp.float32)
    count = jnp.sum(weight)
    seconds = jnp.sum(weight * state.episode_step.astype(jnp.float32)) * mdp.scene.control_dt
    longest = mdp.scene.max_episode_steps * mdp.scene.control_dt
    weighted = jnp.sum(weight[:, None] * state.reward_sums, axis=0)
    raw = jnp.sum(weight[:, None] * state.raw_sums, axis=0)
    for i, name in enumerate(mdp.rewards):
        metrics[f"Episode/rew_{name}"] = (weighted[i] / longest, count)
        metrics[f"RawEpisode/raw_rew_{name}"] = (raw[i] / longest, count)
        metrics[f"PerSecond/rew_{name}"] = (weighted[i], seconds)
    return metrics


def update_curricula(mdp: Mdp, state: TaskState, view: View, draws: Draws) -> tuple[TaskState, View]:
    """Every control step, also when no episode ended; and the view of what they stand at then."""
    for name, curriculum in mdp.curricula.items():
        own, drawn = of(state.terms, "curriculum", name), of(draws.terms, "curriculum", name)
        after = curriculum.call(curriculum.update, view, own, draws=drawn)
        state = with_states(state, "curriculum", {name: after})
        view = replace(view, curricula=mdp.values("curriculum", state.terms))
    return state, replace(view, command_ranges=mdp.command_ranges(state.terms))


_MEMORY = ("action", "prev_action", "history")
_EPISODE = ("episode_step", "episode_return", "reward_sums", "raw_sums")


def start_episodes(mdp: Mdp, state: TaskState, view: View, done: jax.Array, draws: Draws) -> TaskState:
    """New episodes where `done`: clocks, actions, histories to zero; tile by the curricula; terms reset."""
    state = _zeroed(state, (*_MEMORY, *_EPISODE), done)
    tile = state.tile
    for name, curriculum in mdp.curricula.items():
        if curriculum.spawn_row is not None:
            row = curriculum.spawn_row(of(state.terms, "curriculum", name))
            tile = where(
                done, tile.at[:, 0].set(jnp.clip(row, 0, mdp.scene.terrain.tile_kinds.shape[0] - 1)), tile
            )

    states = {
        kind: {name: _reset(kind, name, term, state, view, done, draws) for name, term in terms.items()}
        for kind, terms in mdp.records.items()
    }
    state = state.replace(tile=tile)
    for kind, own in states.items():
        state = with_states(state, kind, own)
    return state


def jumps(
    mdp: Mdp, state: TaskState, view: View, done: jax.Array, draws: Draws
) -> tuple[TaskState, jax.Array | None]:
    """Which robots carry nothing over to another place within their episode (see `Command.jump`), and without it.

    Reset are observations, rewards, terminations, and what acts on actions, such as a delay; the rest of the
    randomisation and the curricula belong to the episode.
    """
    found = [
        command.jump(of(state.terms, "commands", name))
        for name, command in mdp.commands.items()
        if command.jump is not None
    ]
    if not found:
        return state, None
    jumped = jnp.stack(found).any(0) & ~done
    state = _zeroed(state, _MEMORY, jumped)
    for kind, terms in mdp.records.items():
        if kind not in ("commands", "curriculum"):
            lasting = kind == "randomization"
            anew = {
                name: _reset(kind, name, term, state, view, jumped, draws)
                for name, term in terms.items()
                if not lasting or mdp.randomization[name].actuate is not None
            }
            state = with_states(state, kind, anew)
    return state, jumped


def _zeroed(state: TaskState, names: tuple[str, ...], mask: jax.Array) -> TaskState:
    fields = {name: getattr(state, name) for name in names}
    return state.replace(
        **{name: where(mask, jax.tree.map(jnp.zeros_like, x), x) for name, x in fields.items()}
    )


def _reset(
    kind: str, name: str, term: Record, state: TaskState, view: View, mask: jax.Array, draws: Draws
) -> Any:
    own, drawn = of(state.terms, kind, name), of(draws.terms, kind, name)
    return term.start_episodes(view, mask, own, drawn)


def update_commands(mdp: Mdp, state: TaskState, sim: SimState, draws: Draws) -> TaskState:
    """All commands one step further, each from the same view."""
    view, states = view_of(mdp, state, sim), {}
    for name, command in mdp.commands.items():
        own, drawn = of(state.terms, "commands", name), of(draws.terms, "commands", name)
        states[name] = command.call(command.update, view, own, draws=drawn)
    return with_states(state, "commands", states)


def pushes(
    mdp: Mdp, state: TaskState, view: View, draws: Draws
) -> tuple[TaskState, jax.Array, jax.Array, jax.Array]:
    """Whose root velocity is replaced [E] bool, by which world velocities [E, 3]; of several, the last."""
    mask = jnp.zeros(state.episode_step.shape, bool)
    lin, ang, states = view.sim.root_lin_vel, view.sim.root_ang_vel, {}
    for name, term in mdp.randomization.items():
        if term.push is not None:
            own, drawn = of(state.terms, "randomization", name), of(draws.terms, "randomization", name)
            push, states[name] = term.call(term.push, view, own, draws=drawn)
            mask, lin, ang = (
                mask | push.mask,
                where(push.mask, push.lin, lin),
                where(push.mask, push.ang, ang),
            )
    return with_states(state, "randomization", states), mask, lin, ang


def start_poses(
    mdp: Mdp, view: View, state: TaskState, draws: Draws, done: jax.Array
) -> tuple[jax.Array, Pose]:
    """Which robots are placed anew [E] bool, and where: on their tile in the nominal pose, unless terms say else."""
    scene = mdp.scene
    robot, spawn = scene.robot, scene.terrain.spawn
    place = view.origin.at[:, :2].add(spawn.xy_offset_range * draws.spawn_offset)
    if spawn.query_terrain_height:
        place = place.at[:, 2].set(scene.terrain.spawn_height(place[:, :2]))
    still = jnp.zeros((scene.num_envs, 3), jnp.float32)
    joints = (scene.num_envs, robot.num_joints)
    pose = Pose(
        root_pos=place + jnp.asarray(robot.init_pos, jnp.float32)[None],
        root_quat=jnp.broadcast_to(jnp.asarray(robot.init_quat, jnp.float32)[None], (scene.num_envs, 4)),
        root_lin_vel=still,
        root_ang_vel=still,
        joint_pos=jnp.broadcast_to(jnp.asarray(robot.default_joint_pos, jnp.float32)[None], joints),
        joint_vel=jnp.zeros(joints, jnp.float32),
        **_object_start(scene, place),
    )
    for name, term in mdp.randomization.items():
        if term.pose is not None:
            own, drawn = of(state.terms, "randomization", name), of(draws.terms, "randomization", name)
            pose = term.call(term.pose, view, pose, own, draws=drawn)
    for name, command in mdp.commands.items():
        if command.place is not None:
            own, drawn = of(state.terms, "commands", name), of(draws.terms, "commands", name)
            done, pose = command.call(command.place, view, done, pose, own, draws=drawn)
    return done, pose


def _object_start(scene: Scene, place: jax.Array) -> dict[str, jax.Array]:
    """The object's fields of a `Pose`: at rest at its initial place over the tile; none without an object."""
    if scene.robot.object is None:
        return {}
    still = jnp.zeros((scene.num_envs, 3), jnp.float32)
    return {
        "object_pos": place + jnp.asarray(scene.robot.object.init_pos, jnp.float32)[None],
        "object_quat": jnp.zeros((scene.num_envs, 4), jnp.float32).at[:, 0].set(1.0),
        "object_lin_vel": still,
        "object_ang_vel": still,
    }
