"""Command lines of commands that have flags of their own and no config."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TypeVar

from holosoma_jax.config import compose, keys
from holosoma_jax.config.command_line import tokens
from holosoma_jax.config.command_line.tokens import wants_help
from holosoma_jax.config.errors import ConfigError, closest

Args = TypeVar("Args")


def parse_or_exit(argv: Sequence[str], prog: str, description: str, args: type[Args]) -> Args:
    """The flags as an instance of `args`; prints `--help` (exit 0) or one error line (exit 2).

    Args:
      argv: arguments without the program's name.
      prog: how the program is called.
      description: what it does.
      args: a frozen dataclass, documented as the schema is.
    """
    if wants_help(argv):
        from holosoma_jax.config.command_line import help as page

        page.show_flags(prog, description, args)
        raise SystemExit(0)
    try:
        return parse(argv, args)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def parse(argv: Sequence[str], args: type[Args]) -> Args:
    """The flags as an instance of `args`.

    Raises:
      ConfigError: anything else than its fields, or a value that does not fit.
    """
    values, left = compose.split_extra(argv, args, alone=True)
    own = {
        argument for o in tokens.parse(argv).overrides if o.path == tokens.IMPORT_FILE for argument in o.raw
    }
    left = [argument for argument in left if argument not in own]  # `split_extra` has imported them
    if left:
        flag = left[0].partition("=")[0]
        paths = [path for path, _ in keys.walk(args, {})]
        known = [keys.as_flag(path) for path in paths]
        same = (keys.as_flag(path) for path in paths if keys.as_flag(path[-1:]) == flag.replace("_", "-"))
        match = next(same, None) or closest(flag, known)
        hint = f" Did you mean {match}?" if match else ""
        raise ConfigError(f"{flag}: this command does not take it.{hint} Flags: {', '.join(known)}.")
    return values
