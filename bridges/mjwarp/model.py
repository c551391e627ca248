"""The model that MuJoCo Warp steps: that of the MuJoCo bridge, and its working memory on the device."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import mujoco
import mujoco_warp as mjw
import numpy as np
import warp as wp

from bridges.mjwarp.call import Kind
from bridges.mujoco import model

if TYPE_CHECKING:
    from bridges.protocol import Ground
    from holosoma_jax.config.schema import MujocoConfig, SimulatorConfig
    from holosoma_jax.robots.robot import Robot

PARKED = 1000.0
"""m above its start, where a diverged environment waits for its reset"""


class Fields(NamedTuple):
    """The fields of the model that every environment has of its own, [E, ...] float32."""

    body_mass: Any
    """[E, nbody] kg"""
    body_subtreemass: Any
    """[E, nbody] kg, derived"""
    body_inertia: Any
    """[E, nbody, 3] kg m^2"""
    body_ipos: Any
    """[E, nbody, 3] m, centre of mass"""
    body_invweight0: Any
    """[E, nbody, 2] 1/kg, derived"""
    geom_friction: Any
    """[E, ngeom, 3]"""
    dof_armature: Any
    """[E, nv] kg m^2"""
    dof_invweight0: Any
    """[E, nv] derived"""
    actuator_gainprm: Any
    """[E, nu, 10]"""
    actuator_biasprm: Any
    """[E, nu, 10]"""


@dataclass(frozen=True, eq=False)
class Built:
    """A model, and the memory in which MuJoCo Warp works; none of it is state."""

    host: mujoco.MjModel
    full: mjw.Model
    """with contact sensors"""
    quiet: mjw.Model
    """without: for all sub-steps but the last, whose forces are what is handed over"""
    data: mjw.Data
    """overwritten by every call"""
    parked: wp.array
    """[nq] coordinates where a diverged environment touches nothing"""
    device: wp.Device
    num_envs: int
    nominal: Fields
    """of the robot's own model, without the leading axis"""

    def kinds(self) -> dict[str, Kind]:
        """Array types of `Fields`."""
        shared = {name: getattr(self.full, name) for name in Fields._fields}  # [1, n]
        return {n: Kind(x.dtype, (self.num_envs, x.shape[1])) for n, x in shared.items()}


def build(
    robot: Robot,
    ground: Ground,
    cfg: SimulatorConfig,
    num_envs: int,
    device: wp.Device,
    *,
    loops: bool = True,
    **options: Any,
) -> Built:
    """Compile the model and put it on `device`.

    Args:
      robot: what to simulate.
      ground: what it stands on.
      cfg: rates and settings.
      num_envs: environments.
      device: to compute on.
      loops: let the solver stop iterating once every environment has converged; CUDA graphs
        of old drivers cannot.
      **options: those of `model.build`.

    Raises:
      ValueError: as `model.build`.
    """
    settings = cfg.config.mujoco_warp
    host = model.build(robot, ground, _with_our_solver(cfg), **options)
    host.opt.jacobian = mujoco.mjtJacobian.mjJAC_AUTO  # MuJoCo Warp has its own rule for what is quicker
    # With these flags MuJoCo's implicitfast still integrates the servos' damping implicitly; MuJoCo Warp's (4.0.0) does
    # not, which changes a joint's speed by up to 7 rad/s in a step of a G1 at 100 Hz.
    host.opt.disableflags &= ~model.PASSIVE
    with wp.ScopedDevice(device):
        full = mjw.put_model(host)
        full.opt.warn_overflow = 0  # said once, by `mjwarp_usage`, not by every environment
        full.opt.contact_sensor_maxmatch = settings.max_contacts_per_body
        # Order of contacts, of constraint rows and of sums; a processor keeps to one order anyway.
        full.opt.deterministic = settings.deterministic and device.is_cuda
        full.opt.graph_conditional = loops
        quiet = copy.copy(full)
        quiet.opt = copy.copy(full.opt)
        quiet.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_SENSOR)
        data = mjw.make_data(
            host, nworld=num_envs, nconmax=settings.nconmax_per_env, njmax=settings.njmax_per_env
        )
        parked = np.array(host.qpos0, np.float32)
        parked[2] += PARKED
        if robot.object is not None:
            parked[int(host.joint(model.OBJECT).qposadr[0]) + 2] += 2 * PARKED
        return Built(
            host=host,
            full=full,
            quiet=quiet,
            data=data,
            parked=wp.array(parked, dtype=wp.float32),
            device=device,
            num_envs=num_envs,
            nominal=Fields(*(np.array(getattr(host, n), np.float32) for n in Fields._fields)),
        )


def with_fields(model: mjw.Model, arrays: Any) -> mjw.Model:
    """`model` with the per-environment fields that `arrays` has as attributes."""
    model = copy.copy(model)
    for name in Fields._fields:
        setattr(model, name, getattr(arrays, name))
    return model


def _with_our_solver(cfg: SimulatorConfig) -> SimulatorConfig:
    """The config that makes `mujoco_model` use the settings of this simulator."""
    ours, theirs = cfg.config.mujoco_warp, cfg.config.mujoco
    shared: MujocoConfig = replace(
        theirs, integrator=ours.integrator, iterations=ours.iterations, ls_iterations=ours.ls_iterations
    )
    return replace(cfg, config=replace(cfg.config, mujoco=shared))
