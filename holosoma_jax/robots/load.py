"""Reading a robot: the record and the MJCF, checked against each other.

The MJCF owns names, order, masses and joint ranges; the record owns control and roles. Numbers that
both must hold (gains, torque limit, armature) are compared, so that neither can drift.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mujoco
import numpy as np

from holosoma_jax.config import own_files
from holosoma_jax.config.errors import ConfigError, nearest
from holosoma_jax.files import expanded
from holosoma_jax.robots import fields
from holosoma_jax.robots import model as robot_model
from holosoma_jax.robots.model_record import model_record
from holosoma_jax.robots.robot import Box, Robot

if TYPE_CHECKING:
    from holosoma_jax.config.schema import ObjectConfig, RobotConfig

log = logging.getLogger(__name__)

ROBOTS = Path(__file__).parent


def load(asset: str, *, report: bool = True) -> Robot:
    """The robot called ``asset``.

    Args:
      asset: a folder beside this file ('g1', 't1', 'k1'), a path to a folder with ``robot.yaml`` and the
        MJCF it names, or FILE:NAME of an imported file (`own_files`).
      report: say what of somebody's model file is left out.

    Raises:
      ConfigError: nothing is there, or record and model do not fit; names the file and the field.
    """
    folder = _folder(asset)
    path = folder / "robot.yaml"
    record = fields.read(path)
    model_path = folder / fields.text(path, record, "mjcf")
    model, servos = _compile(path, model_path, fields.text(path, record, "root_body"), report)
    joints = [_name(model, mujoco.mjtObj.mjOBJ_JOINT, j) for j in range(1, model.njnt)]
    bodies = [_name(model, mujoco.mjtObj.mjOBJ_BODY, b) for b in range(1, model.nbody)]
    columns = fields.joints(path, record, joints)
    limited = model.jnt_limited[1:].astype(bool)
    lower = np.where(limited, model.jnt_range[1:, 0], -robot_model.UNLIMITED)
    upper = np.where(limited, model.jnt_range[1:, 1], robot_model.UNLIMITED)
    index, sign = fields.mirror(path, record, joints)
    wanted = fields.BODY_LISTS | {
        key: size for key, size in fields.OPTIONAL_BODY_LISTS.items() if key in record
    }
    lists: dict[str, Any] = {
        key: fields.bodies(path, record, key, bodies, size) for key, size in wanted.items()
    }
    robot = Robot(
        name=fields.name_of(path, record),
        mjcf=model_path.resolve(),
        joint_names=tuple(joints),
        body_names=tuple(bodies),
        default_joint_pos=columns["default"],
        kp=columns["kp"],
        kd=columns["kd"],
        torque_limit=columns["torque_limit"],
        velocity_limit=columns["velocity_limit"],
        armature=columns["armature"],
        joint_lower=fields.frozen(lower),
        joint_upper=fields.frozen(upper),
        action_scale=fields.frozen(np.full(len(joints), fields.positive(path, record, "action_scale", 1e3))),
        mirror_index=fields.frozen(index, np.int32),
        mirror_sign=fields.frozen(sign),
        init_pos=fields.start(path, record),
        init_quat=fields.vector(path, record, "init_quat", 4),
        root_body=fields.body(path, "root_body", record["root_body"], bodies),
        torso_body=fields.body(path, "torso_body", record["torso_body"], bodies),
        **lists,
        body_mass=fields.frozen(model.body_mass[1:]),
        soft_limit_factor=fields.positive(path, record, "soft_limit_factor", 1.0),
        model=model_record(model),
    )
    _check(path, robot, servos)
    _check_feet(path, robot, model)
    if report and servos is None and not is_built_in(model_path):
        _note_armature(robot, model)
    return robot


def is_built_in(model_path: Path) -> bool:
    """Whether a model file is one of this package's."""
    return ROBOTS in model_path.parents


def configure(robot: Robot, cfg: RobotConfig) -> Robot:
    """``robot`` with the run's initial position, action scale and object.

    With ``action_scales_by_effort_limit_over_p_gain``, joint j is scaled by
    action_scale * torque_limit_j / kp_j: a unit action then asks for that share of its torque limit.
    """
    scale = robot.action_scale if cfg.control.action_scale is None else cfg.control.action_scale
    scales = np.broadcast_to(np.float32(scale), robot.kp.shape)
    if cfg.control.action_scales_by_effort_limit_over_p_gain:
        if (robot.kp == 0).any():
            raise ConfigError(
                "robot.control.action_scales_by_effort_limit_over_p_gain: got true, but joint "
                f"'{robot.joint_names[int(np.argmin(robot.kp))]}' has kp 0, so its scale would be infinite."
            )
        scales = scales * robot.torque_limit / robot.kp
    init_pos = robot.init_pos if cfg.init_state.pos is None else cfg.init_state.pos
    return dataclasses.replace(
        robot, action_scale=fields.frozen(scales), init_pos=init_pos, object=_box(cfg.object)
    )


def with_box(robot: Robot, size: Sequence[float] | None = None) -> Robot:
    """``robot`` with a box beside it, to be drawn: of these whole lengths in m, or of the default ones."""
    from holosoma_jax.config.schema import ObjectConfig

    cfg = ObjectConfig(enabled=True)
    return dataclasses.replace(
        robot, object=_box(cfg if size is None else dataclasses.replace(cfg, size=tuple(size)))
    )


def _box(cfg: ObjectConfig) -> Box | None:
    """The object of a run; its inertia is that of a solid box unless the config says another."""
    if not cfg.enabled:
        return None
    x, y, z = (length**2 * cfg.mass / 12.0 for length in cfg.size)
    return Box(cfg.size, cfg.mass, cfg.inertia or (y + z, x + z, x + y), cfg.friction, cfg.init_pos)


def _folder(asset: str) -> Path:
    known = sorted(p.parent.name for p in ROBOTS.glob("*/robot.yaml"))
    asset = own_files.robot(asset)
    folder = ROBOTS / asset if asset in known else expanded(asset)
    if not _is_file(folder / "robot.yaml"):
        hint = nearest(asset, known)
        raise ConfigError(
            f"robot.asset: '{asset}' is neither one of {', '.join(known)} nor a folder with robot.yaml.{hint}"
        )
    return folder


def _is_file(path: Path) -> bool:
    """Whether there is such a file; False for what cannot be a file's name."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _compile(
    path: Path, model_path: Path, root_body: str, report: bool
) -> tuple[mujoco.MjModel, mujoco.MjModel | None]:
    """The robot alone, compiled: a free joint first, then hinges; and with its actuators if they are servos."""
    if not _is_file(model_path):
        raise ConfigError(f"{path}: mjcf names '{model_path.name}', which is not in {path.parent}.")
    read = robot_model.read(model_path, root_body)
    try:
        model = read.spec.compile()
    except ValueError as error:
        raise ConfigError(f"{model_path}: MuJoCo rejects it: {' '.join(str(error).split())}") from None
    if report and not is_built_in(model_path):
        for note in read.notes:
            log.warning("%s: %s.", model_path.name, note)
        for joint in np.flatnonzero(model.jnt_limited[1:] == 0) + 1:
            name = _name(model, mujoco.mjtObj.mjOBJ_JOINT, int(joint))
            log.warning("%s: '%s' has no range; half a turn either side is taken.", model_path.name, name)
    kinds = model.jnt_type
    hinge, free = mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_FREE
    if not len(kinds) or kinds[0] != free or any(kinds[1:] != hinge):
        others = [
            _name(model, mujoco.mjtObj.mjOBJ_JOINT, j) for j in range(1, model.njnt) if kinds[j] != hinge
        ]
        raise ConfigError(
            f"{model_path}: expected one free joint, then hinges only; "
            f"{', '.join(others[:3]) or 'the first joint'} is not."
        )
    return model, read.servos


def _check(path: Path, robot: Robot, servos: mujoco.MjModel | None) -> None:
    """Record against model: gains, limits, armature; the default pose inside the ranges.

    A model whose actuators are not servos leaves control, armature included, to the record.
    """
    for key, values in _control(servos).items():
        recorded = getattr(robot, key.split()[0])
        for joint, got, want in zip(robot.joint_names, values, recorded, strict=True):
            if not np.isclose(got, want, rtol=1e-5, atol=1e-9):
                raise ConfigError(
                    f"{path}: joints.{joint}.{key} is {want:g}, but {robot.mjcf.name} has {got:g}. "
                    "Correct one of the two."
                )
    if robot.root_body != robot.body_names[0]:
        raise ConfigError(
            f"{path}: root_body is '{robot.root_body}', but the free joint moves '{robot.body_names[0]}'."
        )
    if not np.isclose(np.linalg.norm(robot.init_quat), 1.0, atol=1e-4):
        raise ConfigError(f"{path}: init_quat: expected length 1, got {[*robot.init_quat]}.")
    for joint, low, q, high in zip(
        robot.joint_names, robot.joint_lower, robot.default_joint_pos, robot.joint_upper, strict=True
    ):
        if not low <= q <= high:
            raise ConfigError(
                f"{path}: joints.{joint}.default is {q:g} rad, outside the range [{low:g}, {high:g}]."
            )


def _control(servos: mujoco.MjModel | None) -> dict[str, np.ndarray]:
    """What the model says of control, [J] each; limits only where its actuators have one."""
    if servos is None:
        return {}
    law = servos.actuator_biasprm
    control = {
        "kp": servos.actuator_gainprm[:, 0],
        "kp (bias)": -law[:, 1],
        "kd": -law[:, 2],
        "armature": servos.dof_armature[6:],
    }
    if servos.actuator_forcelimited.all():
        control["torque_limit"] = servos.actuator_forcerange[:, 1]
    return control


def _note_armature(robot: Robot, model: mujoco.MjModel) -> None:
    """Say where the file has another armature than the record, whose armature is stepped; 0 in a file says nothing."""
    there = model.dof_armature[6:]
    others = np.flatnonzero((there != 0) & ~np.isclose(there, robot.armature, rtol=1e-5))
    if len(others):
        j = int(others[0])
        log.warning(
            "%s: the armature of %d joints is left out; robot.yaml's counts (%s: %g in the file, %g in robot.yaml).",
            robot.mjcf.name, len(others), robot.joint_names[j], there[j], robot.armature[j],
        )  # fmt: skip


def _check_feet(path: Path, robot: Robot, model: mujoco.MjModel) -> None:
    """Raise ConfigError for a foot without a geom that collides: the robot would fall for ever."""
    solid = {
        int(b) for g, b in enumerate(model.geom_bodyid) if model.geom_contype[g] or model.geom_conaffinity[g]
    }
    for name in robot.feet_bodies:
        foot = model.body(name).id
        if not any(robot_model.hangs_from(model, body, {foot}) for body in solid):
            raise ConfigError(
                f"{path}: feet_bodies: no geom of '{name}' collides in {robot.mjcf.name} (contype and conaffinity "
                "are 0, and no contact pair names one). Give its sole contype 1."
            )


def _name(model: mujoco.MjModel, kind: mujoco.mjtObj, index: int) -> str:
    return mujoco.mj_id2name(model, kind, index) or f"unnamed {index}"
