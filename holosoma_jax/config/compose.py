"""From a command line, a file or a mapping to one validated config, and back.

Nothing here imports JAX until every key is known and well typed, so `--help` and errors are quick.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast, overload

from holosoma_jax.config import files, keys, layers, own_files, trust
from holosoma_jax.config.command_line import overrides
from holosoma_jax.config.command_line.tokens import Tokens, parse, wants_help
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.keys import Source
from holosoma_jax.config.layers import Base
from holosoma_jax.config.schema import Config
from holosoma_jax.config.trust import Saved
from holosoma_jax.config.validation import checks, validate
from holosoma_jax.config.yaml12 import dump

Extra = TypeVar("Extra")


def load(argv: Sequence[str], base: Base = None) -> Config:
    """The config that a command line asks for.

    Args:
      argv: `exp:NAME`, `--config FILE`, `group:NAME` and `--a.b.c=value` tokens, in any order.
      base: a saved config that the tokens are applied to, instead of an experiment.

    Raises:
      ConfigError: anything wrong, in one line.
    """
    return _config(_parsed(argv), base)


def load_with_extra(
    argv: Sequence[str], extra: type[Extra], base: Base | Callable[[Extra], Base] = None
) -> tuple[Config, Extra]:
    """`load` for a command that has flags of its own.

    Args:
      argv: as for `load`, plus the fields of `extra` as flags (`--checkpoint`, `--eval.num-steps`).
      extra: a frozen dataclass, documented as the schema is; no field is named as one of `Config`'s.
      base: as for `load`, or a function of the parsed `extra` that returns it (a checkpoint's config).

    Raises:
      ConfigError: anything wrong, in one line.
    """
    own, rest = _split(_parsed(argv), extra)
    args = _extra(own, extra)
    saved = cast("Base", base(args) if callable(base) else base)
    return _config(rest, saved, dict(keys.walk(extra, {}))), args


def split_extra(argv: Sequence[str], extra: type[Extra], *, alone: bool = False) -> tuple[Extra, list[str]]:
    """The command's own flags, and the arguments that are left for `load`.

    alone: the command has no config, so its flags may be called as a config's.
    """
    own, rest = _split(_parsed(argv), extra, alone)
    left = [argument for token in (*rest.choices, *rest.overrides) for argument in token.raw]
    return _extra(own, extra), left


def from_mapping(
    mapping: Mapping[str, Any] | Saved, source: str = "config", *, allow_code: Iterable[str] = ()
) -> Config:
    """The config that a plain mapping describes (inverse of `to_mapping`); missing keys are defaults.

    Args:
      mapping: the mapping. It may name functions of this package alone, unless it is `Saved(..., trusted=True)`.
      source: what messages call it.
      allow_code: packages that it may name functions of, too.

    Raises:
      ConfigError: unknown key, wrong type, value out of range, code that is not trusted; `source` is named.
    """
    saved = mapping if isinstance(mapping, Saved) else Saved(mapping)
    trust.require(saved, allow_code, source)
    mapping = saved.config
    data = keys.conform(Config, mapping, source)
    return _validated(data, validate.labels(data, source))


def to_mapping(config: Any) -> dict[str, Any]:
    """A config as nested dicts, lists and scalars, ready for YAML or JSON."""
    return _plain(dataclasses.asdict(config))


def save_yaml(config: Config, path: str | Path) -> Path:
    """Write the resolved config; `--config` and `load(base=...)` read it back unchanged."""
    path = Path(path)
    path.write_text(
        f"{files.RESOLVED}, complete down to '{files.END}'.\n{dump(to_mapping(config))}{files.END}\n"
    )
    return path


def diff_from_preset(config: Config) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> (preset's value, this config's), for every key that differs from its preset.

    A config without a preset is compared with the defaults; None stands for a key that one side
    does not have.

    Raises:
      ConfigError: the preset is not found any more.
    """
    preset = load([f"exp:{config.exp}"]) if config.exp else Config()
    old, new = (_flat(to_mapping(c)) for c in (preset, config))
    return {key: (old.get(key), new.get(key)) for key in {**new, **old} if old.get(key) != new.get(key)}


@overload
def parse_or_exit(argv: Sequence[str], prog: str, description: str = "", *, base: Base = None) -> Config: ...
@overload
def parse_or_exit(
    argv: Sequence[str],
    prog: str,
    description: str = "",
    *,
    extra: type[Extra],
    base: Base | Callable[[Extra], Base] = None,
) -> tuple[Config, Extra]: ...
def parse_or_exit(
    argv: Sequence[str], prog: str, description: str = "", *, extra: Any = None, base: Any = None
) -> Any:
    """`load` or `load_with_extra` for a `main`: prints `--help` (exit 0) or one error line (exit 2).

    Args:
      argv: arguments without the program's name.
      prog: how the program is called, e.g. 'python -m holosoma_jax.train'.
      description: what it does, one or two sentences.
      extra: see `load_with_extra`.
      base: see `load_with_extra`.
    """
    try:
        if wants_help(argv):
            _help(argv, prog, description, extra, base)
        return load_with_extra(argv, extra, base) if extra else load(argv, base)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _help(argv: Sequence[str], prog: str, description: str, extra: Any, base: Any) -> NoReturn:
    """Print the page, with the values of the preset that `argv` chooses, as far as it is right."""
    from holosoma_jax.config.command_line import help as page

    config, args = Config(), None
    try:
        own, rest = _split(_parsed(argv), extra) if extra else (Tokens(), _parsed(argv))
        args = _extra(own, extra) if extra else None
        saved = base(args) if callable(base) else base
        config = validate.build(Config, *layers.compose(rest, cast("Base", saved)))
    except ConfigError:
        pass
    page.show(prog, description, config, args or extra, experiment=base is None)
    raise SystemExit(0)


def _parsed(argv: Sequence[str]) -> Tokens:
    """The tokens of a command line, its own files being imported."""
    tokens = parse(argv)
    own_files.load(tokens.own_files)
    return tokens


def _config(tokens: Tokens, base: Base, also: Mapping[keys.Path, Any] | None = None) -> Config:
    return _validated(*layers.compose(tokens, base, also))


def _validated(mapping: Mapping[str, Any], sources: keys.Sources) -> Config:
    config = validate.build(Config, mapping, sources)
    checks.check(config, sources)
    return config


def _split(tokens: Tokens, extra: type, alone: bool = False) -> tuple[Tokens, Tokens]:
    """The command's own overrides, and the rest."""
    fields = set(keys.hints(extra))
    if not alone and (clash := fields & set(keys.hints(Config))):
        raise ValueError(f"{extra.__name__} and Config both have a field {sorted(clash)[0]!r}; rename one.")
    own = tuple(o for o in tokens.overrides if o.path[0] in fields)
    rest = tuple(o for o in tokens.overrides if o not in own)
    return Tokens((), own), Tokens(tokens.choices, rest)


def _extra(tokens: Tokens, extra: type[Extra]) -> Extra:
    layer, sources = overrides.layer(extra, {}, tokens.overrides)
    return validate.build(extra, layer, {(): Source("--"), **sources})


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(v) for key, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _flat(mapping: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(mapping, Mapping):
        return {path: mapping}
    out: dict[str, Any] = {}
    for key, value in mapping.items():
        out.update(_flat(value, f"{path}.{key}" if path else key))
    return out
