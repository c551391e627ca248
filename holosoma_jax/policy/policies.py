"""Where a policy comes from: a checkpoint of this project, or an ONNX or TorchScript file of any.

A `PolicySource` knows the config that the policy was trained with before any environment exists; once the
environment is built from it (with the user's changes), `PolicySource.policy` gives the policy for it.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from bridges.protocol import Array
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.evaluation import PolicyArgs
from holosoma_jax.config.trust import Saved
from holosoma_jax.envs.env import EnvSpec
from holosoma_jax.experiment import Setup, learner_spec
from holosoma_jax.learn.policy_leaves import policy_leaves
from holosoma_jax.loggers import wandb_files
from holosoma_jax.policy import onnx_policy
from holosoma_jax.policy.foreign import adapter, file_config, stated, torchscript
from holosoma_jax.policy.foreign.metadata import PER_JOINT
from holosoma_jax.policy.loaded import LoadedPolicy
from holosoma_jax.robots import record
from holosoma_jax.robots.robot import Robot
from holosoma_jax.runs import (
    checkpoint,
    origin,
    policy_only,
    pretrained,
    run_config,
    run_dir,
    saved_steps,
)

log = logging.getLogger(__name__)

GROUP = "actor_obs"
"""The observation group that a policy reads."""

_CHECKPOINTS_OF_PYTORCH = re.compile(r"model_\d+\.(pt|pth)$")
"""Names that holosoma and rsl_rl give to training checkpoints."""


class Policy(NamedTuple):
    """A deterministic policy."""

    name: str
    act: Callable[[Array], Array]
    """raw observations [N, obs_dim] -> actions [N, A]"""


class PolicySource(NamedTuple):
    """A policy that is not loaded yet."""

    path: Path
    """the checkpoint folder or file that was found"""
    folder: Path
    """what belongs to the policy is written below this folder"""
    config: Saved
    """what it was trained with, as `compose.to_mapping` writes it; of a run, as `run_config.saved_config` does"""
    adapt: Callable[[Robot], Robot]
    """puts the gains and scales of the policy in the place of the robot record's"""
    policy: Callable[[Setup], Policy]
    """raises ConfigError where the environment is not one that the policy can act in"""


def is_file(path: str | Path) -> bool:
    """Whether `path` is called as a policy file is, in any case: .onnx, .pt, .pth, .jit."""
    return Path(path).suffix.lower() in (".onnx", *torchscript.SUFFIXES)


def find(
    checkpoint_path: str,
    args: PolicyArgs | None = None,
    *,
    asset: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> PolicySource:
    """The policy that `--checkpoint` names: a run, one of its checkpoints, or a policy file.

    ``wandb://ENTITY/PROJECT/RUN/FILE`` is downloaded first, ``pretrained:NAME`` comes with the package; what belongs
    to them is written below the working directory.

    Args:
      checkpoint_path: the name.
      args: what the person says about a policy file (`stated.gather`).
      asset: the robot that the person names, for a file that brings no config.
      config: the config that the person gives, for a file that brings none; default: the robot's preset.

    Raises:
      ConfigError: there is none, it is damaged, or it is for a robot that is not known here.
    """
    if _CHECKPOINTS_OF_PYTORCH.search(checkpoint_path):
        raise ConfigError(
            f"--checkpoint {checkpoint_path}: a PyTorch checkpoint cannot be read; "
            "pass the .onnx file that lies beside it."
        )
    if wandb_files.is_uri(checkpoint_path):
        address = wandb_files.parse(checkpoint_path)
        file = str(wandb_files.fetch(checkpoint_path))
        source = find(file, args, asset=asset, config=config)
        return source._replace(folder=Path("logs", "wandb", *address[:3]))
    if is_file(checkpoint_path) and not Path(checkpoint_path).is_dir():
        return _from_file(Path(checkpoint_path), args, asset, config)
    if args not in (None, PolicyArgs()):
        raise ConfigError(
            f"--policy: {checkpoint_path} is a run, which says all of it; leave --policy.* out."
        )
    if pretrained.is_name(checkpoint_path):
        run = pretrained.find(checkpoint_path)
        return _from_checkpoint(str(run), checkpoint_path)._replace(
            folder=Path("logs", "pretrained", run.name)
        )
    return _from_checkpoint(checkpoint_path)


def _from_checkpoint(where: str, shown: str | None = None) -> PolicySource:
    """The policy of the run or checkpoint `where`, which messages call `shown`."""
    path = saved_steps.resolve(where, key="--checkpoint")
    if path is None:
        raise ConfigError(f"--checkpoint {where}: this run has saved no checkpoint yet.")
    meta = checkpoint.read_meta(path)

    def policy(setup: Setup) -> Policy:
        checkpoint.require(path, meta, robot=setup.robot.name)
        record.require_order(path, meta.robot_record, setup.robot)
        changed = record.reconfigured(meta.config["robot"], compose.to_mapping(setup.cfg)["robot"])
        if difference := record.first_difference(meta.robot_record, setup.robot, but=changed):
            log.warning(
                "%s: robot '%s' is not the one that was trained: %s.", path, setup.robot.name, difference
            )
        note = record.unknown_model(path, meta.robot_record, setup.robot)
        if note and not policy_only.is_alone(meta):
            log.warning(note)
        learner = setup.learner
        trained = record.trained_on(meta.robot_record, setup.robot)
        spec = learner_spec(setup.cfg, setup.env, setup.robot, learner, bounded_by=trained)
        template = learner.init(jax.random.key(0), spec, setup.cfg.algo.config)
        state = policy_only.load(path, template, policy_leaves(learner, template, setup.env.spec.obs_dims))
        mode = jax.jit(learner.mode)
        name = f"{shown or path} ({learner.iteration_name} {meta.step})"
        return Policy(name, lambda obs: mode(state, obs))

    return PolicySource(
        path, run_dir.of(path.parent).path, run_config.saved_config(path), lambda robot: robot, policy
    )


def _from_file(
    path: Path, args: PolicyArgs | None, asset: str | None, config: Mapping[str, Any] | None
) -> PolicySource:
    beside = stated.gather(path, args, asset)
    is_onnx = path.suffix.lower() == ".onnx"
    file = onnx_policy.load(path, beside) if is_onnx else torchscript.load(path, beside)
    ours = "holosoma_jax_version" in file.metadata and "experiment_config" in file.metadata
    found = file.metadata["experiment_config"] if ours else file_config.make(file, asset, config)
    found = origin.without_personal(found, path, origin.OF_MACHINE)
    saved = Saved(file_config.follow_clip(found, file) if file.clip else found)

    def policy(setup: Setup) -> Policy:
        spec = setup.env.spec
        joints = adapter.joint_index(file, setup.robot)
        rows = adapter.make(path, file.observation_layout, spec, GROUP, joints, spec.action_dim)
        if len(rows.index) != file.obs_dim:
            raise ConfigError(_other_size(file, spec))
        return Policy(str(path), lambda obs: rows.action(file(rows.observation(np.asarray(obs)))))

    return PolicySource(path, path.parent, saved, lambda robot: _with_metadata(file, robot), policy)


def _with_metadata(file: LoadedPolicy, robot: Robot) -> Robot:
    """The robot with the gains, scales, pose and limits that the file states; its other joints keep theirs.

    Raises:
      ConfigError: the file is for other joints.
    """
    joints = adapter.joint_index(file, robot)
    changed = {}
    for key in PER_JOINT:
        # one number in the file is for every joint
        value = _action_scale(file, robot, joints) if key == "action_scale" else file.metadata.get(key)
        if value is None and file.clip and key in ("kp", "kd"):
            log.warning(
                "%s: does not state %s, taken from the robot; --policy.%s sets it.", file.path, key, key
            )
        if value is not None:
            changed[key] = np.array(getattr(robot, key), np.float32)
            changed[key][joints] = value
    return dataclasses.replace(robot, **changed)


def _action_scale(file: LoadedPolicy, robot: Robot, joints: np.ndarray) -> np.ndarray | None:
    """What the file states; or 1, where a tracking policy cannot act further than the joints' ranges reach in rad.

    holosoma's FastSAC policies act within +- the range of each joint around the default pose; those that do not
    state a scale were trained with 1 rad per unit, and fall with any other (measured in closed loop).
    """
    if file.action_scale is not None or not file.clip or file.action_bound is None:
        return file.action_scale
    reach = (robot.action_reach * robot.action_scale)[joints]
    if np.mean(np.isclose(file.action_bound, reach, rtol=0.01)) < 0.8:
        return None
    log.warning(
        "%s: does not state its action scale. Its actions are bounded by the joints' ranges, so 1 rad per unit is "
        "taken; --policy.action-scale sets another.",
        file.path,
    )
    return np.ones(len(joints), np.float32)


def _other_size(file: LoadedPolicy, spec: EnvSpec) -> str:
    """What to do about a file of another size that does not list its observations."""
    frame = sum(term.dim for term in spec.layout if term.group == GROUP)
    frames, rest = divmod(file.obs_dim, frame)
    fix = "give --policy.observation-names."
    if frames and not rest:
        fix = f"for a history of {frames} frames, --observation.groups.{GROUP}.history-length={frames}."
    return (
        f"{file.path}: the policy reads {file.obs_dim} observations, this configuration gives "
        f"{spec.obs_dims[GROUP]}; {fix}"
    )
