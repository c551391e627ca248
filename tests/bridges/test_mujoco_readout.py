"""What both MuJoCo bridges share: where things are in the model, and the state that coordinates mean."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from bridges.mujoco import model as mujoco_model
from bridges.mujoco import readout
from bridges.mujoco.targets import targets as find_targets
from bridges.protocol import Ground, PhysicsParams
from tests.support.biped import BIPED, config, numpy

SOLES = [BIPED.body_names.index(name) for name in ("left_sole", "right_sole")]


@pytest.fixture(scope="module")
def model():
    return mujoco_model.build(BIPED, Ground(), config())


def test_equal_robots_share_one_program(model):
    again = readout.layout(mujoco_model.build(BIPED, Ground(), config()), BIPED)
    layout = readout.layout(model, BIPED)
    assert (again, hash(again)) == (layout, hash(layout))


def test_bodies_with_a_geom_have_a_sensor_of_their_own(model):
    layout = readout.layout(model, BIPED)
    assert sorted({*range(BIPED.num_bodies)} - {*layout.sensed}) == SOLES
    for body, addresses in zip(layout.sensed, layout.forces, strict=True):
        sensor = model.sensor(mujoco_model.CONTACT + BIPED.body_names[body])
        assert addresses == tuple(range(sensor.adr[0], sensor.adr[0] + sensor.dim[0]))


def test_only_lost_environments_read_nan(model):
    qpos = jnp.tile(jnp.asarray(model.qpos0, jnp.float32)[None], (3, 1))
    force = jnp.ones((3, BIPED.num_bodies, 3))
    args = (readout.layout(model, BIPED), qpos, jnp.ones((3, model.nv)), force)
    good = numpy(readout.sim_state(*args, jnp.zeros(3, bool)))
    some = numpy(readout.sim_state(*args, jnp.array([False, True, False])))
    for name, wanted, got in zip(good._fields, good, some, strict=True):
        if wanted is None:  # of an object
            continue
        assert np.isfinite(wanted).all(), name
        assert np.isnan(got[1]).all(), name
        np.testing.assert_array_equal(got[[0, 2]], wanted[[0, 2]], err_msg=name)


def test_parameters_have_the_shapes_of_the_protocol(model):
    targets = find_targets(model, BIPED, fixed_foot_friction=False)
    bodies, joints = BIPED.num_bodies, BIPED.num_joints
    wanted = PhysicsParams(
        mass_ratio=(4, bodies),
        com_offset=(4, bodies, 3),
        friction=(4,),
        kp_scale=(4, joints),
        kd_scale=(4, joints),
        armature_ratio=(4, joints),
        object_mass_ratio=(4,),
        object_inertia_ratio=(4, 3),
        object_friction=(4,),
    )
    assert {name: targets.shape(name, 4) for name in PhysicsParams._fields} == wanted._asdict()


@pytest.mark.parametrize(("fixed", "spared"), [(False, ()), (True, BIPED.feet_bodies)])
def test_friction_spares_the_ground_and_fixed_feet(model, fixed, spared):
    targets = find_targets(model, BIPED, fixed_foot_friction=fixed)
    names = {model.body(model.geom_bodyid[geom]).name for geom in targets.geoms}
    every = {model.body(body).name for body in model.geom_bodyid}
    assert every - names == {"world", *spared}
