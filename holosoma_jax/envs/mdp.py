"""The terms of a task, bound to their parameters once: everything that a control step needs to know."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import BridgeSpec, PhysicsParams, SimState
from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.config.schema import Config, RandomizationConfig, RewardConfig
from holosoma_jax.envs import observe
from holosoma_jax.envs.scene import Scene
from holosoma_jax.envs.state import TermStates
from holosoma_jax.envs.terms import registry
from holosoma_jax.envs.terms.term import Command, Curriculum, Randomization, Record, Term, lifted, term_key
from holosoma_jax.envs.view import Values, View

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Mdp:
    """Static: the scene, and every term by its name in the config, in the config's order."""

    scene: Scene
    rewards: Mapping[str, Term]
    weights: np.ndarray
    """[R]"""
    tags: tuple[tuple[str, ...], ...]
    """of every reward"""
    only_positive: bool
    terminations: Mapping[str, Term]
    timeouts: frozenset[str]
    """terminations that are the clock's, not a failure"""
    commands: Mapping[str, Command]
    curricula: Mapping[str, Curriculum]
    randomization: Mapping[str, Randomization]
    groups: tuple[observe.Group, ...] = ()

    @property
    def records(self) -> dict[str, Mapping[str, Record]]:
        """Kind -> name -> term; observations go by their group."""
        return {
            "curriculum": self.curricula,
            "commands": self.commands,
            "randomization": self.randomization,
            "rewards": self.rewards,
            "terminations": self.terminations,
            **{group.name: group.terms for group in self.groups},
        }

    def init(self, key: jax.Array) -> dict[str, dict[str, Any]]:
        """States of all terms that have one."""
        return stored(
            {
                kind: {name: term.init(term_key(key, kind, name), self.scene) for name, term in terms.items()}
                for kind, terms in self.records.items()
            }
        )

    def draw(self, key: jax.Array) -> dict[str, dict[str, Any]]:
        """What every term draws in a control step."""
        return {
            kind: {n: t.draw(term_key(key, kind, n), self.scene) for n, t in terms.items() if t.draw}
            for kind, terms in self.records.items()
        }

    def values(self, kind: str, states: TermStates) -> Values:
        """What the terms of `kind` show to others."""
        return Values(kind, {n: t.value(of(states, kind, n)) for n, t in self.records[kind].items()})

    def reward_weights(self, states: TermStates) -> jax.Array:
        """[R] weights of this step, scaled by the curricula."""
        factors = [jnp.ones((), jnp.float32)] * len(self.tags)
        for name, curriculum in self.curricula.items():
            if curriculum.reward_scale is None:
                continue
            state = of(states, "curriculum", name)
            for i, tags in enumerate(self.tags):
                scale = curriculum.reward_scale(state, tags)
                factors[i] = factors[i] if scale is None else factors[i] * scale
        return jnp.asarray(self.weights) * jnp.stack(factors)

    def startup(self, key: jax.Array) -> PhysicsParams:
        """Physics drawn when the environments are created."""
        merged = PhysicsParams()
        for name, term in self.randomization.items():
            if term.startup is not None:
                merged = merge(merged, term.startup(term_key(key, "startup", name), self.scene))
        return merged

    def physics(self, view: View, states: TermStates, draws: TermStates) -> PhysicsParams:
        """Physics of new episodes."""
        merged = PhysicsParams()
        for name, term in self.randomization.items():
            if term.physics is not None:
                state, drawn = of(states, "randomization", name), of(draws, "randomization", name)
                merged = merge(merged, term.call(term.physics, view, state, draws=drawn))
        return merged

    def command_ranges(self, states: TermStates) -> dict[str, tuple[Any, Any]]:
        """Axis -> range that a curriculum sets; of several, the last."""
        ranges: dict[str, tuple[Any, Any]] = {}
        for name, curriculum in self.curricula.items():
            if curriculum.command_ranges is not None:
                ranges |= curriculum.command_ranges(of(states, "curriculum", name))
        return ranges

    def example(self) -> View:
        """A view of two environments at rest, from which the terms' shapes are read."""
        pair = replace(self, scene=replace(self.scene, num_envs=2))
        return pair.rest(pair.example_states())

    def example_states(self) -> dict[str, dict[str, Any]]:
        """States of the right shapes, all zero."""
        shapes = jax.eval_shape(self.init, jax.random.key(0))
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def rest(self, states: TermStates) -> View:
        """A view of robots at rest at the origin, before there is a simulator state."""
        scene = self.scene
        e, j, b = scene.num_envs, scene.robot.num_joints, scene.robot.num_bodies
        shapes = [(3,), (4,), (3,), (3,), (j,), (j,), (b, 3), (b, 4), (b, 3), (b, 3), (b, 3)]
        sim = upright(SimState(*(jnp.zeros((e, *shape), jnp.float32) for shape in shapes)))
        joints = jnp.zeros((e, j), jnp.float32)
        return View(
            scene=scene,
            sim=sim,
            action=joints,
            prev_action=joints,
            default_joint_pos=self.default_joint_pos(states),
            episode_step=jnp.zeros((e,), jnp.int32),
            origin=jnp.zeros((e, 3), jnp.float32),
            commands=self.values("commands", states),
            curricula=self.values("curriculum", states),
            randomization=self.values("randomization", states),
            command_ranges=self.command_ranges(states),
        )

    def default_joint_pos(self, states: TermStates) -> jax.Array:
        """[E, J] rad, the pose of a zero action, with the errors of the joints' zero."""
        scene = self.scene
        nominal = jnp.asarray(scene.robot.default_joint_pos, jnp.float32)[None]
        pose = jnp.broadcast_to(nominal, (scene.num_envs, scene.robot.num_joints))
        for name, term in self.randomization.items():
            if term.joint_bias is not None:
                pose = pose + term.joint_bias(of(states, "randomization", name))
        return pose


def bind(cfg: Config, scene: Scene, bridge: BridgeSpec) -> Mdp:
    """Bind every term of a config.

    Raises:
      ConfigError: a term is unknown, of another kind, wrongly parameterised or without effect; the simulator
        cannot randomise what is asked for; the robot and the bridge disagree.
    """
    robot = scene.robot
    if bridge.joint_names != robot.joint_names or bridge.body_names != robot.body_names:
        raise ConfigError(
            f"the simulator's joints or bodies are not those of robot '{robot.name}', in its order; "
            "build the bridge from the same robot record."
        )
    rewards = {n: t for n, t in cfg.reward.terms.items() if t.weight != 0.0}
    endings = cfg.termination.terms
    mdp = Mdp(
        scene=scene,
        rewards={n: lifted(registry.make("rewards", n, t.func, t.params)) for n, t in rewards.items()},
        weights=np.array([t.weight for t in rewards.values()], np.float32),
        tags=tuple(tuple(t.tags) for t in rewards.values()),
        only_positive=cfg.reward.only_positive_rewards,
        terminations={
            n: lifted(registry.make("terminations", n, t.func, t.params)) for n, t in endings.items()
        },
        timeouts=frozenset(n for n, t in endings.items() if t.is_timeout),
        commands=_records("commands", cfg.command.setup_terms),
        curricula=_records("curriculum", cfg.curriculum.setup_terms),
        randomization=_randomization(cfg.randomization),
    )
    _require_effect(mdp, cfg.reward)
    mdp = _supported(mdp, bridge, cfg.randomization.ignore_unsupported)
    return replace(mdp, groups=observe.build(cfg.observation, mdp.example()))


def of(tree: TermStates, kind: str, name: str) -> Any:
    """The state (or the draws) of one term; () if it has none."""
    return tree.get(kind, {}).get(name, ())


def stored(states: TermStates) -> dict[str, dict[str, Any]]:
    """The states that hold something: what is kept and checkpointed."""
    full = {kind: {n: s for n, s in own.items() if jax.tree.leaves(s)} for kind, own in states.items()}
    return {kind: own for kind, own in full.items() if own}


def merge(a: PhysicsParams, b: PhysicsParams) -> PhysicsParams:
    """Both at once: ratios multiply, offsets add, the last friction rules."""

    def join(name: str, x: Any, y: Any) -> Any:
        if x is None or y is None:
            return y if x is None else x
        if name == "com_offset":
            return x + y
        return y if name == "friction" else x * y

    return PhysicsParams(*(join(n, getattr(a, n), getattr(b, n)) for n in PhysicsParams._fields))


def upright(sim: SimState) -> SimState:
    """`sim` with every orientation that is all zero replaced by the identity."""

    def stand(quat: jax.Array) -> jax.Array:
        lost = jnp.all(quat == 0.0, axis=-1, keepdims=True)
        return jnp.where(lost, jnp.zeros_like(quat).at[..., 0].set(1.0), quat)

    return sim._replace(root_quat=stand(sim.root_quat), body_quat=stand(sim.body_quat))


def _records(kind: str, terms: Mapping[str, Any]) -> dict[str, Any]:
    return {name: registry.make(kind, name, t.func, t.params) for name, t in terms.items()}


def _randomization(cfg: RandomizationConfig) -> dict[str, Randomization]:
    """Terms of both stages; a plain function draws once as a setup term, every episode as a reset term."""
    twice = cfg.setup_terms.keys() & cfg.reset_terms.keys()
    if twice:
        raise ConfigError(
            f"randomization.reset_terms.{min(twice)}: is in setup_terms as well; give one of them another name."
        )
    once = {n: _physics(t, False) for n, t in _records("randomization", cfg.setup_terms).items()}
    return once | {n: _physics(t, True) for n, t in _records("randomization", cfg.reset_terms).items()}


def _physics(term: Any, each_episode: bool) -> Randomization:
    if isinstance(term, Randomization):
        return term

    def draw(key: jax.Array, scene: Scene) -> PhysicsParams:
        return term(key, scene.robot, scene.num_envs)

    if not each_episode:
        return Randomization(startup=draw)
    return Randomization(draw=draw, physics=lambda view, state, params: params)


def _require_effect(mdp: Mdp, cfg: RewardConfig) -> None:
    """Raise ConfigError for a curriculum that acts on something that is not there."""
    states = mdp.example_states().get("curriculum", {})
    axes = {axis: None for command in mdp.commands.values() for axis in command.ranges or {}}
    for name, curriculum in mdp.curricula.items():
        where, state = f"curriculum.setup_terms.{name}", states.get(name, ())
        scale, ranges = curriculum.reward_scale, curriculum.command_ranges
        if scale is not None and all(scale(state, tags) is None for tags in mdp.tags):
            known = ", ".join(sorted({tag for t in cfg.terms.values() for tag in t.tags})) or "none"
            raise ConfigError(
                f"{where}: no reward term has a tag that it acts on; tag one, or leave the curriculum out. "
                f"Tags in use: {known}."
            )
        for axis in ranges(state) if ranges is not None else ():
            if axis not in axes:
                raise ConfigError(
                    f"{where}: sets the range of '{axis}', which no command has.{nearest(axis, axes)} "
                    f"Known: {', '.join(axes) or 'none'}."
                )


def _supported(mdp: Mdp, bridge: BridgeSpec, ignore: bool) -> Mdp:
    """Without the terms whose parameters the simulator cannot change, or ConfigError for the first."""
    view, kept = mdp.example(), {}
    scene, key = view.scene, jax.random.key(0)
    states = replace(mdp, scene=scene).example_states().get("randomization", {})
    for name, term in mdp.randomization.items():
        params = PhysicsParams()
        if term.startup is not None:
            params = _fields(params, jax.eval_shape(lambda k, f=term.startup: f(k, scene), key))
        if term.physics is not None:
            state = states.get(name, ())
            params = _fields(params, jax.eval_shape(lambda k, t=term, s=state: _drawn(t, view, s, k), key))
        missing = [f for f in params._fields if getattr(params, f) is not None and f not in bridge.randomizes]
        if not missing:
            kept[name] = term
        elif ignore:
            log.warning(
                "randomization '%s' skipped: %s cannot change %s.", name, bridge.simulator, missing[0]
            )
            if any(getattr(term, effect) is not None for effect in _OTHER_EFFECTS):
                kept[name] = replace(term, startup=None, physics=None)
        else:
            raise ConfigError(
                f"randomization.setup_terms.{name}: simulator '{bridge.simulator}' cannot change "
                f"{missing[0]}; use --randomization.ignore_unsupported=True to go on without it."
            )
    return replace(mdp, randomization=kept)


_OTHER_EFFECTS = tuple(effect for effect in Randomization.EFFECTS if effect not in ("startup", "physics"))


def _fields(a: PhysicsParams, b: PhysicsParams) -> PhysicsParams:
    """Whatever either of them sets."""
    return PhysicsParams(*(x if y is None else y for x, y in zip(a, b, strict=True)))


def _drawn(term: Randomization, view: View, state: Any, key: jax.Array) -> PhysicsParams:
    """Physics of an episode that starts in the state of `view`."""
    assert term.physics is not None
    return term.call(term.physics, view, state, draws=term.draw(key, view.scene) if term.draw else None)
