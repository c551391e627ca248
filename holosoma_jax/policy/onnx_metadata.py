"""What a policy file says about itself: the metadata of an exported ONNX policy.

Every value is one JSON document, so that a reader needs no schema to parse it. The first group of
keys is holosoma's, in its units and order; files of holosoma may lack all but ``dof_names``,
``kp`` and ``kd``. The second group is ours and says what holosoma leaves to convention: the default
pose, the torque limits, the action clip, the control period, the units.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from holosoma_jax import __version__
from holosoma_jax.config.values import MAX_FLOAT, MIN_FLOAT
from holosoma_jax.envs.env import EnvSpec
from holosoma_jax.policy.foreign import observation_names
from holosoma_jax.robots.robot import Robot

if TYPE_CHECKING:
    import onnx

HISTORY_FILLS = ("zero", "first")
"""What the frames of a history hold that lie before the episode."""
UNITS: Mapping[str, str] = {
    "kp": "N m/rad",
    "kd": "N m s/rad",
    "torque_limit": "N m",
    "default_joint_pos": "rad",
    "action_scale": "rad; joint target = default_joint_pos + action_scale * action",
    "action_clip": "actions are clipped to +- this before they are scaled; the observed action is not",
    "control_dt": "s between two actions",
    "command_ranges": "m/s for lin_vel_*, rad/s for ang_vel_yaw, rad for heading",
    "observation_layout": "(value + noise) * scale per frame, oldest frame first, terms in this order",
}
"""Unit or formula of each numeric key."""

PRODUCER = "holosoma_jax"
"""Name of the producer in a model of ours."""
DIGEST = "sha256"
"""Key of the digest over graph and metadata."""
DIGESTED = 1
"""`model_version` of our files that have a digest: said twice, so that damage to one does not hide the other."""

REQUIRED = ("dof_names", "kp", "kd")
"""Without these holosoma's deployment program cannot run a policy."""

_PER_JOINT = ("kp", "kd", "action_scale", "default_joint_pos", "torque_limit")
_WINDOWS_PATH = re.compile(r"^[A-Za-z]:[\\/]|^\\\\")


def policy_metadata(
    config: Mapping[str, Any],
    robot: Robot,
    spec: EnvSpec,
    iteration: int,
    *,
    group: str = "actor_obs",
    include_config: bool = True,
    urdf: str | None = None,
    wandb_run_path: str | None = None,
) -> dict[str, Any]:
    """Metadata of a policy trained with `config` on `robot`.

    Args:
      config: the resolved configuration as plain mappings; absolute paths in it are cut down to
        their last part, so that the file does not describe the machine it was trained on.
      robot: gains, limits and names are taken from here.
      spec: the environment's layout, command ranges and rates.
      iteration: learning iterations that the policy has seen.
      group: observation group that the policy reads; only its terms are listed.
      include_config: False leaves ``experiment_config`` out.
      urdf: the robot's, as text; None leaves ``robot_urdf`` out.
      wandb_run_path: 'entity/project/run_id', where the run is at Weights & Biases.

    Returns:
      Key -> value, ready for `encode`.
    """
    result: dict[str, Any] = {
        "dof_names": list(robot.joint_names),
        "kp": _floats(robot.kp),
        "kd": _floats(robot.kd),
        "action_scale": _floats(robot.action_scale),
        "command_ranges": spec.command_ranges,
        "observation_layout": [
            {
                "group": term.group,
                "name": term.name,
                "func": term.func,
                "dim": term.dim,
                "history_length": term.history_length,
                "history_fill": term.history_fill,
                "scale": term.scale,
                "clip": None,  # terms are not clipped one by one; see observation_clip
                "noise": term.noise,
                "params": dict(term.params),
            }
            for term in spec.layout
            if term.group == group
        ],
        "observation_clip": spec.clip_observations,
        "iteration": int(iteration),
        "default_joint_pos": _floats(robot.default_joint_pos),
        "torque_limit": _floats(robot.torque_limit),
        "action_clip": spec.action_clip,
        "control_dt": spec.control_dt,
        "robot": robot.name,
        "units": dict(UNITS),
        "holosoma_jax_version": __version__,
    }
    if include_config:
        result["experiment_config"] = strip_paths(config)
    if urdf is not None:
        result["robot_urdf"] = urdf
    if wandb_run_path is not None:
        result["wandb_run_path"] = wandb_run_path
    return result


def encode(meta: Mapping[str, Any]) -> dict[str, str]:
    """Each value as a JSON document; raises ValueError naming a key that JSON cannot hold."""
    encoded = {}
    for key, value in meta.items():
        try:
            encoded[key] = json.dumps(_plain(value), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"metadata '{key}' cannot be written as JSON: {error}.") from None
    return encoded


def encode_mjlab(meta: Mapping[str, Any]) -> dict[str, str]:
    """`encode`, and mjlab's and BeyondMimic's keys, whose lists are text with commas between.

    What both name alike (default pose, action scale, bodies) is written as they write it.
    """
    layout = meta["observation_layout"]
    theirs = {
        "joint_names": meta["dof_names"],
        "joint_stiffness": meta["kp"],
        "joint_damping": meta["kd"],
        "default_joint_pos": meta["default_joint_pos"],
        "action_scale": meta["action_scale"],
        "command_names": ["motion"],
        "observation_names": [observation_names.of_mjlab(term["name"]) for term in layout],
        "observation_history_lengths": [term["history_length"] for term in layout],
        "body_names": meta["body_names"],
    }
    text = {"anchor_body_name": meta["anchor_body_name"], "run_path": meta.get("wandb_run_path", "none")}
    return encode(meta) | {key: ",".join(map(str, value)) for key, value in theirs.items()} | text


def digest(model: onnx.ModelProto) -> str:
    """SHA-256 of a model's graph and metadata, the entry `DIGEST` itself left out."""
    bare = type(model)()
    bare.CopyFrom(model)
    entries = sorted((item.key, item.value) for item in bare.metadata_props if item.key != DIGEST)
    del bare.metadata_props[:]
    for key, value in entries:
        bare.metadata_props.add(key=key, value=value)
    return hashlib.sha256(bare.SerializeToString(deterministic=True)).hexdigest()


def check_digest(model: onnx.ModelProto) -> bool:
    """Whether a file has a digest; other programs, and earlier versions of this one, write none.

    Raises:
      ValueError: it has one and is not as it was exported.
    """
    stated = {item.key: item.value for item in model.metadata_props}
    # Of a damaged file, protobuf hands out bytes where text should be.
    if odd := [
        name for name, text in stated.items() if not (isinstance(name, str) and isinstance(text, str))
    ]:
        raise ValueError(f"metadata {odd[0]!r} is not UTF-8: the file is damaged; get or export it again")
    if DIGEST not in stated:
        if model.producer_name != PRODUCER or model.model_version < DIGESTED:
            return False
        raise ValueError(
            f"metadata '{DIGEST}' is missing: the file is damaged or was edited; export it again"
        )
    found = digest(model)
    if stated[DIGEST] != json.dumps(found):
        raise ValueError(
            f"metadata '{DIGEST}' is {_shown(stated[DIGEST])}, graph and metadata have {found[:12]}...: the file was "
            "changed or damaged after its export; export it again"
        )
    return True


def check_metadata(
    meta: Mapping[str, Any],
    *,
    obs_dim: int | None = None,
    action_dim: int | None = None,
    required: Sequence[str] = REQUIRED,
) -> list[str]:
    """What is wrong with decoded metadata, one line each; empty when nothing is.

    Every known key is checked when present, unknown keys are ignored.

    Args:
      meta: decoded values.
      obs_dim: entries of the policy's input; compared with the layout when both are there.
      action_dim: entries of the policy's output; compared with ``dof_names``.
      required: keys that have to be there; the default is what a file for a robot needs.
    """
    problems = [f"'{key}' is missing" for key in required if meta.get(key) is None]
    names = meta.get("dof_names")
    joints = action_dim
    if names is not None:
        if not _is_list_of(names, str) or not all(names) or not names:
            problems.append(f"'dof_names' is {_shown(names)}, wanted a list of joint names")
        else:
            repeated = [name for i, name in enumerate(names) if name in names[:i]]
            if repeated:
                problems.append(f"'dof_names' lists '{repeated[0]}' twice")
            if action_dim is not None and len(names) != action_dim:
                problems.append(f"'dof_names' has {len(names)} names, the action has {action_dim} entries")
            joints = len(names)
    for key in _PER_JOINT:
        if meta.get(key) is not None:
            problems += _check_per_joint(key, meta[key], joints)
    problems += _check_ranges(meta.get("command_ranges"))
    problems += _check_layout(meta.get("observation_layout"), obs_dim)
    for key in ("observation_clip", "action_clip", "control_dt"):
        value = meta.get(key)
        if value is not None and not (_is_number(value) and value > 0):
            problems.append(f"'{key}' is {_shown(value)}, wanted a positive number")
    iteration = meta.get("iteration")
    if iteration is not None and (
        not isinstance(iteration, int) or isinstance(iteration, bool) or iteration < 0
    ):
        problems.append(f"'iteration' is {_shown(iteration)}, wanted an integer >= 0")
    return problems


def strip_paths(value: Any) -> Any:
    """The same nested value with every absolute or home-relative path cut to its last part.

    URIs of remote stores (``wandb://...``) and relative paths inside the project stay.
    """
    if isinstance(value, Mapping):
        return {key: strip_paths(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [strip_paths(item) for item in value]
    if isinstance(value, str) and (
        value.startswith(("/", "~", "../", "..\\", "file:")) or _WINDOWS_PATH.match(value)
    ):
        return re.split(r"[\\/]", value.rstrip("\\/"))[-1]
    return value


def _check_per_joint(key: str, value: Any, joints: int | None) -> list[str]:
    if key == "action_scale" and _is_number(value):  # one scale for every joint
        return [] if value >= MIN_FLOAT else [f"'action_scale' is {value}, wanted > 0"]
    if not isinstance(value, list) or not all(_is_number(item) for item in value):
        return [f"'{key}' is {_shown(value)}, wanted one finite number per joint"]
    if joints is not None and len(value) != joints:
        return [f"'{key}' has {len(value)} entries, wanted {joints}, one per joint"]
    if key in ("kp", "kd", "torque_limit") and min(value, default=1) < MIN_FLOAT:
        return [f"'{key}' has the entry {min(value)}, wanted > 0"]
    if key == "action_scale" and min(value, default=1) < MIN_FLOAT:  # below, float32 holds 0
        return [f"'action_scale' has the entry {min(value)}, wanted > 0"]
    return []


def _check_ranges(ranges: Any) -> list[str]:
    if ranges is None:
        return []
    if not isinstance(ranges, Mapping):
        return [f"'command_ranges' is {_shown(ranges)}, wanted name -> [low, high], or null"]
    return [
        f"'command_ranges.{name}' is {_shown(pair)}, wanted [low, high]"
        for name, pair in ranges.items()
        if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and all(map(_is_number, pair)))
        or pair[0] > pair[1]
    ]


def _check_layout(layout: Any, obs_dim: int | None) -> list[str]:
    if layout is None:
        return []
    if not _is_list_of(layout, Mapping):
        return [f"'observation_layout' is {_shown(layout)}, wanted a list of objects"]
    total = 0
    for i, term in enumerate(layout):
        missing = [key for key in ("name", "dim", "history_length") if key not in term]
        if missing:
            return [f"'observation_layout[{i}]' lacks '{missing[0]}'"]
        if not isinstance(term["name"], str) or not term["name"]:
            return [f"'observation_layout[{i}].name' is {_shown(term['name'])}, wanted text"]
        frame, history = term["dim"], term["history_length"]
        if not (isinstance(frame, int) and isinstance(history, int) and frame > 0 and history > 0):
            return [f"'observation_layout[{i}]': dim {frame}, history_length {history}, wanted integers > 0"]
        if term.get("history_fill", "zero") not in HISTORY_FILLS:
            fill = _shown(term["history_fill"])
            return [
                f"'observation_layout[{i}]': history_fill {fill}, wanted one of {', '.join(HISTORY_FILLS)}"
            ]
        total += frame * history
    if obs_dim is not None and total != obs_dim:
        return [f"'observation_layout' adds up to {total} entries, the input has {obs_dim}"]
    return []


def _floats(values: Sequence[float] | np.ndarray) -> list[float]:
    """Shortest decimals that read back as the same float32 (40.179237, not 40.17923736572266)."""
    return [float(str(np.float32(value))) for value in np.asarray(values)]


def _plain(value: Any) -> Any:
    """NumPy values and tuples as what `json` knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value


def _is_number(value: Any) -> bool:
    """Whether it is a number that float32 holds."""
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and -MAX_FLOAT <= value <= MAX_FLOAT
    )


def _is_list_of(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(isinstance(item, kind) for item in value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
