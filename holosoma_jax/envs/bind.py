"""From the terms of a config to an `Mdp`, with the checks that need robot and simulator."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from bridges.protocol import BridgeSpec, PhysicsParams
from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.config.schema import Config, RandomizationConfig, RewardConfig
from holosoma_jax.envs import observe
from holosoma_jax.envs.mdp import Mdp
from holosoma_jax.envs.scene import Scene
from holosoma_jax.envs.terms import registry
from holosoma_jax.envs.terms.term import Randomization, lifted
from holosoma_jax.envs.view import View

log = logging.getLogger(__name__)


def bind(cfg: Config, scene: Scene, bridge: BridgeSpec) -> Mdp:
    """Bind every term of a config.

    Raises:
      ConfigError: a term is unknown, of another kind, wrongly parameterised or without effect; no reward has a
        weight; the simulator cannot randomise what is asked for; the robot and the bridge disagree.
    """
    robot = scene.robot
    if bridge.joint_names != robot.joint_names or bridge.body_names != robot.body_names:
        raise ConfigError(
            f"the simulator's joints or bodies are not those of robot '{robot.name}', in its order; "
            "build the bridge from the same robot record."
        )
    rewards = {n: t for n, t in cfg.reward.terms.items() if t.weight != 0.0}
    if not rewards:
        raise ConfigError(
            "reward.terms: no term has a weight other than 0; give one, e.g. alive: {weight: 1.0}."
        )
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
    mdp = _supported(mdp, bridge, cfg.randomization)
    return replace(mdp, groups=observe.build(cfg.observation, mdp.example()))


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


def _supported(mdp: Mdp, bridge: BridgeSpec, cfg: RandomizationConfig) -> Mdp:
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
        elif cfg.ignore_unsupported:
            log.warning(
                "randomization '%s' skipped: %s cannot change %s.", name, bridge.simulator, missing[0]
            )
            if any(getattr(term, effect) is not None for effect in _OTHER_EFFECTS):
                kept[name] = replace(term, startup=None, physics=None)
        else:
            stage = "reset_terms" if name in cfg.reset_terms else "setup_terms"
            raise ConfigError(
                f"randomization.{stage}.{name}: simulator '{bridge.simulator}' cannot change "
                f"{missing[0]}; use --randomization.ignore_unsupported=True to continue without it."
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
