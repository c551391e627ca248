"""Command lines with one mistake each, drawn from the flags that there are."""

from __future__ import annotations

import random
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

from holosoma_jax.config import compose, files, keys, values
from holosoma_jax.config.keys import Path
from holosoma_jax.config.schema import Config

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Mistake(NamedTuple):
    """One wrong command line."""

    kind: str
    argv: tuple[str, ...]
    hint: str
    """what the message has to contain"""


def flags(preset: str) -> list[tuple[Path, Any]]:
    """Every key of a preset that takes a value, with its type."""
    config = compose.to_mapping(compose.load([f"exp:{preset}"]))
    return [(path, tp) for path, tp in keys.walk(Config, config) if path != ("exp",)]


def draw(preset: str, count: int, seed: int) -> Iterator[Mistake]:
    """`count` different mistakes, as likely of each kind; the same for the same seed."""
    rng = random.Random(f"{preset} {seed}")
    known = flags(preset)
    makers = (_misspelt_key, _wrong_type, _out_of_range, _misspelt_choice, _misspelt_preset, _careless)
    made = set[tuple[str, ...]]()
    while len(made) < count:
        mistake = makers[len(made) % len(makers)](rng, preset, known)
        if mistake is not None and mistake.argv not in made:
            made.add(mistake.argv)
            yield mistake


def misspelt(rng: random.Random, word: str) -> str:
    """The word with a letter dropped, doubled, replaced or swapped with its neighbour."""
    i = rng.randrange(len(word) - 1)
    return rng.choice(
        [
            word[:i] + word[i + 1 :],
            word[:i] + word[i] + word[i:],
            word[:i] + rng.choice(LETTERS) + word[i + 1 :],
            word[:i] + word[i + 1] + word[i] + word[i + 2 :],
        ]
    )


def _misspelt_key(rng: random.Random, preset: str, known: list[tuple[Path, Any]]) -> Mistake | None:
    path, _ = rng.choice(known)
    at = rng.randrange(len(path))
    if len(path[at]) < 4:
        return None
    wrong = (*path[:at], misspelt(rng, path[at]), *path[at + 1 :])
    if any(path[: len(wrong)] == wrong for path, _ in known):
        return None  # the word survived, or is another key
    flag = keys.as_flag(wrong)
    return Mistake("key", (f"exp:{preset}", rng.choice([f"{flag}=1", flag])), wrong[at].replace("_", "-"))


def _wrong_type(rng: random.Random, preset: str, known: list[tuple[Path, Any]]) -> Mistake | None:
    path, tp = rng.choice(known)
    plain = typing.get_args(tp)[0] if typing.get_origin(tp) is typing.Annotated else tp
    if (
        tp is Any
        or values.options(tp)
        or plain is str
        or "text" in values.describe(tp)
        or "name" in values.describe(tp)
        or "a path" in values.describe(tp)
    ):
        return None
    wrong = rng.choice(["many", "[1,2,3,4,5,6,7]", "{a: 1}", "1.5.2", "'text'"])
    if "list" in values.describe(tp) and wrong.startswith("["):
        return None
    return Mistake("type", (f"exp:{preset}", f"{keys.as_flag(path)}={wrong}"), "wanted")


def _out_of_range(rng: random.Random, preset: str, known: list[tuple[Path, Any]]) -> Mistake | None:
    path, tp = rng.choice(known)
    described = values.describe(tp)
    if ">" not in described and "from 0" not in described:
        return None
    wrong = rng.choice(["-1", "-0.001", ".nan", ".inf", "-1e30"])
    return Mistake("range", (f"exp:{preset}", f"{keys.as_flag(path)}={wrong}"), keys.as_flag(path))


def _misspelt_choice(rng: random.Random, preset: str, known: list[tuple[Path, Any]]) -> Mistake | None:
    path, tp = rng.choice([(path, tp) for path, tp in known if values.options(tp)])
    word = rng.choice(values.options(tp))
    wrong = misspelt(rng, word) if len(word) > 2 else "x"
    if wrong in values.options(tp):
        return None
    return Mistake("choice", (f"exp:{preset}", f"{keys.as_flag(path)}={wrong}"), "wanted one of")


def _misspelt_preset(rng: random.Random, preset: str, known: list[tuple[Path, Any]]) -> Mistake | None:
    group = rng.choice(files.GROUPS)
    name = rng.choice(files.names(group))
    wrong_name, wrong_group = misspelt(rng, name), misspelt(rng, group)
    if wrong_name in files.names(group) or wrong_group in (*files.GROUPS, "exp"):
        return None
    token = rng.choice([f"{group}:{wrong_name}", f"{wrong_group}:{name}"])
    return Mistake("preset", tuple(rng.sample([f"exp:{preset}", token], 2)), token)


def _careless(rng: random.Random, preset: str, known: list[tuple[Path, Any]]) -> Mistake | None:
    path, tp = rng.choice(known)
    flag = keys.as_flag(path)
    if values.is_bool(tp):
        return None
    wrong = rng.choice(
        [
            (f"exp:{preset}", f"{flag}="),
            (f"exp:{preset}", f"{flag}=1", f"{flag}=2"),
            (f"exp:{preset}", f"-{flag[2:]}", "1"),
            (f"exp:{preset}", "simulator:mujoco", "simulator:mjwarp"),
            (f"--exp={preset}",),
            (f"{flag}=1",),
            (f"exp:{preset}", flag, "1", "2"),
            (f"exp:{preset}", f"{flag}=[1,"),
        ]
    )
    if wrong[-2:] == ("1", "2") and (tp is Any or "list" in values.describe(tp)):
        return None  # several values make a list
    if wrong[-1].endswith("=[1,") and "text" in values.describe(tp):
        return None  # text is taken as it stands
    return Mistake("careless", wrong, "")
