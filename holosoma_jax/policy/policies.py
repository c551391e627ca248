"""Where a policy comes from: a checkpoint of this project, or an ONNX or TorchScript file of any.

A `PolicySource` knows the config that the policy was trained with before any environment exists; once the
environment is built from it (with the user's changes), `PolicySource.policy` gives the policy for it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from bridges.protocol import Array
from holosoma_jax import robots
from holosoma_jax.config import compose
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.schema.evaluation import PolicyArgs
from holosoma_jax.config.trust import Saved
from holosoma_jax.envs.env import EnvSpec
from holosoma_jax.experiment import Setup
from holosoma_jax.loggers import wandb_files
from holosoma_jax.policy import adapter, observation_names, onnx_policy, stated, torchscript
from holosoma_jax.policy.foreign_metadata import PER_JOINT
from holosoma_jax.policy.loaded import LoadedPolicy
from holosoma_jax.robots.robot import Robot
from holosoma_jax.runs import checkpoint

PRESETS: Mapping[str, str] = {"g1": "g1-29dof", "t1": "t1-29dof", "k1": "k1-22dof"}
"""Robot -> the preset that a policy file without a config is run with."""

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
    """what it was trained with, as `compose.to_mapping` writes it"""
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

    ``wandb://ENTITY/PROJECT/RUN/FILE`` is downloaded first; what belongs to it is written below the
    working directory, not into the cache.

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
    return _from_checkpoint(checkpoint_path)


def _from_checkpoint(where: str) -> PolicySource:
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
    return PolicySource(path, run, Saved(meta.config, run), lambda robot: robot, policy)


def _from_file(
    path: Path, args: PolicyArgs | None, asset: str | None, config: Mapping[str, Any] | None
) -> PolicySource:
    beside = stated.gather(path, args, asset)
    is_onnx = path.suffix.lower() == ".onnx"
    file = onnx_policy.load(path, beside) if is_onnx else torchscript.load(path, beside)
    ours = "holosoma_jax_version" in file.metadata and "experiment_config" in file.metadata
    saved = Saved(file.metadata["experiment_config"] if ours else _config_for(file, asset, config))

    def policy(setup: Setup) -> Policy:
        spec = setup.env.spec
        if file.observation_layout is None and file.obs_dim != spec.obs_dims[GROUP]:
            raise ConfigError(_other_size(file, spec))
        joints = _joints(file, setup.robot)
        rows = adapter.make(path, file.observation_layout, spec, GROUP, joints, spec.action_dim)
        return Policy(str(path), lambda obs: rows.action(file(rows.observation(np.asarray(obs)))))

    return PolicySource(path, path.parent, saved, lambda robot: _with_metadata(file, robot), policy)


def _config_for(file: LoadedPolicy, asset: str | None, config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The config that the file is run with: `config`, or the preset of its robot on flat ground.

    Observations, rates, clips and command ranges are the file's where it states them.

    Raises:
      ConfigError: no robot has these joints; a term of the file's layout is not known here.
    """
    if config is not None:
        result = dict(config)
    else:
        asset = asset or _robot_of(file)
        preset = f"exp:{PRESETS.get(asset, PRESETS['g1'])}"
        cfg = compose.load([preset, "simulator:mujoco", "terrain:terrain-locomotion-plane"])
        result = compose.to_mapping(cfg)
        result["robot"]["asset"] = asset
        _joints(file, robots.load(asset))
    meta = file.metadata
    if file.observation_layout is not None:
        groups = result["observation"]["groups"]
        known = {name: term for group in groups.values() for name, term in group["terms"].items()}
        known |= groups[GROUP]["terms"]
        groups[GROUP] = groups[GROUP] | _observed(file, known)
    if clip := meta.get("observation_clip"):
        result["observation"]["clip_observations"] = float(clip)
    if clip := meta.get("action_clip"):
        result["robot"]["control"]["action_clip_value"] = float(clip)
    if _needs_implicit_damping(file, robots.load(result["robot"]["asset"]), result):
        for engine in ("mujoco", "mujoco_warp"):
            result["simulator"]["config"][engine]["integrator"] = "implicitfast"
    if dt := meta.get("control_dt"):
        result["simulator"]["config"]["sim"]["control_decimation"] = _decimation(file, float(dt), result)
    if ranges := meta.get("command_ranges"):
        params = result["command"]["setup_terms"]["locomotion_command"]["params"]
        params["command_ranges"] = dict(params["command_ranges"]) | dict(ranges)
    return result


def _robot_of(file: LoadedPolicy) -> str:
    """The built-in robot with the file's joints, in any order; else the first that has all of them."""
    joints = {asset: set(robots.load(asset).joint_names) for asset in PRESETS}
    names = set(file.dof_names)
    same = [asset for asset, of_robot in joints.items() if names == of_robot]
    if found := same or [asset for asset, of_robot in joints.items() if names < of_robot]:
        return found[0]
    known = ", ".join(f"{asset} ({len(of_robot)} joints)" for asset, of_robot in joints.items())
    raise ConfigError(
        f"{file.path}: its {len(file.dof_names)} joints ({file.dof_names[0]}, ...) are of no robot known here: "
        f"{known}. Name yours with --robot.asset or --config."
    )


def _needs_implicit_damping(file: LoadedPolicy, robot: Robot, config: Mapping[str, Any]) -> bool:
    """Whether the file's damping is for a simulator that integrates it implicitly, as PhysX does.

    Explicit integration of a damping kd diverges where kd * dt > 2 * inertia, of which the armature is the part
    that does not depend on the pose. unitree_rl_lab's arms have kd 10 on 0.004 kg m^2.
    """
    if file.kd is None:
        return False
    dt = 1.0 / config["simulator"]["config"]["sim"]["fps"]
    return bool(np.any(file.kd * dt > 2.0 * robot.armature[_joints(file, robot)]))


def _decimation(file: LoadedPolicy, control_dt: float, config: Mapping[str, Any]) -> int:
    """Physics steps in `control_dt` s.

    Raises:
      ConfigError: they are not a whole number.
    """
    fps = config["simulator"]["config"]["sim"]["fps"]
    steps = round(control_dt * fps)
    if steps < 1 or abs(steps / fps - control_dt) > 1e-4:
        raise ConfigError(
            f"{file.path}: it acts every {control_dt:g} s, which is no whole number of physics steps at "
            f"{fps} Hz; choose --simulator.config.sim.fps and --policy.control-dt to match."
        )
    return steps


def _observed(file: LoadedPolicy, known: Mapping[str, Any]) -> dict[str, Any]:
    """Terms in the file's order, with its scales and its longest history, and the preset's noise."""
    layout = file.observation_layout or ()
    terms = {}
    for term in layout:
        for part in observation_names.parts(str(term["name"])):
            name = part.term
            if name not in known and name not in observation_names.known():
                raise ConfigError(
                    f"{file.path}: it observes '{name}', which the preset of its robot does not. "
                    f"Known: {', '.join(known)}."
                )
            default = known.get(name, {"func": "", "scale": 1.0, "noise": 0.0, "params": {}})
            scale = term.get("scale", default["scale"])
            uniform = isinstance(scale, (int, float))
            terms.setdefault(name, dict(default) | {"scale": float(scale) if uniform else 1.0})
    frames = max(term["history_length"] for term in layout)
    return {"terms": terms, "history_length": frames, "order": list(terms)}


def _joints(file: LoadedPolicy, robot: Robot) -> np.ndarray:
    """[A] place of each of the file's joints among the robot's."""
    return adapter.joint_index(file.path, file.dof_names, robot.joint_names, robot.name)


def _with_metadata(file: LoadedPolicy, robot: Robot) -> Robot:
    """The robot with the gains, scales, pose and limits that the file states; its other joints keep theirs.

    Raises:
      ConfigError: the file is for other joints.
    """
    joints = _joints(file, robot)
    changed = {}
    for key in PER_JOINT:
        # one number in the file is for every joint
        value = file.action_scale if key == "action_scale" else file.metadata.get(key)
        if value is not None:
            changed[key] = np.array(getattr(robot, key), np.float32)
            changed[key][joints] = value
    return dataclasses.replace(robot, **changed)


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
