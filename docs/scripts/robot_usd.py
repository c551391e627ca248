"""Write the USD file of every robot beside its MJCF: `python -m docs.scripts.robot_usd`.

For Isaac Sim and other programs that open USD. The bridge to Isaac Sim writes the same text for itself, for
robots of one's own, too.
"""

from __future__ import annotations

from holosoma_jax import robots
from holosoma_jax.robots.usd import usda

NAMES = ("g1", "t1", "k1")


def main() -> None:
    """Write the files and print their paths."""
    for name in NAMES:
        robot = robots.load(name)
        path = robot.mjcf.with_suffix(".usda")
        path.write_text(usda(robot))
        print(path)


if __name__ == "__main__":
    main()
