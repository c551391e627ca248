"""The `--help` page: usage, presets, and every key with its type, its value and its meaning.

Generated from the schema: the text of a key is the string under its field.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import io
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from holosoma_jax.config import files, keys, values
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.config.keys import Path
from holosoma_jax.config.yaml12 import show as show_value

_EXPERIMENT = """\
  exp:NAME                 start from configs/exp/NAME.yaml (or --config FILE.yaml)
"""
_USAGE = """\
  GROUP:NAME               take another preset of a group
  --a.b.c=VALUE            change one value; also --a.b.c VALUE. In names - and _ are the same
  --allow-code PACKAGE     let a checkpoint's or policy's config name functions of that package
  --import-file FILE.py    import that file first; its functions, presets and robots are called FILE:NAME
Any order. Values are YAML: 3, 1e-4, true, null, text, [-1.0,3.0]. A bare --a.b.c means true.
"""


def show(prog: str, description: str, config: Any, extra: Any = None, *, experiment: bool = True) -> None:
    """Print the page; colours on a terminal, plain text elsewhere.

    Args:
      prog: how the program is called.
      description: what it does.
      config: whose values the page shows.
      extra: the command's own flags: a documented dataclass, or an instance of it.
      experiment: whether the command takes exp:NAME; False where a checkpoint brings the config.
    """
    _write(lambda width: page(prog, description, config, extra, experiment, width))


def show_flags(prog: str, description: str, args: type) -> None:
    """Print the page of a command that has flags of its own and no config."""

    def text(width: int) -> Text:
        out = Text()
        out.append("Usage: ", "bold").append(f"{prog} [--flag=VALUE ...]\n\n")
        return out.append(textwrap.fill(description, width) + "\n").append_text(_keys(args, width))

    _write(text)


def _write(text: Callable[[int], Text]) -> None:
    """Print `text` of the terminal's width; letters that the output cannot encode become question marks.

    Raises:
      ConfigError: it cannot be written. A reader that has gone (`--help | head`) is no error.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False)
    try:
        console.print(text(console.width if console.is_terminal else 100), soft_wrap=True)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at exit
        if not isinstance(error, BrokenPipeError):
            raise ConfigError(f"--help: cannot be written ({error.strerror}).") from error


def page(prog: str, description: str, config: Any, extra: Any, experiment: bool, width: int) -> Text:
    """The page as styled text, no line longer than `width` where words allow."""
    chosen = f"exp:{config.exp}" if config.exp else ""
    out = Text()
    start = "exp:NAME" if experiment else "[--flag=VALUE ...]"
    out.append("Usage: ", "bold").append(f"{prog} {start} [GROUP:NAME ...] [--a.b.c=VALUE ...]\n")
    if description:
        out.append("\n" + textwrap.fill(description, width) + "\n")
    out.append("\n").append(_EXPERIMENT if experiment else "").append(_USAGE)
    out.append("\nPresets\n", "bold").append(_presets(("exp", *files.GROUPS)[not experiment :], width))
    if extra is not None:
        out.append_text(_keys(extra, width))
    what = f"the values of {chosen}" if chosen else "the defaults"
    hint = "" if chosen or not experiment else " (add exp:NAME to see a preset's values and terms)"
    return out.append(f"\nConfig, with {what}{hint}\n", "bold").append_text(_keys(config, width))


@functools.cache
def docs(section: type) -> Mapping[str, str]:
    """Field name -> the string literal under the field, joined to one line; inherited ones, too."""
    inherited = (docs(base) for base in section.__bases__ if dataclasses.is_dataclass(base))
    out = {name: text for known in inherited for name, text in known.items()}
    tree = ast.parse(textwrap.dedent(inspect.getsource(section))).body[0]
    assert isinstance(tree, ast.ClassDef)
    for field, after in pairwise(tree.body):
        match field, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                out[name] = " ".join(text.split())
    return out


def _presets(groups: Sequence[str], width: int) -> str:
    lines = []
    for group in groups:
        listed = " ".join(files.names(group))
        lines.append(
            textwrap.fill(
                f"  {group + ':':<15}{listed}", width, subsequent_indent=" " * 17, break_on_hyphens=False
            )
        )
    return "\n".join(lines) + "\n"


class _Entry(NamedTuple):
    """One key on the page."""

    path: Path
    type: Any
    value: Any
    """MISSING: has to be given; `_OPEN`: the entry stands for all terms of its kind"""
    doc: str
    section: str


_OPEN = object()


def _keys(root: Any, width: int) -> Text:
    """One block a section, one entry a key."""
    out, heading, pad = Text(), None, " " * 6
    for entry in _entries(
        root if isinstance(root, type) else type(root), root, _Entry((), None, None, "", "")
    ):
        if entry.path == ("exp",):
            continue  # recorded, not set
        if entry.section != heading:
            heading = entry.section
            out.append(f"\n{heading}\n", "bold")
        suffix = {id(dataclasses.MISSING): " (required)", id(_OPEN): ""}.get(id(entry.value))
        out.append(f"  {keys.as_flag(entry.path)}", "cyan")
        out.append(f" = {show_value(entry.value)}\n" if suffix is None else f"{suffix}\n", "green")
        if entry.doc:
            text = f"{entry.doc} ({values.describe(entry.type)})"
            out.append(_fill(text, width, pad) + "\n")
    return out


def _entries(tp: Any, value: Any, at: _Entry) -> Iterator[_Entry]:
    """Every key under a node, in schema order; a term's keys are explained once, as TERM."""
    if section := keys.section_of(tp):
        summary = (inspect.getdoc(section) or "").split("\n")[0]
        heading = ": ".join((*at.path, summary)) if len(at.path) <= 1 else at.section
        explained, hints = at.doc != _TERSE, keys.hints_in(section, value)
        for field in dataclasses.fields(section):
            inner = value if value is _OPEN else getattr(value, field.name, _default(field))
            doc = docs(section).get(field.name, "") if explained else _TERSE
            here = at._replace(path=(*at.path, field.name), doc=doc, section=heading)
            if explained or inner not in ("", ()):
                yield from _entries(hints[field.name], inner, here)
    elif term := keys.terms_of(tp):
        if at.doc != _TERSE:
            name = at.path[-1].removesuffix("s").rpartition("_")[2].upper()
            yield from _entries(term, _OPEN, at._replace(path=(*at.path, name)))
        for name in () if value is _OPEN else value:
            yield from _entries(term, value[name], at._replace(path=(*at.path, name), doc=_TERSE))
    elif (table := keys.table_of(tp)) and value is _OPEN:
        yield at._replace(path=(*at.path, "NAME"), type=table[1], value=_OPEN)
    elif table or isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _entries(table[1] if table else tp, inner, at._replace(path=(*at.path, name)))
    else:
        yield at._replace(type=tp, value=value, doc="" if at.doc == _TERSE else at.doc)


_TERSE = "-"
"""In place of a text that the page has already given."""


def _fill(text: str, width: int, indent: str) -> str:
    return textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
