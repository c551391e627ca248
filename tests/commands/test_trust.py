"""The commands open a run of somebody else's without importing what its config names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from holosoma_jax import train
from holosoma_jax.config import compose
from holosoma_jax.training import session


def test_training_refuses_the_code_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    run = tmp_path / "gotrun"
    run.mkdir()
    for place in (run / "payload.py", tmp_path / "elsewhere.py"):
        place.write_text(
            "import pathlib\npathlib.Path('payload_ran').touch()\n\n\ndef alive(view):\n    return 0\n"
        )
    path = compose.save_yaml(compose.load(["exp:g1-29dof"]), run / "config.yaml")
    plain = path.read_text()
    taken = []
    monkeypatch.setattr(session, "run", lambda cfg, *rest: taken.append(cfg) or 0)
    monkeypatch.setattr(session, "require", lambda cfg: None)

    def trained(module: str, *argv: str) -> tuple[int, str]:
        changed = plain.replace(
            "    alive:\n      weight:", f"    alive:\n      func: {module}:alive\n      weight:"
        )
        lines = [line for line in changed.splitlines() if "func: ''" not in line]
        path.write_text("\n".join(lines) + "\n")
        try:
            code = train.main(["--training.checkpoint=gotrun", *argv])
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        return code, capsys.readouterr().err

    code, err = trained("gotrun.payload")
    assert code == 2 and "gotrun.payload:alive" in err
    code, err = trained("gotrun.payload", "--allow-code=gotrun")
    assert code == 2 and "inside of" in err
    code, err = trained("elsewhere")
    assert code == 2 and "--allow-code elsewhere" in err
    assert not Path("payload_ran").exists() and taken == []
    assert "elsewhere" not in sys.modules
    code, err = trained("elsewhere", "--allow-code", "elsewhere")
    assert (code, err) == (0, "") and Path("payload_ran").exists()
    assert taken[0].reward.terms["alive"].func == "elsewhere:alive"
