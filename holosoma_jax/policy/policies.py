"""Where a policy comes from: a checkpoint of this project, or an ONNX file of anybody's.

A `Source` knows the config that the policy was trained with before any environment exists; once the
environment is built from it (with the user's changes), `Source.policy` gives the policy for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from bridges.protocol import Array
from holosoma_jax import robots
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.trust import Saved
from holosoma_jax.envs.env import EnvSpec
from holosoma_jax.experiment import Setup
from holosoma_jax.loggers import wandb_files
from holosoma_jax.policy.onnx_policy import OnnxPolicy
from holosoma_jax.robots.robot import Robot
from holosoma_jax.runs import checkpoint

PRESETS: Mapping[str, str] = {"g1": "g1-29dof", "t1": "t1-29dof", "k1": "k1-22dof"}
"""Robot -> the preset that a policy file without a config is run with."""

GROUP = "actor_obs"
"""The observation group that a policy reads."""

_PER_JOINT = ("kp", "kd", "action_scale", "default_joint_pos", "torque_limit")
"""Metadata of a policy file that replaces the robot record's."""


class Policy(NamedTuple):
    """A deterministic policy."""

    name: str
    act: Callable[[Array], Array]
    """raw observations [N, obs_dim] -> actions [N, A]"""


class Source(NamedTuple):
    """A policy that is not loaded yet."""

    path: Path
    """the checkpoint folder or file that was found"""
    folder: Path
    """what belongs to the policy is written below this folder"""
    config: Saved
    """what it was trained with, as `compose.to_mapping` writes it"""
    adapt: Callable[[Robot], Robot]
    """puts the gains and scales of the policy in the place of the robot record's"""
    policy: Callable[[Setup], Policy]
    """raises ConfigError where the environment is not one that the policy can act in"""


def find(checkpoint_path: str) -> Source:
    """The policy that `--checkpoint` names: a run, one of its checkpoints, or an ``.onnx`` file.

    ``wandb://ENTITY/PROJECT/RUN/FILE`` is downloaded first; what belongs to it is written below the
    working directory, not into the cache.

    Raises:
      ConfigError: there is none, it is damaged, or it is for a robot that is not known here.
    """
    if checkpoint_path.endswith((".pt", ".pth")):
        raise ConfigError(
            f"--checkpoint {checkpoint_path}: a PyTorch checkpoint cannot be read; "
            "pass the .onnx file that lies beside it."
        )
    if wandb_files.is_uri(checkpoint_path):
        address = wandb_files.parse(checkpoint_path)
        source = find(str(wandb_files.fetch(checkpoint_path)))
        return source._replace(folder=Path("logs", "wandb", *address[:3]))
    if checkpoint_path.endswith(".onnx"):
        return _from_onnx(Path(checkpoint_path))
    return _from_checkpoint(checkpoint_path)


def _from_checkpoint(where: str) -> Source:
    path = checkpoint.resolve(where, key="--checkpoint")
    if path is None:
        raise ConfigError(f"--checkpoint {where}: this run has saved no checkpoint yet.")
    meta = checkpoint.read_meta(path)

    def policy(setup: Setup) -> Policy:
        checkpoint.require(path, meta, robot=setup.robot.name)
        learner = setup.learner
        template = learner.init(jax.random.key(0), setup.learner_spec, setup.cfg.algo.config)
        state = checkpoint.load(path, {"learner": template})["learner"]
        mode = jax.jit(learner.mode)
        return Policy(f"{path} ({learner.iteration_name} {meta.step})", lambda obs: mode(state, obs))

    run = path.parent.parent if path.parent.name == "checkpoints" else path.parent
    return Source(path, run, Saved(meta.config, run), lambda robot: robot, policy)


def _from_onnx(path: Path) -> Source:
    file = OnnxPolicy.load(path)
    ours = "holosoma_jax_version" in file.metadata and "experiment_config" in file.metadata
    config = file.metadata["experiment_config"] if ours else _preset_for(file)

    def policy(setup: Setup) -> Policy:
        if file.obs_dim != setup.env.spec.obs_dims[GROUP] or file.observation_layout is not None:
            _check_layout(file, setup.env.spec)
        return Policy(str(path), lambda obs: file(np.asarray(obs)))

    return Source(path, path.parent, Saved(config), lambda robot: _with_metadata(file, robot), policy)


def _preset_for(file: OnnxPolicy) -> dict[str, Any]:
    """The preset of the robot with the file's joints, on flat ground, observed as the file says.

    Raises:
      ConfigError: no robot has these joints; a term of the file's layout is not known here.
    """
    joints = {asset: robots.load(asset).joint_names for asset in PRESETS}
    asset = next((a for a, names in joints.items() if names == file.dof_names), None)
    if asset is None:
        same = next((a for a, names in joints.items() if set(names) == set(file.dof_names)), None)
        order = f" They are those of '{same}' in another order." if same else ""
        known = ", ".join(f"{a} ({len(names)} joints)" for a, names in joints.items())
        raise ConfigError(
            f"{file.path}: its {len(file.dof_names)} joints ({file.dof_names[0]}, ...) are of no robot known "
            f"here: {known}.{order}"
        )
    cfg = compose.load([f"exp:{PRESETS[asset]}", "simulator:mujoco", "terrain:terrain-locomotion-plane"])
    config = compose.to_mapping(cfg)
    if file.observation_layout is not None:
        groups = config["observation"]["groups"]
        known = {name: term for group in groups.values() for name, term in group["terms"].items()}
        known |= groups[GROUP]["terms"]
        groups[GROUP] = groups[GROUP] | _observed(file, known)
    if clip := file.metadata.get("observation_clip"):
        config["observation"]["clip_observations"] = float(clip)
    if ranges := file.metadata.get("command_ranges"):
        params = config["command"]["setup_terms"]["locomotion_command"]["params"]
        params["command_ranges"] = dict(params["command_ranges"]) | dict(ranges)
    return config


def _observed(file: OnnxPolicy, known: Mapping[str, Any]) -> dict[str, Any]:
    """Terms, scales and history of the file's layout, with the preset's noise."""
    layout = file.observation_layout or ()
    frames = {term["history_length"] for term in layout}
    if len(frames) != 1:
        raise ConfigError(
            f"{file.path}: its observation terms keep {sorted(frames)} frames, wanted one length for all."
        )
    terms = {}
    for term in layout:
        name = str(term["name"])
        if name not in known:
            raise ConfigError(
                f"{file.path}: it observes '{name}', which the preset of its robot does not. "
                f"Known: {', '.join(known)}."
            )
        terms[name] = dict(known[name]) | {"scale": float(term.get("scale", known[name]["scale"]))}
    return {"terms": terms, "history_length": frames.pop()}


def _with_metadata(file: OnnxPolicy, robot: Robot) -> Robot:
    """The robot with the gains, scales, pose and limits that the file states.

    Raises:
      ConfigError: the file is for other joints.
    """
    if file.dof_names != robot.joint_names:
        raise ConfigError(
            f"{file.path}: made for {len(file.dof_names)} joints ({file.dof_names[0]}, ...), not for the "
            f"{robot.num_joints} of robot '{robot.name}' ({robot.joint_names[0]}, ...)."
        )
    stated = {key: file.metadata[key] for key in _PER_JOINT if file.metadata.get(key) is not None}
    if file.action_scale is not None:
        stated["action_scale"] = file.action_scale  # one number in the file is for every joint
    return dataclasses.replace(robot, **{key: np.asarray(value, np.float32) for key, value in stated.items()})


def _check_layout(file: OnnxPolicy, spec: EnvSpec) -> None:
    """Raise ConfigError at the first term that the environment observes differently from the file."""
    here = [(t.name, t.dim, t.history_length, t.scale) for t in spec.layout if t.group == GROUP]
    layout = file.observation_layout or ()
    stated = {t.name: t.scale for t in spec.layout if t.group == GROUP}  # for files that state no scale
    there = [
        (t["name"], t["dim"], t["history_length"], t.get("scale", stated.get(t["name"], 1.0))) for t in layout
    ]
    if file.obs_dim != spec.obs_dims[GROUP] and not there:
        raise ConfigError(_other_size(file, spec))
    for index in range(max(len(here), len(there))):
        ours, theirs = (rows[index] if index < len(rows) else None for rows in (here, there))
        if ours is None or theirs is None or ours[:3] != theirs[:3] or not np.isclose(ours[3], theirs[3]):
            raise ConfigError(
                f"{file.path}: observation term {index} is {_said(theirs)} for the policy, {_said(ours)} in "
                "this configuration; leave --observation.* as the policy's."
            )


def _other_size(file: OnnxPolicy, spec: EnvSpec) -> str:
    """What to do about a file of another size that does not list its observations."""
    frame = sum(term.dim for term in spec.layout if term.group == GROUP)
    frames, rest = divmod(file.obs_dim, frame)
    fix = "give --observation.* what the policy was trained with."
    if frames and not rest:
        fix = f"for a history of {frames} frames, --observation.groups.{GROUP}.history-length={frames}."
    return (
        f"{file.path}: the policy reads {file.obs_dim} observations, this configuration gives "
        f"{spec.obs_dims[GROUP]}; {fix}"
    )


def _said(term: tuple[str, int, int, float] | None) -> str:
    if term is None:
        return "absent"
    name, dim, frames, scale = term
    return f"'{name}' ({frames} x {dim} entries, scale {scale:g})"
