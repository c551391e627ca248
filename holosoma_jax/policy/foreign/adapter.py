"""Between an environment and a policy of another project: the order of terms, frames and joints, and scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.envs.env import EnvSpec, ObservationTerm
from holosoma_jax.policy.foreign import observation_names
from holosoma_jax.policy.foreign.observation_names import JOINT_TERMS, TWICE_JOINTS
from holosoma_jax.policy.loaded import LoadedPolicy
from holosoma_jax.robots.joint_order import plain_name
from holosoma_jax.robots.robot import Robot


@dataclass(frozen=True, eq=False)
class Adapter:
    """Index arrays that a policy's rows are made with. O, A: the policy's; D, J: the environment's."""

    index: np.ndarray
    """[O] int: entry i of the policy's observation is entry index[i] of the environment's ..."""
    factor: np.ndarray
    """[O] float32: ... times factor[i]"""
    joints: np.ndarray
    """[A] int: action i moves joint joints[i]"""
    num_joints: int
    """J"""

    def observation(self, obs: np.ndarray) -> np.ndarray:
        """The policy's observations [N, O] of the environment's [N, D]."""
        return np.asarray(obs, np.float32)[:, self.index] * self.factor

    def action(self, action: np.ndarray) -> np.ndarray:
        """The environment's actions [N, J] of the policy's [N, A]; joints that it does not move get 0."""
        result = np.zeros((len(action), self.num_joints), np.float32)
        result[:, self.joints] = action
        return result


def joint_index(file: LoadedPolicy, robot: Robot) -> np.ndarray:
    """[A] int, place of each of the policy's joints among the robot's, as `plain_name` names them.

    Raises:
      ConfigError: the robot lacks one of them.
    """
    names, ours = file.dof_names, [plain_name(name) for name in robot.joint_names]
    missing = [name for name in names if plain_name(name) not in ours]
    if missing:
        raise ConfigError(
            f"{file.path}: made for {len(names)} joints ({names[0]}, ...), not for the {len(ours)} of robot "
            f"'{robot.name}' ({robot.joint_names[0]}, ...), which has no '{missing[0]}'."
        )
    return np.array([ours.index(plain_name(name)) for name in names], np.int64)


def make(
    path: object,
    layout: Sequence[Mapping[str, Any]] | None,
    spec: EnvSpec,
    group: str,
    joints: np.ndarray,
    num_joints: int,
) -> Adapter:
    """The adapter of a policy whose observations are `layout`.

    Args:
      path: of the policy, for messages.
      layout: terms of the policy's input, in its order; None: those of the environment, in its order, of the policy's
        joints.
      spec: of the environment.
      group: of the environment's observations.
      joints: [A] see `joint_index`.
      num_joints: J.

    Raises:
      ConfigError: the environment lacks a term, or observes it with another size, history or scale.
    """
    here = {term.name: term for term in spec.layout if term.group == group}
    terms = [_of_joints(term, len(joints)) for term in here.values()] if layout is None else layout
    index, factor = [], []
    for place, term in enumerate(terms):
        frames = int(term["history_length"])
        entries: list[tuple[ObservationTerm, int]] = []  # of one frame
        for part in observation_names.parts(str(term["name"])):
            ours = here.get(part.term)
            if (
                ours is None
                or frames > ours.history_length
                or not _same_scale(term, ours)
                or not _same_fill(term, ours)
            ):
                raise ConfigError(
                    f"{path}: observation term {place} is {_shown(term)} for the policy, {_shown(ours)} in this "
                    "configuration; leave --observation.* as the policy's."
                )
            if part.term in JOINT_TERMS:
                columns = [int(joint) for joint in joints]
            elif part.term in TWICE_JOINTS:
                columns = [int(joint) + half for half in (0, num_joints) for joint in joints]
            else:
                columns = list(range(ours.dim) if part.entries is None else part.entries)
            entries += [(ours, column) for column in columns]
        if len(entries) != term["dim"]:
            raise ConfigError(
                f"{path}: observation term {place} is {_shown(term)} for the policy, it has {len(entries)} entries "
                "in this configuration; leave --observation.* as the policy's."
            )
        scale = np.broadcast_to(np.asarray(term.get("scale", [o.scale for o, _ in entries])), len(entries))
        for frame in range(frames):  # oldest first; of a longer history, the newest ones
            for (ours, column), wanted in zip(entries, scale, strict=True):
                newest = ours.start + (ours.history_length - frames + frame) * ours.dim
                index.append(newest + column)
                factor.append(wanted / ours.scale)
    return Adapter(np.array(index), np.array(factor, np.float32), joints, num_joints)


def _of_joints(term: ObservationTerm, joints: int) -> Mapping[str, Any]:
    """The term as a policy of so many joints observes it."""
    width = observation_names.width(term.name, joints)
    return _as_stated(term) if width is None else {**_as_stated(term), "dim": width}


def _as_stated(term: ObservationTerm) -> Mapping[str, Any]:
    return {
        "name": term.name,
        "dim": term.dim,
        "history_length": term.history_length,
        "history_fill": term.history_fill,
        "scale": term.scale,
    }


def _same_fill(term: Mapping[str, Any], ours: ObservationTerm) -> bool:
    """Whether the frames before an episode hold what the policy states; one that does not say takes ours."""
    return term["history_length"] == 1 or term.get("history_fill", ours.history_fill) == ours.history_fill


def _same_scale(term: Mapping[str, Any], ours: ObservationTerm) -> bool:
    """Whether the environment scales as the policy states; one number an entry is applied by the adapter."""
    scale = term.get("scale", ours.scale)
    return isinstance(scale, (list, tuple)) or bool(np.isclose(scale, ours.scale))


def _shown(term: Mapping[str, Any] | ObservationTerm | None) -> str:
    if term is None:
        return "absent"
    stated = _as_stated(term) if isinstance(term, ObservationTerm) else term
    scale = stated.get("scale", 1.0)
    scale = f"{scale:g}" if isinstance(scale, (int, float)) else "of its own for each"
    fill = f", history_fill {stated['history_fill']}" if stated.get("history_fill", "zero") != "zero" else ""
    return f"'{stated['name']}' ({stated['history_length']} x {stated['dim']} entries, scale {scale}{fill})"
