"""The robots that come with the package, through the bridge."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from holosoma_jax import robots
from tests.support.biped import GRAVITY, everyone, numpy, pose, start

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["g1", "t1", "k1"])
def test_robot_lands_on_its_feet(name):
    """Dropped from its spawn height, it is the feet that meet the ground, with all of its weight."""
    robot = robots.load(name)
    bridge, physics = start(2, robot=robot)
    physics, sim = bridge.reset(physics, everyone(2), pose(2, robot=robot))
    np.testing.assert_allclose(sim.joint_pos[0], robot.default_joint_pos, atol=1e-6)
    forces = []
    for _ in range(30):
        physics, sim = bridge.step(physics, np.tile(robot.default_joint_pos, (2, 1)))
        forces.append(numpy(sim).contact_force)
    feet = robot.body_index(*robot.feet_bodies)
    total = np.array(forces).sum((0, 1))
    assert total[feet, 2].sum() == pytest.approx(total[:, 2].sum())
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(sim))
    weight = robot.body_mass.sum() * GRAVITY
    assert 0.5 * weight < np.mean(forces[-10:], (0, 1))[feet, 2].sum() < 1.5 * weight


PEAK_MEMORY = """
import resource, sys
import jax
import numpy as np
from tests.support.biped import everyone, pose, start
from bridges.protocol import PhysicsParams
from holosoma_jax import robots

robot, num = robots.load("g1"), int(sys.argv[1])
bridge, physics = start(num, robot=robot)
params = PhysicsParams(mass_ratio=np.full((num, robot.num_bodies), 1.1), friction=np.ones(num))
physics = bridge.randomize(physics, params, everyone(num))
physics, sim = bridge.reset(physics, everyone(num), pose(num, robot=robot))
physics, sim = bridge.step(physics, np.tile(robot.default_joint_pos, (num, 1)))
if sys.platform == "linux":  # ru_maxrss begins with the parent's peak there
    line = next(x for x in open("/proc/self/status") if x.startswith("VmHWM"))
    print(int(line.split()[1]) * 2**10)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_grows_by_kilobytes_an_environment():
    """Thousands of G1s with parameters of their own fit beside a learner: 12 to 16 kB each were measured.

    The difference of two sizes is tested, since what JAX and MuJoCo take at rest differs between machines.
    """

    def peak(num: int) -> int:
        command = [sys.executable, "-c", PEAK_MEMORY, str(num)]
        return int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)

    grown = (peak(8192) - peak(1024)) / (8192 - 1024)
    assert grown < 40_000  # bytes
