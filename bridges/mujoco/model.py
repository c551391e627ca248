"""The MuJoCo model that is stepped: the robot's MJCF, a ground, actuators, contact sensors.

From the MJCF come the tree, inertias, joint ranges, passive joint forces and geoms. All that is about
control comes from the `Robot` record: one affine actuator a joint, in the record's order, so that
ctrl[j] is the target of joint j in rad.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import mujoco
import numpy as np

from bridges.mujoco import ground_pairs
from holosoma_jax.robots.model import free_of_pairs, read

if TYPE_CHECKING:
    from bridges.protocol import Ground
    from holosoma_jax.config.schema import SimulatorConfig
    from holosoma_jax.robots.robot import Box, Robot

FLOOR = "floor"
"""name of the ground's geom"""
OBJECT = "object"
"""name of the body, the joint and the geom of the box beside the robot"""
CONTACT = "contact/"
"""prefix of the contact sensors, before the body's name"""
BASE_THICKNESS = 1.0
"""m of solid ground under the lowest point of a height field"""
PASSIVE = int(mujoco.mjtDisableBit.mjDSBL_SPRING | mujoco.mjtDisableBit.mjDSBL_DAMPER)
"""flags that switch passive forces off"""
_INTEGRATORS = {
    "euler": mujoco.mjtIntegrator.mjINT_EULER,
    "implicitfast": mujoco.mjtIntegrator.mjINT_IMPLICITFAST,
}


def build(
    robot: Robot,
    ground: Ground,
    cfg: SimulatorConfig,
    *,
    self_collisions: bool = False,
    pair_with_ground: bool = False,
) -> mujoco.MjModel:
    """Compile the model of one environment.

    Args:
      robot: what stands on the ground, and the box beside it, if it has one.
      ground: a plane or a height field.
      cfg: rates and settings.
      self_collisions: let the robot's links collide with each other.
      pair_with_ground: let the robot collide by explicit pairs (`ground_pairs`) if it collides with nothing but the
        ground. Same contacts in less time; friction is then the pairs'.

    Collision classes: ground contype 2 / conaffinity 1, robot 1 / 2, or 1 / 3
    with self-collisions; the object, if there is one, 4 / 3: it touches both. The ground's priority is below
    every robot geom's, so contacts have the robot geom's friction, solref and solimp, never a mixture with the
    ground's. The object's is above, so its friction rules wherever it touches something.

    Visual geoms are left out: they would only cost time.

    Raises:
      ValueError: the MJCF lacks a joint of the record, or its root has no free joint, or the heights
        of the ground are not a finite grid of at least 2 x 2.
    """
    spec = read(robot.mjcf, robot.root_body).spec
    if not self_collisions:
        free_of_pairs(spec)
    spec.compiler.discardvisual = True
    _set_options(spec, cfg)
    _add_actuators(spec, robot)
    robot_geoms = _set_collisions(spec, self_collisions)
    priorities = [geom.priority for geom in robot_geoms] or [0]
    floor = _add_ground(spec, ground, priority=min(priorities) - 1)
    if pair_with_ground and not self_collisions and robot.object is None:
        ground_pairs.add(spec, floor, robot_geoms)
    if robot.object is not None:
        _add_object(spec, robot.object, priority=max(priorities) + 1)
    for body in dict.fromkeys(geom.parent.name for geom in robot_geoms):
        _add_contact_sensor(spec, body)
    model = spec.compile()
    if model.jnt_type[0] != mujoco.mjtJoint.mjJNT_FREE or model.body(robot.root_body).jntadr[0] != 0:
        raise ValueError(f"{robot.mjcf}: '{robot.root_body}' must come first and have a free joint.")
    _skip_passive_forces(model)
    return model


def _skip_passive_forces(model: mujoco.MjModel) -> None:
    """Let MuJoCo not look for passive forces where a model has none, as the G1's: 4 % of a step, no bit of it."""
    causes = (
        model.jnt_stiffness, model.jnt_stiffnesspoly, model.dof_damping, model.dof_dampingpoly,
        model.tendon_stiffness, model.tendon_stiffnesspoly, model.tendon_damping, model.tendon_dampingpoly,
        model.actuator_damping, model.actuator_dampingpoly, model.body_gravcomp, model.opt.density, model.opt.viscosity,
        model.nflex, model.nplugin,
    )  # fmt: skip
    if not any(np.any(cause) for cause in causes):
        model.opt.disableflags |= PASSIVE


def _set_options(spec: mujoco.MjSpec, cfg: SimulatorConfig) -> None:
    """Rates and solver; the solver settings are holosoma's."""
    settings = cfg.config
    spec.option.timestep = 1.0 / settings.sim.fps
    spec.option.integrator = _INTEGRATORS[settings.mujoco.integrator]
    spec.option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    spec.option.iterations = settings.mujoco.iterations
    spec.option.ls_iterations = settings.mujoco.ls_iterations
    spec.option.cone = mujoco.mjtCone.mjCONE_PYRAMIDAL
    spec.option.impratio = 1.0
    # A humanoid's limbs are coupled by its torso alone, so the solver's matrices are half zeros; by itself MuJoCo
    # takes dense ones below 60 degrees of freedom.
    spec.option.jacobian = mujoco.mjtJacobian.mjJAC_SPARSE
    # One robot is one island: finding islands costs 7 % of a G1's step and changes no bit.
    spec.option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_ISLAND)


def _add_actuators(spec: mujoco.MjSpec, robot: Robot) -> None:
    """PD control as force = clip(kp * ctrl - kp * q - kd * qd, +-torque_limit), joint by joint."""
    joints = {joint.name: joint for joint in spec.joints}
    for j, name in enumerate(robot.joint_names):
        if name not in joints:
            raise ValueError(f"{robot.mjcf}: has no joint '{name}', which the record lists.")
        joints[name].armature = float(robot.armature[j])
        joints[name].actfrclimited = mujoco.mjtLimited.mjLIMITED_FALSE  # the actuator clips, once
        kp, kd, limit = float(robot.kp[j]), float(robot.kd[j]), float(robot.torque_limit[j])
        spec.add_actuator(
            name=name,
            target=name,
            trntype=mujoco.mjtTrn.mjTRN_JOINT,
            gaintype=mujoco.mjtGain.mjGAIN_FIXED,
            gainprm=[kp] + [0.0] * 9,
            biastype=mujoco.mjtBias.mjBIAS_AFFINE,
            biasprm=[0.0, -kp, -kd] + [0.0] * 7,
            ctrllimited=mujoco.mjtLimited.mjLIMITED_FALSE,
            forcelimited=mujoco.mjtLimited.mjLIMITED_TRUE,
            forcerange=[-limit, limit],
        )


def _set_collisions(spec: mujoco.MjSpec, self_collisions: bool) -> list[mujoco.MjsGeom]:
    """Give every geom of the robot that collides its class; returns them."""
    colliding = [g for g in spec.geoms if g.parent != spec.worldbody and (g.contype or g.conaffinity)]
    for geom in colliding:
        geom.contype, geom.conaffinity = 1, 3 if self_collisions else 2
    return colliding


def _add_ground(spec: mujoco.MjSpec, ground: Ground, priority: int) -> mujoco.MjsGeom:
    common = {"name": FLOOR, "contype": 2, "conaffinity": 1, "priority": priority}
    if ground.heights is None:
        size = [0.0, 0.0, 1.0]  # 0: infinite
        return spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=size, **common)
    heights = np.asarray(ground.heights, np.float64)
    if heights.ndim != 2 or min(heights.shape) < 2 or not np.isfinite(heights).all():
        raise ValueError(f"ground.heights: got shape {heights.shape}, wanted a finite grid, 2 x 2 or more.")
    half = (np.array(heights.shape) - 1) * ground.cell / 2
    low, high = heights.min(), heights.max()
    span = max(high - low, 1e-6)  # MuJoCo wants a positive height range, flat or not
    spec.add_hfield(
        name=FLOOR,
        nrow=heights.shape[1],  # rows run along y, columns along x
        ncol=heights.shape[0],
        size=[*half, span, BASE_THICKNESS],
        userdata=((heights - low) / span).T.ravel(),
    )
    center = [ground.corner[0] + half[0], ground.corner[1] + half[1], low]
    return spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_HFIELD, hfieldname=FLOOR, pos=center, **common)


def _add_object(spec: mujoco.MjSpec, box: Box, priority: int) -> None:
    """A box with a free joint, behind the robot in all arrays."""
    body = spec.worldbody.add_body(
        name=OBJECT,
        pos=box.init_pos,
        mass=box.mass,
        inertia=box.inertia,
        ipos=(0.0, 0.0, 0.0),
        iquat=(1.0, 0.0, 0.0, 0.0),
        explicitinertial=True,
    )
    body.add_freejoint(name=OBJECT)
    body.add_geom(
        name=OBJECT,
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[length / 2 for length in box.size],
        contype=4,
        conaffinity=3,
        condim=3,
        friction=[box.friction, 0.005, 0.0001],
        priority=priority,
        group=0,
    )


def _add_contact_sensor(spec: mujoco.MjSpec, body: str) -> None:
    """Net contact force on `body`, world frame.

    The body is the *second* of the pair: MuJoCo reports the force of the first on the second.
    """
    force = 1 << int(mujoco.mjtConDataField.mjCONDATA_FORCE)
    netforce = 3  # reduce="netforce"
    spec.add_sensor(
        name=CONTACT + body,
        type=mujoco.mjtSensor.mjSENS_CONTACT,
        intprm=[force, netforce, 1],
        reftype=mujoco.mjtObj.mjOBJ_BODY,
        refname=body,
    )
