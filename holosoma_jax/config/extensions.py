"""Built-in tasks and learners by name, and how to name one of your own: `package.module:NAME`.

Nothing is imported before `resolve` is called, so that `--help` and errors stay quick.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from holosoma_jax.config.errors import ConfigError, nearest

LEARNERS: Mapping[str, str] = {
    "ppo": "holosoma_jax.learn.ppo.record:LEARNER",
    "fast_sac": "holosoma_jax.learn.fast_sac.record:LEARNER",
}
"""`algo.name` -> the learner's record."""

TASKS: Mapping[str, str] = {
    "locomotion": "holosoma_jax.envs.tasks.locomotion:TASK",
    "tracking": "holosoma_jax.envs.tasks.tracking:TASK",
}
"""`task` -> the task's record."""

TERM_SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("observations", ("observation", "groups", "*", "terms")),
    ("rewards", ("reward", "terms")),
    ("terminations", ("termination", "terms")),
    ("commands", ("command", "setup_terms")),
    ("randomization", ("randomization", "setup_terms")),
    ("randomization", ("randomization", "reset_terms")),
    ("curriculum", ("curriculum", "setup_terms")),
)
"""Kind of a term (`envs.terms.registry.KINDS`), and where a config holds its terms; '*' is any key."""


TILES = ("terrain", "terrain_term", "terrain_config")
"""Where a config holds kinds of terrain tile, by name."""


def resolve(table: Mapping[str, str], name: str, key: str) -> object:
    """The object that a built-in name, or `package.module:NAME`, stands for.

    Args:
      table: built-in name -> `package.module:NAME`.
      name: a key of `table` ('-' and '_' are the same), or a `package.module:NAME`.
      key: the configuration key that holds `name`, for messages, e.g. 'algo.name'.

    Raises:
      ConfigError: unknown name, module that cannot be imported, or one without that attribute.
    """
    target = name if ":" in name else table.get(name.replace("-", "_"))
    if target is None:
        known = ", ".join(table)
        raise ConfigError(
            f"{key}: got '{name}'; wanted one of {known}, or your own as package.module:NAME."
            f"{nearest(name, table)}"
        )
    return imported(target, key)


def imported(target: str, key: str) -> object:
    """The object that `package.module:NAME` stands for.

    Raises:
      ConfigError: not of that form, the module cannot be imported, or it has no such attribute.
    """
    module_name, _, attribute = target.partition(":")
    if not attribute.isidentifier() or not all(part.isidentifier() for part in module_name.split(".")):
        raise ConfigError(f"{key}: got '{target}'; wanted package.module:NAME.")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a module of the user's own may fail in any way
        problem = f"{type(error).__name__}: {error}" if not isinstance(error, ImportError) else str(error)
        raise ConfigError(f"{key}: cannot import '{module_name}' ({problem}).") from error
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        hint = nearest(attribute, vars(module))
        raise ConfigError(f"{key}: '{module_name}' has no '{attribute}'.{hint}") from error
