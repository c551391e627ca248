"""The tensor calls of `Gym`: state out, state and forces in, in the order that Preview 4 needs."""

import ctypes

import mujoco
import numpy as np

NAMES = ("actor_root_state", "dof_state", "rigid_body_state", "net_contact_force")


class Misuse(RuntimeError):
    """What the real one would let pass, with wrong numbers or a crash later."""


class Tensors:
    """Methods, their parameters and the buffers' shapes are those of [stubs].

    A buffer stays where it is, and changes when it is refreshed and only then [docs].
    """

    def acquire_actor_root_state_tensor(self, arg0):
        return self._acquire(arg0, "actor_root_state")

    def acquire_dof_state_tensor(self, arg0):
        return self._acquire(arg0, "dof_state")

    def acquire_rigid_body_state_tensor(self, arg0):
        return self._acquire(arg0, "rigid_body_state")

    def acquire_net_contact_force_tensor(self, arg0):
        return self._acquire(arg0, "net_contact_force")

    def refresh_actor_root_state_tensor(self, arg0):
        """Position, quaternion, velocity and angular velocity [stubs], in the world; the quaternion x y z w [holosoma].

        The velocity is the centre of mass', the position the link's: so PhysX has it in Isaac Sim [issue
        isaac-sim/IsaacLab 942]; in IsaacGym [assumed].
        """
        out = self._refresh(arg0, "actor_root_state")
        for i, env in enumerate(arg0.envs):
            data = env.data
            turn = matrix(data.qpos[3:7])
            spin, arm = turn @ data.qvel[3:6], turn @ env.model.body_ipos[env.base]
            quat = data.qpos[[4, 5, 6, 3]]
            out[i] = np.concatenate([data.qpos[:3], quat, data.qvel[:3] + np.cross(spin, arm), spin])
        return True

    def refresh_dof_state_tensor(self, arg0):
        out = self._refresh(arg0, "dof_state").reshape(len(arg0.envs), -1, 2)
        for i, env in enumerate(arg0.envs):
            out[i, :, 0], out[i, :, 1] = env.data.qpos[env.qpos_at], env.data.qvel[env.qvel_at]
        return True

    def refresh_rigid_body_state_tensor(self, arg0):
        """Like the roots; setting a state moves no links until the next simulate [issue isaac-sim/IsaacGymEnvs 179]."""
        self._refresh(arg0, "rigid_body_state")[:] = self._body_states(arg0)
        return True

    def refresh_net_contact_force_tensor(self, arg0):
        """Net force on each body [stubs] in the last substep, if contacts are collected; world axes [assumed]."""
        from isaacgym import gymapi

        out = self._refresh(arg0, "net_contact_force").reshape(len(arg0.envs), -1, 3)
        out[:] = 0.0
        if arg0.params.physx.contact_collection == gymapi.CC_NEVER:
            return True
        found = np.zeros(6)
        for i, env in enumerate(arg0.envs):
            row = {body: k for k, body in enumerate(env.body_at)}
            for k in range(env.data.ncon):
                contact = env.data.contact[k]
                mujoco.mj_contactForce(env.model, env.data, k, found)
                force = contact.frame.reshape(3, 3).T @ found[:3]  # of the first geom on the second
                for geom, sign in ((contact.geom1, -1.0), (contact.geom2, 1.0)):
                    body = env.model.geom_bodyid[geom]
                    if body in row:
                        out[i, row[body]] += sign * force
        return True

    def set_dof_actuation_force_tensor(self, arg0, arg1):
        """Torques of all joints [stubs], which act in the next simulate alone [assumed]."""
        shape = (arg0.tensors["dof_state"].shape[0],)
        self._note(arg0, "force", self._checked(arg0, arg1, np.float32, shape))
        return True

    def set_actor_root_state_tensor_indexed(self, arg0, arg1, arg2, arg3):
        """The rows of these actors, from a buffer of all actors [stubs]."""
        return self._indexed(arg0, "actor_root_state", arg1, arg2, arg3)

    def set_dof_state_tensor_indexed(self, arg0, arg1, arg2, arg3):
        """The rows of these actors' joints, from a buffer of all [stubs]."""
        return self._indexed(arg0, "dof_state", arg1, arg2, arg3)

    def _acquire(self, sim, name):
        from isaacgym import gymapi

        if not sim.prepared:
            raise Misuse(f"acquire_{name}_tensor before prepare_sim")  # [docs]
        if name not in sim.refreshed:
            # of the roots [forum 223738], to which [holosoma] refers; of the others [assumed]
            raise Misuse(f"acquire_{name}_tensor before the first refresh: Preview 4 was seen to give NaN")
        array, descriptor = sim.tensors[name], gymapi.Tensor()
        descriptor.data_address, descriptor.shape, descriptor.device = (
            array.ctypes.data,
            array.shape,
            sim.device,
        )
        return descriptor

    def _refresh(self, sim, name):
        if not sim.fetched:
            raise Misuse("refresh before fetch_results on the CPU pipeline")  # [docs], [holosoma]
        sim.refreshed.add(name)
        return sim.tensors[name]

    def _indexed(self, sim, name, tensor, indices, count):
        """To be called once a simulation step [issue isaac-sim/IsaacGymEnvs 181]; that another undoes it: [assumed]."""
        if name in sim.pending:
            raise Misuse(f"set_{name}_tensor_indexed twice before simulate: give all rows at once")
        values = self._checked(sim, tensor, np.float32, sim.tensors[name].shape)
        wanted = self._checked(sim, indices, np.uint32, (count,))
        if len(np.unique(wanted)) != count or (wanted >= len(sim.envs)).any():
            raise Misuse(f"indices: got {wanted}")  # [assumed]
        self._note(sim, name, (values, wanted))
        return True

    def _note(self, sim, name, what):
        """Read at the next simulate, so memory that was freed meanwhile shows [assumed]."""
        sim.pending[name] = what

    def _checked(self, sim, tensor, kind, shape):
        """The memory that `tensor` describes, which must be as wanted."""
        from isaacgym import gymapi

        wanted = gymapi.DTYPE_FLOAT32 if kind == np.float32 else gymapi.DTYPE_UINT32
        if tensor.dtype != wanted:  # indices are int32 [docs]; int64 is read as pairs of these [assumed]
            raise Misuse(f"tensor of {tensor.dtype!r}, wanted {wanted!r}")
        if tensor.device != sim.device:  # [docs]
            raise Misuse(f"tensor on device {tensor.device}, wanted {sim.device}")
        if tuple(tensor.shape) != tuple(shape):  # the buffer of all rows [stubs]
            raise Misuse(f"tensor of shape {tuple(tensor.shape)}, wanted {tuple(shape)}")
        c_type = ctypes.c_float if kind == np.float32 else ctypes.c_uint32
        memory = (c_type * int(np.prod(shape))).from_address(tensor.data_address)
        return np.ctypeslib.as_array(memory).reshape(shape)

    def _apply(self, sim):
        e = len(sim.envs)
        if "actor_root_state" in sim.pending:
            values, indices = sim.pending["actor_root_state"]
            for i in indices:
                env, row = sim.envs[i], values[i].astype(np.float64)
                env.data.qpos[:3], env.data.qpos[3:7] = row[:3], row[[6, 3, 4, 5]]
                if abs(np.linalg.norm(row[3:7]) - 1.0) > 1e-3:
                    raise Misuse(f"quaternion {row[3:7]} of actor {i}")  # [assumed]
                turn = matrix(env.data.qpos[3:7])
                arm = turn @ env.model.body_ipos[env.base]
                env.data.qvel[:3] = row[7:10] - np.cross(row[10:13], arm)
                env.data.qvel[3:6] = turn.T @ row[10:13]
        if "dof_state" in sim.pending:
            values, indices = sim.pending["dof_state"]
            rows = values.reshape(e, -1, 2)
            for i in indices:
                env = sim.envs[i]
                env.data.qpos[env.qpos_at], env.data.qvel[env.qvel_at] = rows[i, :, 0], rows[i, :, 1]
                env.data.qacc_warmstart[:] = 0.0
        force = sim.pending.get("force")
        for i, env in enumerate(sim.envs):
            torque = np.zeros(len(env.qvel_at)) if force is None else force.reshape(e, -1)[i]
            effort = env.dof_properties["effort"]  # that it bounds torques in effort mode: [assumed]
            env.data.qfrc_applied[env.qvel_at] = np.clip(torque, -effort, effort)

    def _snapshot(self, sim):
        for env in sim.envs:
            env.scratch.qpos[:], env.scratch.qvel[:] = env.data.qpos, env.data.qvel

    def _body_states(self, sim):
        """[bodies, 13] like the roots, at the last snapshot."""
        rows, found = [], np.zeros(6)
        for env in sim.envs:
            model, data = env.model, env.scratch
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_comVel(model, data)
            for body in env.body_at:
                mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_XBODY, body, found, 0)
                arm = data.xmat[body].reshape(3, 3) @ model.body_ipos[body]
                lin = found[3:] + np.cross(found[:3], arm)
                rows.append(np.concatenate([data.xpos[body], data.xquat[body][[1, 2, 3, 0]], lin, found[:3]]))
        return np.array(rows, np.float32)


def matrix(quat):
    """Rotation matrix [3, 3] of a quaternion w x y z."""
    out = np.zeros(9)
    mujoco.mju_quat2Mat(out, quat)
    return out.reshape(3, 3)
