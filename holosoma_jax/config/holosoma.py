"""holosoma's configuration keys, for people who type them here, and its saved `holosoma_config.yaml`."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.yaml12 import show, spell
from holosoma_jax.files import expanded

Path = tuple[str, ...]


def _paths(table: Mapping[str, str]) -> dict[Path, Path]:
    return {tuple(old.split(".")): tuple(new.split(".")) for old, new in table.items()}


RENAMED: Mapping[Path, Path] = _paths(
    {
        "training.torch_deterministic": "training.deterministic",
        "logger.base_dir": "training.output_dir",
        "algo.config.num_q_networks": "algo.config.num_critics",
        "algo.config.amp": "algo.config.bf16",
        "algo.config.module_dict.actor.layer_config.hidden_dims": "algo.config.actor_hidden",
        "algo.config.module_dict.critic.layer_config.hidden_dims": "algo.config.critic_hidden",
        "algo.config.module_dict.actor.min_noise_std": "algo.config.min_noise_std",
        "simulator.config.name": "simulator.name",
        "robot.asset.enable_self_collisions": "robot.enable_self_collisions",
        "action.terms.joint_control.scale": "robot.control.action_scale",
        "terrain.terrain_term.slope_treshold": "terrain.terrain_term.slope_threshold",
        "command.params.locomotion_command_resampling_time": (
            "command.setup_terms.locomotion_command.params.resampling_time"
        ),
        "curriculum.params.num_compute_average_epl": (
            "curriculum.setup_terms.average_episode_tracker.params.num_compute_average_epl"
        ),
    }
)
"""holosoma's key -> the key of the same meaning here; taken as if the latter had been typed."""

_RECORD = "it is part of the robot's record (docs/new_robot.md)"
DIFFERENT: Mapping[Path, str] = {
    tuple(old.split(".")): what
    for old, what in {
        "env_class": "the task is chosen with task:NAME",
        "algo._target_": "the learner is chosen with algo:NAME",
        "algo.config.weight_decay": (
            "set --algo.config.actor-optimizer.weight-decay and --algo.config.critic-optimizer.weight-decay"
        ),
        "algo.config.amp_dtype": "there is bfloat16 alone: --algo.config.bf16",
        "algo.config.compile": "everything is compiled",
        "algo.config.actor_optimizer._target_": "the optimiser is AdamW",
        "algo.config.critic_optimizer._target_": "the optimiser is AdamW",
        "algo.config.module_dict": "set --algo.config.actor-hidden, critic-hidden and activation",
        "algo.config.actor_obs_keys": "the actor reads the group actor_obs",
        "algo.config.critic_obs_keys": "the critic reads the group critic_obs",
        "simulator.config.mujoco_backend": "choose simulator:mujoco or simulator:mjwarp",
        "simulator.config.sim.substeps": "raise --simulator.config.sim.fps and control-decimation",
        "simulator.config.virtual_gantry.apply_force": "the rope's spring and damper are all that pulls",
        "simulator.config.virtual_gantry.apply_force_sign": "the rope's spring and damper are all that pulls",
        "simulator.config.viewer": "see --viewer.*",
        "robot.asset": "the robot is a folder: --robot.asset=NAME or PATH",
        "robot.control.stiffness": _RECORD,
        "robot.control.damping": _RECORD,
        "robot.init_state": _RECORD,
        "robot.object.object_urdf_path": "the object is a box: --robot.object.size and mass",
        "robot.dof_names": _RECORD,
        "robot.body_names": _RECORD,
        "terrain.terrain_term.static_friction": "friction is drawn: --randomization.setup-terms.randomize-fric"
        "tion-startup.params.friction-range",
        "terrain.terrain_term.dynamic_friction": "friction is drawn: --randomization.setup-terms.randomize-fri"
        "ction-startup.params.friction-range",
        "terrain.terrain_term.tile_mesh": "the mesh is loaded once: robots of different environments do not meet",
        "terrain.terrain_term.env_origin_in_tile": "starts are spread over the mesh: num_rows x num_cols of them",
        "terrain.terrain_term.step_width_range": "see --terrain.terrain-term.stair-width and stair-height-range",
        "command.reset_terms": "setup_terms hold all of a command",
        "command.step_terms": "setup_terms hold all of a command",
        "curriculum.reset_terms": "setup_terms hold all of a curriculum",
        "curriculum.step_terms": "setup_terms hold all of a curriculum",
        "randomization.step_terms": "setup_terms and reset_terms hold all of it",
        "logger.id": "a run that is resumed in place continues in its wandb run",
        "logger.resume": "a run that is resumed in place continues in its wandb run",
        "logger.headless_recording": "videos need no window",
        "logger.video.save_dir": "videos are in the run's folder",
        "logger.video.upload_to_wandb": "logger:wandb uploads them",
        "eval_overrides": "an evaluation has flags of its own: python -m holosoma_jax.eval --help",
        "nightly": "see benchmarks/",
    }.items()
}  # fmt: skip
"""holosoma's key -> what to do here, where no key has its meaning."""


def ours(path: Path) -> Path:
    """`path`, in the keys of this project where holosoma calls them otherwise."""
    for length in range(len(path), 1, -1):
        if target := RENAMED.get(path[:length]):
            return (*target, *path[length:])
    return path


def advice(path: Path) -> str:
    """What to do instead of setting a key of holosoma's that is not here; '' for any other key."""
    hints = (DIFFERENT.get(path[:length]) for length in range(len(path), 0, -1))
    return next((what for what in hints if what), "")


def is_saved_config(mapping: Mapping[str, Any]) -> bool:
    """Whether this is a `holosoma_config.yaml`."""
    return "env_class" in mapping


def preset(mapping: Mapping[str, Any], source: str) -> str:
    """The experiment that a `holosoma_config.yaml` is laid over: that of its task, robot and learner.

    Raises:
      ConfigError: another robot or learner, or a value in the place of a section that says which.
    """
    for section in (("algo",), ("robot",), ("robot", "asset")):
        _require_section(_at(mapping, section), section, source)
    robot = str(_at(mapping, ("robot", "asset", "robot_type")) or "")
    target = str(_at(mapping, ("algo", "_target_")) or "")
    known = {"g1_29dof": "g1-29dof", "t1_29dof": "t1-29dof"}
    learner = {"PPO": "", "FastSACAgent": "-fast-sac"}.get(target.rpartition(".")[2])
    if robot not in known or learner is None:
        got = f"robot {show(robot)} and learner {show(target)}"
        raise ConfigError(
            f"{source}: got holosoma's {got}; wanted one of {', '.join(known)}, with PPO or FastSAC."
        )
    if _at(mapping, ("command", "setup_terms", "motion_command")) is None:
        return known[robot] + learner
    has_object = bool(_at(mapping, ("robot", "object", "object_urdf_path")))
    return f"{known[robot]}-wbt{learner}{'-w-object' if has_object else ''}"


def translate(
    mapping: Mapping[str, Any], base: Mapping[str, Any], known: Mapping[Path, Any], source: str
) -> tuple[dict[str, Any], list[str]]:
    """What a `holosoma_config.yaml` changes of its preset, and the keys that have no place here.

    Of a section without a key that has one, the section's name alone is listed.

    Args:
      mapping: the file.
      base: the composed preset.
      known: every key that takes a value, with its type, the parameters of the preset's terms included.
      source: what messages call the file.

    Raises:
      ConfigError: a value in the place of a section.
    """
    sections = {key[:length] for key in known for length in range(1, len(key))}
    layer: dict[str, Any] = {}
    left: list[Path] = []
    taken: list[Path] = []
    for path, value in _leaves(mapping):
        key = ours(path)
        if key in sections:
            _require_section(value, path, source)
        if key[-1] == "func" and _at(base, key[:-1]) is not None:
            taken.append(path)  # the term of that name is this project's
        elif value in ({}, [], "") or path in _USED or path[-1] in _OF_HYDRA:
            continue
        elif value is None and not (key in known and _takes_null(known[key])):
            continue  # holosoma finds it by itself, or does without
        elif not _has_place(key, value, known):
            left.append(path)
        else:
            taken.append(path)
            if key == ("simulator", "name") and _at(mapping, (*_SIMULATOR, "mujoco_backend")) == "warp":
                value = "mjwarp"
            _set(layer, key, value)
    for terms in _removed_where_absent(base):
        if _at(mapping, terms[:1]) is None and terms[0] not in mapping:
            continue
        for name in _at(base, terms) or {}:
            if name not in (_at(mapping, terms) or {}):
                _set(layer, (*terms, name), None)
    return layer, [".".join(path) for path in dict.fromkeys(_shortest(path, taken) for path in left)]


def _require_section(value: Any, path: Path, source: str) -> None:
    if not isinstance(value, Mapping) and value not in (None, [], ""):
        raise ConfigError(
            f"{source}: {'.'.join(path)}: got {show(value)}; wanted a mapping of names to values."
        )


_SIMULATOR = ("simulator", "config")
_USED = frozenset({("env_class",), ("robot", "asset", "robot_type"), (*_SIMULATOR, "mujoco_backend")})
"""What `preset` and `translate` have asked already"""
_OF_HYDRA = ("_target_", "_recursive_", "func")
_FILES = ("motion_file", "obj_file_path")
"""Keys whose value is a file, often of holosoma's own folder"""


def _has_place(key: Path, value: Any, known: Mapping[Path, Any]) -> bool:
    """Whether a value of holosoma's means something here, under the key of the same meaning."""
    if key not in known or key[-1] == "activation":
        return False
    if key == ("training", "checkpoint"):
        return not str(value).endswith(".pt")  # of PyTorch
    return key[-1] not in _FILES or not value or _exists(str(value))


def _exists(name: str) -> bool:
    try:
        return expanded(name).exists()
    except OSError:  # the name is too long, or its folder may not be read
        return False


def _removed_where_absent(base: Mapping[str, Any]) -> Iterator[Path]:
    """The terms that this project has because holosoma's preset has them: without them in the file, they go."""
    yield from (("reward", "terms"), ("termination", "terms"))
    yield from (("randomization", "setup_terms"), ("curriculum", "setup_terms"))
    yield from (
        ("observation", "groups", name, "terms") for name in _at(base, ("observation", "groups")) or {}
    )


def _shortest(path: Path, taken: Iterable[Path]) -> Path:
    """The first part of `path` that `DIFFERENT` tells of, or below which nothing was taken."""
    begun = {t[:n] for t in taken for n in range(1, len(t))}
    parts = (path[:n] for n in range(1, len(path)))
    return next((part for part in parts if part in DIFFERENT or part not in begun), path)


def listed(names: Iterable[str]) -> str:
    """Dotted keys by their sections: 'robot: asset; logger.video: camera, save_dir'."""
    sections: dict[str, list[str]] = {}
    for name in names:
        section, _, key = name.rpartition(".")
        sections.setdefault(section, []).append(key)
    return "; ".join(f"{section}: {', '.join(keys)}".removeprefix(": ") for section, keys in sections.items())


def _takes_null(tp: Any) -> bool:
    if typing.get_origin(tp) is typing.Annotated:
        tp = typing.get_args(tp)[0]
    return tp is Any or type(None) in typing.get_args(tp)


def _set(node: dict[str, Any], path: Path, value: Any) -> None:
    for name in path[:-1]:
        node = node.setdefault(name, {})
    node[path[-1]] = value


def _leaves(node: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if not isinstance(node, Mapping) or not node:
        yield path, node
        return
    for name, value in node.items():
        yield from _leaves(value, (*path, spell(str(name))))


def _at(mapping: Any, path: Path) -> Any:
    for name in path:
        mapping = mapping.get(name) if isinstance(mapping, Mapping) else None
    return mapping
