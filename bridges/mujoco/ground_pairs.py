"""Contacts with the ground as MuJoCo's explicit pairs: the same contacts, found without a search.

Without self-collisions a robot touches the ground only, and a link and the ground are always a candidate. MuJoCo's
broad phase nevertheless sorts the robot's links against each other in every physics step, and drops what it has
found: 5 % of a G1's step. It leaves out geoms that no class lets collide, and looks at explicit pairs always.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco


def add(spec: mujoco.MjSpec, ground: mujoco.MjsGeom, geoms: Sequence[mujoco.MjsGeom]) -> None:
    """Let `geoms` collide with `ground` by pairs, and by nothing else.

    A pair has what MuJoCo derives of two geoms of which the robot's has the higher priority: its friction, condim,
    solref and solimp. Where a geom has a margin or a gap, nothing changes.
    """
    if any(geom.margin or geom.gap for geom in (ground, *geoms)):
        return
    for index, geom in enumerate(geoms):
        geom.name = geom.name or f"{geom.parent.name}/collision_{index}"
        slide, spin, roll = geom.friction
        spec.add_pair(
            geomname1=ground.name,
            geomname2=geom.name,
            condim=geom.condim,
            friction=[slide, slide, spin, roll, roll],
            solref=geom.solref,
            solimp=geom.solimp,
            margin=0.0,
            gap=0.0,
        )
    for geom in (ground, *geoms):
        geom.contype = geom.conaffinity = 0
