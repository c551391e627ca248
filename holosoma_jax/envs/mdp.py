"""The terms of a task, with their parameters: everything that a control step needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bridges.protocol import OBJECT_STATE, PhysicsParams, SimState
from holosoma_jax.envs import observe
from holosoma_jax.envs.scene import Scene
from holosoma_jax.envs.state import TermStates
from holosoma_jax.envs.terms.term import Command, Curriculum, Randomization, Record, Term, term_key
from holosoma_jax.envs.view import Values, View

OBJECT_SHAPES = {name: (4,) if name == "object_quat" else (3,) for name in OBJECT_STATE}


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
        return nonempty(
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
        fields = {} if scene.robot.object is None else OBJECT_SHAPES
        sim = upright(
            SimState(
                *(jnp.zeros((e, *shape), jnp.float32) for shape in shapes),
                **{name: jnp.zeros((e, *shape), jnp.float32) for name, shape in fields.items()},
            )
        )
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


def of(tree: TermStates, kind: str, name: str) -> Any:
    """The state (or the draws) of one term; () if it has none."""
    return tree.get(kind, {}).get(name, ())


def nonempty(states: TermStates) -> dict[str, dict[str, Any]]:
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
        return y if name in ("friction", "object_friction") else x * y

    return PhysicsParams(*(join(n, getattr(a, n), getattr(b, n)) for n in PhysicsParams._fields))


def upright(sim: SimState) -> SimState:
    """`sim` with every orientation that is all zero replaced by the identity."""

    def stand(quat: jax.Array) -> jax.Array:
        lost = jnp.all(quat == 0.0, axis=-1, keepdims=True)
        return jnp.where(lost, jnp.zeros_like(quat).at[..., 0].set(1.0), quat)

    quats = {name: stand(x) for name, x in sim._asdict().items() if name.endswith("_quat") and x is not None}
    return sim._replace(**quats)
