"""What `inspect`, `convert` and `generate` do once their flags are parsed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from holosoma_jax import robots
from holosoma_jax.config.errors import ConfigError
from holosoma_jax.motion import edit, inspection, library, writing
from holosoma_jax.motion.clip import Clip
from holosoma_jax.motion.command_line.flags import ConvertArgs, GenerateArgs, InspectArgs, ReadArgs
from holosoma_jax.motion.generation import CLIPS, generate
from holosoma_jax.motion.kinematics import Skeleton
from holosoma_jax.motion.library import Found
from holosoma_jax.motion.reading import read_all

Draw = Callable[[Clip, Path], Path]
"""Draws a contact sheet; returns its file."""


def run_inspect(args: InspectArgs, names: Sequence[str], draw: Draw) -> int:
    """Print a report on each clip; the exit code.

    Raises:
      ConfigError: nothing was named, or one file alone is faulty.
    """
    console = Console(highlight=False)
    documents, refused = [], 0
    skeletons: dict[str, Skeleton] = {}
    for found, clips in _each(args, names, check_limits=False):
        if clips is None:
            refused += 1
            continue
        for clip in clips:
            report = inspection.inspect(clip, _skeleton(skeletons, args.robot, clip))
            if args.sheet:
                if documents:
                    raise ConfigError(
                        "--sheet: draws one clip; name one file, and --clip if it holds several."
                    )
                _writable(draw, clip, Path(args.sheet))
            documents.append({"file": str(found.path), **inspection.as_json(report)})
            if not args.json:
                _table(console, str(found.path), report)
    if args.json:
        print(json.dumps(documents, indent=2))
    elif args.sheet and documents:
        console.print(Text(f"written to {args.sheet}"), soft_wrap=True)
    return 2 if refused else 0


def run_convert(args: ConvertArgs, names: Sequence[str]) -> int:
    """Write each clip as npz; the exit code.

    Raises:
      ConfigError: nothing was named, one file alone is faulty, two clips would have one name, or the output
        cannot be written.
    """
    console = Console(highlight=False)
    written: dict[Path, Path] = {}
    skeletons: dict[str, Skeleton] = {}
    refused = 0
    for found, clips in _each(args, names):
        if clips is None:
            refused += 1
            continue
        for clip in clips:
            skeleton = _skeleton(skeletons, args.robot, clip)
            clip = _edited(args, clip, skeleton)
            path = _target(args, found, clip, alone=len(clips) == 1)
            if path in written:
                raise ConfigError(f"{found.path} and {written[path]} would both be written to {path}.")
            if path.resolve() == found.path.resolve():
                raise ConfigError(f"{path}: is the input itself; name another file or folder with --output.")
            _writable(lambda clip, path, s=skeleton: writing.write(path, clip, s, args.to), clip, path)
            written[path] = found.path
            notes = "".join(f"; {note}" for note in clip.provenance.notes)
            console.print(
                Text(
                    f"{found.path} -> {path}: {clip.provenance.format} ({clip.provenance.reading}), "
                    f"{clip.num_frames} frames at {clip.fps:g} fps{notes}"
                ),
                soft_wrap=True,
            )
    if refused:
        console.print(f"{len(written)} clips written, {refused} files refused")
    return 2 if refused else 0


def run_generate(args: GenerateArgs, names: Sequence[str]) -> int:
    """Make clips of our own and write them; the exit code.

    Raises:
      ConfigError: there is no such clip or robot, or the robot cannot do it, or it cannot be written.
    """
    console = Console(highlight=False)
    skeleton = Skeleton(robots.load(args.robot))
    layout = "compact" if args.compact else "holosoma"
    for name in names or CLIPS:
        clip = generate(name.removeprefix(f"{skeleton.robot.name}_"), skeleton)
        path = Path(args.output) / f"{clip.name}.npz"
        _writable(lambda clip, path: writing.write(path, clip, skeleton, layout), clip, path)
        console.print(Text(f"{path}: {clip.num_frames} frames, {clip.duration:.1f} s"), soft_wrap=True)
    return 0


def frame_range(text: str, clip: Clip) -> tuple[int, int]:
    """`FIRST:LAST` as frames of `clip`.

    Raises:
      ConfigError: it is anything else.
    """
    first, colon, last = text.partition(":")

    def frame(part: str, default: int) -> int:
        if not part:
            return default
        return round(float(part[:-1]) * clip.fps) if part.endswith("s") else int(part)

    try:
        if not colon:
            raise ValueError
        return frame(first, 0), frame(last, clip.num_frames)
    except ValueError:
        raise ConfigError(
            f"--range {text}: expected FIRST:LAST in frames, as 100:400, or in seconds, as 2s:8s."
        ) from None


def _each(
    args: ReadArgs, names: Sequence[str], check_limits: bool = True
) -> Iterator[tuple[Found, list[Clip] | None]]:
    """Every file with its clips; None for a faulty one among several, after a line on standard error."""
    if not names:
        raise ConfigError(
            "which file? Name motion files, folders, or clips of ours: " + ", ".join(library.shipped())
        )
    files = library.find(names)
    for item in files:
        try:
            clips = read_all(
                item.path,
                args.robot,
                joint_order=args.joint_order,
                quaternion=args.quaternion,
                units=args.units,
                input_fps=args.input_fps,
                only=args.clip,
                check_limits=check_limits,
            )
        except ConfigError as error:
            if len(files) == 1:
                raise
            print(f"error: {error}", file=sys.stderr)
            yield item, None
        else:
            yield item, clips


def _edited(args: ConvertArgs, clip: Clip, skeleton: Skeleton) -> Clip:
    if args.range is not None:
        clip = edit.cut(skeleton, clip, *frame_range(args.range, clip))
    if args.fps is not None:
        clip = edit.resample(skeleton, clip, args.fps)
    if args.mirror:
        clip = edit.mirror(skeleton, clip)
    return edit.ground(skeleton, clip) if args.ground else clip


def _target(args: ConvertArgs, found: Found, clip: Clip, alone: bool) -> Path:
    if args.output is not None and args.output.endswith(".npz"):
        if not alone:
            raise ConfigError(
                f"--output {args.output}: {found.path} holds several clips; name a folder, or one with --clip."
            )
        return Path(args.output)
    return Path(args.output or ".") / found.below / f"{clip.name}.npz"


def _skeleton(known: dict[str, Skeleton], robot: str | None, clip: Clip) -> Skeleton:
    if clip.robot not in known:
        known[clip.robot] = Skeleton(robots.load(robot or clip.robot))
    return known[clip.robot]


def _writable(write: Draw, clip: Clip, path: Path) -> None:
    try:
        write(clip, path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror or error}).") from None


def _table(console: Console, file: str, report: inspection.Report) -> None:
    table = Table(show_header=False, box=None, title=Text(f"{file}: {report.name}"), title_justify="left")
    for name, text in inspection.rows(report):
        table.add_row(name, Text(text))
    console.print(table)
