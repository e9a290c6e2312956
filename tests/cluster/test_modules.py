"""This program in another process: the command, and where it finds our packages."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sonotheque.core.modules import our_module, with_home

ROOT = str(Path(__file__).parents[2])


@pytest.mark.parametrize(
    ("before", "after"), [(None, ROOT), ("", ROOT), ("/a", f"{ROOT}:/a"), ("/a:/b", f"{ROOT}:/a:/b")]
)
def test_our_home_comes_first(before: str | None, after: str) -> None:
    given = {"A": "1", **({} if before is None else {"PYTHONPATH": before})}
    kept = dict(given)
    assert with_home(given) == {"A": "1", "PYTHONPATH": after}
    assert given == kept


def test_a_folder_where_the_user_stands_takes_no_packages_place(tmp_path: Path) -> None:
    (tmp_path / "sonotheque").mkdir()
    (tmp_path / "sonotheque" / "__init__.py").write_text("raise SystemExit(70)")
    command, env = our_module("sonotheque.core.version"), with_home(os.environ)
    assert subprocess.run(command, env=env, cwd=tmp_path, check=False).returncode == 0


def test_words_are_handed_on() -> None:
    assert our_module("a.b", "--c", "d e")[1:] == ["-P", "-m", "a.b", "--c", "d e"]
