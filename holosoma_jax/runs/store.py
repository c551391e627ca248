"""The arrays of a checkpoint: Orbax's `CheckpointManager`, which also removes old steps.

Orbax writes a step into a folder of another name and renames it when it is complete. Two things are added
through the options that it has for them: ``meta.json`` is written before the rename (`_sealed`), and steps
that are removed are renamed first (``todelete_subdir``), so that a step's name never stands for part of one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from holosoma_jax.parallel import processes
from holosoma_jax.runs.meta import sync_directory

_REMOVED = ".removed"
"""Where steps that are no longer kept wait to be deleted."""


class Retention(NamedTuple):
    """Which steps stay when a new one has been saved: those that either rule keeps."""

    newest: int | None = None
    """this many; None: all"""
    every: int | None = None
    """multiples of this step"""


def write(
    folder: Path,
    step: int,
    items: Mapping[str, Any],
    seal: Callable[[Path], None],
    *,
    token: str,
    retention: Retention,
) -> None:
    """Save `items` as ``folder/<step>``, then remove what `retention` no longer keeps.

    With several processes all call it.

    Args:
      folder: exists.
      step: not there yet.
      items: name -> pytree of arrays.
      seal: writes what else belongs to the step; called by the main process with the folder that is
        complete otherwise.
      token: makes the name of the unfinished folder unique; the same in all processes.
      retention: what to keep.

    Raises:
      OSError, ValueError: the disk is full or not writable (tensorstore raises the latter).
    """
    options = ocp.CheckpointManagerOptions(
        preservation_policy=_policy(retention),
        enable_async_checkpointing=False,  # the state is donated to the next iteration
        create=False,
        save_root_metadata=False,
        lightweight_initialize=True,
        todelete_subdir=_REMOVED,
        temporary_path_class=_sealed(token, seal),
    )
    trees = {name: ocp.args.StandardSave(_stored(tree)) for name, tree in items.items()}
    with (
        _quiet(),
        ocp.CheckpointManager(folder.absolute(), options=options, item_names=tuple(items)) as manager,
    ):
        manager.save(step, args=ocp.args.Composite(**trees), force=True)
    if processes.is_main():
        shutil.rmtree(folder / _REMOVED, ignore_errors=True)


def read(path: Path, templates: Mapping[str, Any]) -> dict[str, Any]:
    """The items named in `templates` of the step in folder `path`, in the shapes of the templates."""
    trees = {name: ocp.args.StandardRestore(_stored(tree)) for name, tree in templates.items()}
    with _quiet(), ocp.Checkpointer(ocp.CompositeCheckpointHandler(*templates)) as orbax:
        found = orbax.restore(path.absolute(), args=ocp.args.Composite(**trees))
    return {name: _refilled(template, found[name]) for name, template in templates.items()}


def partial_name(step: int, token: str) -> str:
    """Name of the folder that holds `step` while it is written."""
    return f".{step}.{token}.partial"


def clean(folder: Path) -> None:
    """Remove what interrupted saves and removals left below `folder`; nobody else may be saving there."""
    for leftover in (*folder.glob(".*.partial*"), folder / _REMOVED):
        shutil.rmtree(leftover, ignore_errors=True)


def _policy(retention: Retention) -> policies.PreservationPolicy:
    rules: list[policies.PreservationPolicy] = [policies.LatestN(retention.newest)]
    if retention.every is not None:
        rules.append(policies.EveryNSteps(retention.every))
    return policies.AnyPreservationPolicy(rules)


def _sealed(token: str, seal: Callable[[Path], None]) -> type[ocp.path.atomicity.AtomicRenameTemporaryPath]:
    """Orbax's temporary folder, under a name of its own, sealed and on the disk before it is renamed."""

    class Sealed(ocp.path.atomicity.AtomicRenameTemporaryPath):
        @classmethod
        def from_final(cls, final_path: Any, **options: Any) -> Sealed:
            return cls(final_path.parent / partial_name(int(final_path.name), token), final_path, **options)

        async def finalize(self) -> None:
            partial, final = Path(self.get()), Path(self.get_final())
            seal(partial)
            os.rename(partial, final)
            sync_directory(final.parent)

    return Sealed


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Orbax, silent: it logs the traceback of every error beside raising it.

    After an error it stays so: threads of Orbax's are still at work, and log theirs later.
    """
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(level)


def _stored(tree: Any) -> Any:
    """`tree` without its empty arrays, which Orbax refuses."""
    return jax.tree.map(lambda x: None if x.size == 0 else x, tree)


def _refilled(template: Any, found: Any) -> Any:
    """`found`, with the empty arrays of `template` back in their places."""
    leaves = iter(jax.tree.leaves(found))
    return jax.tree.map(lambda x: x if x.size == 0 else next(leaves), template)
