"""The robots that come with the package, through the bridge."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from holosoma_jax import robots
from tests.bridges.biped import GRAVITY, everyone, numpy, pose, start

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
    assert all(np.isfinite(x).all() for x in numpy(sim))
    weight = robot.body_mass.sum() * GRAVITY
    assert 0.5 * weight < np.mean(forces[-10:], (0, 1))[feet, 2].sum() < 1.5 * weight


@pytest.mark.slow
def test_memory_grows_by_kilobytes_an_environment():
    """8,192 G1s with parameters of their own fit beside a learner: 0.4 GB was measured, JAX included."""
    code = (
        "import resource, sys, numpy as np\n"
        "from tests.bridges.biped import everyone, pose, start\n"
        "from bridges.protocol import PhysicsParams\n"
        "from holosoma_jax import robots\n"
        "robot, num = robots.load('g1'), 8192\n"
        "bridge, physics = start(num, robot=robot)\n"
        "params = PhysicsParams(mass_ratio=np.full((num, robot.num_bodies), 1.1), friction=np.ones(num))\n"
        "physics = bridge.randomize(physics, params, everyone(num))\n"
        "physics, sim = bridge.reset(physics, everyone(num), pose(num, robot=robot))\n"
        "physics, sim = bridge.step(physics, np.tile(robot.default_joint_pos, (num, 1)))\n"
        "if sys.platform == 'linux':\n"  # ru_maxrss begins with the parent's peak there
        "    line = next(x for x in open('/proc/self/status') if x.startswith('VmHWM'))\n"
        "    print(int(line.split()[1]) / 2**10)\n"
        "else:\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 600.0  # MB
