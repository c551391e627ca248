"""The robot in plain MuJoCo, one environment at a time, driven by hand: what bridges are held against.

It shares the model with the MuJoCo bridges, and nothing else: no actuators, no batches, no JAX. The
PD law is written out and applied as generalised force.
"""

from __future__ import annotations

import copy

import mujoco
import numpy as np

from bridges.mujoco import model
from bridges.protocol import BridgeSpec, Ground, PhysicsParams, Pose
from holosoma_jax.config.schema import SimConfig, SimulatorConfig, SimulatorSettings
from holosoma_jax.robots.robot import Robot


class Reference:
    """`robot` on a plane, with the rates of `spec`."""

    def __init__(self, robot: Robot, spec: BridgeSpec):
        rates = SimConfig(fps=round(1.0 / spec.physics_dt), control_decimation=spec.decimation)
        self.model = model.build(robot, Ground(), SimulatorConfig(config=SimulatorSettings(sim=rates)))
        self.model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_ACTUATION)
        self._robot, self._decimation = robot, spec.decimation
        joints = [self.model.joint(name) for name in robot.joint_names]
        self.qpos = np.array([joint.qposadr[0] for joint in joints])
        self.qvel = np.array([joint.dofadr[0] for joint in joints])
        wraps = [k for k in range(self.model.nwrap) if self.model.wrap_type[k] == mujoco.mjtWrap.mjWRAP_JOINT]
        coupled = {self.model.joint(int(self.model.wrap_objid[k])).name for k in wraps}
        self.free_joints = np.array([name not in coupled for name in robot.joint_names])
        """[J] bool: joints that no tendon couples; PhysX has no such limits, and URDF no word for them"""
        self.bodies = np.array([self.model.body(name).id for name in robot.body_names])

    def edited(self, params: PhysicsParams, env: int) -> mujoco.MjModel:
        """A model of its own with row `env` of the inertial parameters, constants derived by MuJoCo."""
        model = copy.copy(self.model)
        if params.mass_ratio is not None:
            model.body_mass[self.bodies] *= params.mass_ratio[env]
            model.body_inertia[self.bodies] *= params.mass_ratio[env][:, None]
        if params.com_offset is not None:
            model.body_ipos[self.bodies] += params.com_offset[env]
        if params.armature_ratio is not None:
            model.dof_armature[self.qvel] *= params.armature_ratio[env]
        mujoco.mj_setConst(model, mujoco.MjData(model))
        return model

    def placed(self, pose: Pose, env: int, model: mujoco.MjModel | None = None) -> mujoco.MjData:
        """Row `env` of `pose`, kinematics computed."""
        model = model or self.model
        data = mujoco.MjData(model)
        data.qpos[:3], data.qpos[3:7] = pose.root_pos[env], pose.root_quat[env]
        data.qpos[3:7] /= np.linalg.norm(data.qpos[3:7])
        data.qvel[:3] = pose.root_lin_vel[env]
        back = data.qpos[3:7] * [1, -1, -1, -1]
        mujoco.mju_rotVecQuat(data.qvel[3:6], np.asarray(pose.root_ang_vel[env], float), back)
        data.qpos[self.qpos], data.qvel[self.qvel] = pose.joint_pos[env], pose.joint_vel[env]
        mujoco.mj_forward(model, data)
        return data

    def controlled(
        self,
        pose: Pose,
        targets: np.ndarray,
        env: int,
        steps: int,
        *,
        params: PhysicsParams | None = None,
        offset: np.ndarray | None = None,
    ) -> mujoco.MjData:
        """Environment `env` after `steps` control steps of PD control towards `targets` [E, J].

        offset: [E, decimation, J] N m added before the clip in every control step.
        """
        params = params or PhysicsParams()
        robot, model = self._robot, self.edited(params, env)
        kp = robot.kp * (1.0 if params.kp_scale is None else params.kp_scale[env])
        kd = robot.kd * (1.0 if params.kd_scale is None else params.kd_scale[env])
        data = self.placed(pose, env, model)
        for k in range(steps * self._decimation):
            torque = kp * (targets[env] - data.qpos[self.qpos]) - kd * data.qvel[self.qvel]
            if offset is not None:
                torque = torque + offset[env, k % self._decimation]
            data.qfrc_applied[self.qvel] = np.clip(torque, -robot.torque_limit, robot.torque_limit)
            mujoco.mj_step(model, data)
        return data


def rotate(quat: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """`vector` [3] turned by the unit quaternion `quat` [4] (w x y z)."""
    out = np.zeros(3)
    mujoco.mju_rotVecQuat(out, np.asarray(vector, float), np.asarray(quat, float))
    return out
