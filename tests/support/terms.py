"""States of a task's terms, changed by a test: by kind, term and field."""

from __future__ import annotations

from typing import Any

from holosoma_jax.envs.state import TaskState

PATHS = {
    "command": ("commands", "locomotion_command", None),
    "phase": ("commands", "locomotion_gait", "phase"),
    "phase_offset": ("commands", "locomotion_gait", "offset"),
    "gait_frequency": ("commands", "locomotion_gait", "frequency"),
    "delay": ("randomization", "setup_action_delay_buffers", "delay"),
    "joint_bias": ("randomization", "setup_dof_pos_bias", None),
    "push_counter": ("randomization", "push_randomizer_state", "counter"),
    "push_interval": ("randomization", "push_randomizer_state", "interval"),
    "average_length": ("curriculum", "average_episode_tracker", None),
    "penalty_scale": ("curriculum", "penalty_curriculum", None),
}
"""Short name -> kind, term, field of its state (None: all of it), of the locomotion task."""


def get(state: TaskState, name: str) -> Any:
    """What the locomotion task keeps under this short name."""
    kind, term, field = PATHS[name]
    own = state.terms[kind][term]
    return own if field is None else getattr(own, field)


def put(state: TaskState, **values: Any) -> TaskState:
    """`state` with these values, by short names or by fields of the state itself."""
    terms = {kind: dict(own) for kind, own in state.terms.items()}
    fields = {}
    for name, value in values.items():
        if name not in PATHS:
            fields[name] = value
            continue
        kind, term, field = PATHS[name]
        terms[kind][term] = value if field is None else terms[kind][term].replace(**{field: value})
    return state.replace(terms=terms, **fields)
