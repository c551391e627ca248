"""The modes of an evaluation: which disturbances act, and how strong they are compared with training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from holosoma_jax.envs.perturbations import Perturbations

Mode = Literal["clean", "train_like", "stress"]

MODES: Mapping[Mode, Perturbations] = {
    "clean": Perturbations(),
    "train_like": Perturbations(noise=True, pushes=True, delay=True, randomization=True),
    "stress": Perturbations(noise=True, pushes=True, delay=True, randomization=True, strength=1.5),
}


def from_mode(mode: Mode, **switches: bool | None) -> Perturbations:
    """The mode's disturbances, with the switches that are not None in their place."""
    return replace(MODES[mode], **{name: on for name, on in switches.items() if on is not None})
