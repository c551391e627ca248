"""Which code a config may name.

What a person wrote (the command line, a `--config` file, a notebook) may name any function. A config that
came with an artifact (a run, a checkpoint, a policy file) may name the tasks, learners and terms that this package
lists, each where one of its kind belongs, unless `--allow-code PACKAGE` or `--import-file FILE.py` says more. Nothing
of another package is imported here, and no module inside of the artifact ever is, unless `--import-file` names that
very file.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.extensions import LEARNERS, TASKS, TERM_SECTIONS, TILES
from holosoma_jax.config.own_files import FILES
from holosoma_jax.config.yaml12 import spell

OURS = "holosoma_jax"
_ANYWHERE = frozenset({"func", "loss"})
"""Keys whose value may be package.module:NAME wherever they lie."""
_AT = frozenset({("task",), ("algo", "name"), ("simulator", "name")})
"""Further keys whose value may be one."""
_LISTED = {("task",): frozenset(TASKS.values()), ("algo", "name"): frozenset(LEARNERS.values())}
"""Those of them where this package lists some."""


class Saved(NamedTuple):
    """A config that came with an artifact."""

    config: Mapping[str, Any]
    folder: Path | None = None
    """the artifact's folder"""
    trusted: bool = False
    """True: a person of this session wrote it"""


def require(saved: Saved, allowed: Iterable[str], source: str) -> None:
    """Check what an artifact's config names, before anything of it is imported.

    Args:
      saved: the config and where it came from.
      allowed: packages or modules beside this one.
      source: what messages call the artifact.

    Raises:
      ConfigError: a function of another package, one of this package that is not listed as what belongs there, or one
        of a module inside of the artifact.
    """
    if saved.trusted:
        return
    packages = tuple(allowed)
    for path, target in _named(saved.config):
        key, module = ".".join(path), target.partition(":")[0]
        if _is_listed(path, target):
            continue
        if not any(_within(module, package) for package in packages):
            if _within(module, OURS):
                raise ConfigError(
                    f"{source}: {key} names '{target}', which {OURS} does not list as something for that place. If you "
                    f"know what it does, add --allow-code {OURS}."
                )
            top = module.partition(".")[0]
            raise ConfigError(
                f"{source}: {key} names code that is not part of {OURS}: '{target}'. If you know and trust "
                f"that package, add --allow-code {top or 'PACKAGE'}"
                f"{f', or --import-file {top}.py for a file of your own' if module.isidentifier() else ''}."
            )
        if saved.folder is not None and module not in FILES and _inside(module, saved.folder):
            raise ConfigError(
                f"{source}: {key} names code inside of {saved.folder}: '{target}'. That is never imported; "
                "copy the module to a place of your own if you trust it."
            )


def outside(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The packages of what a config names and this one does not list: `--allow-code` to read it again."""
    named = (target for path, target in _named(config) if not _is_listed(path, target))
    return tuple(dict.fromkeys(target.partition(":")[0].partition(".")[0] for target in named))


def flags(config: Mapping[str, Any]) -> str:
    """The flags that a command needs to read this config from an artifact; '' where it needs none."""
    names = outside(config)
    own = [str(FILES[name]) for name in names if name in FILES]
    packages = [name for name in names if name not in FILES]
    parts = [f"--allow-code {','.join(packages)}"] if packages else []
    parts += [f"--import-file {' '.join(map(shlex.quote, own))}"] if own else []
    return " ".join(parts)


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _is_listed(path: tuple[str, ...], target: str) -> bool:
    """Whether this package lists `target` as something that belongs at the key `path`."""
    if not _within(target.partition(":")[0], OURS):
        return False
    if path in _LISTED:
        return target in _LISTED[path]
    place = path[:-1] if path[-1] == "func" else path
    for kind, section in TERM_SECTIONS:
        if len(place) == len(section) + 1 and all(
            a in ("*", b) for a, b in zip(section, place, strict=False)
        ):
            from holosoma_jax.envs.terms import registry  # imports JAX: only where a config has such names

            return registry.is_built_in(kind, target)
    return False


def _named(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every (key, package.module:NAME) of a mapping that may be anything.

    The name of a term without `func`, or of a kind of tile, is the name of its function, so keys are looked at too.
    """
    for name, value in node.items() if isinstance(node, Mapping) else ():
        here = (*path, spell(str(name)))
        if ":" in here[-1] and (isinstance(value, Mapping) or path == TILES):
            yield here, here[-1]
        if isinstance(value, str) and ":" in value and (here[-1] in _ANYWHERE or here in _AT):
            yield here, value
        yield from _named(value, here)


def _inside(module: str, folder: Path, search: Sequence[str] | None = None) -> bool:
    """Whether a file or folder that the import of `module` would read lies in `folder`."""
    inner, parts = folder.resolve(), module.split(".")
    for entry in sys.path if search is None else search:
        for length in range(1, len(parts) + 1):
            stem = Path(entry or ".", *parts[:length])
            for place in (stem, stem.with_name(f"{stem.name}.py")):
                if place.exists() and place.resolve().is_relative_to(inner):
                    return True
    return False
