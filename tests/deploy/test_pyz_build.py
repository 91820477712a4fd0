"""mailapi.pyz: built twice alike, with the time of the commit."""

import os
import shutil
import sys
import zipfile

from support.instances import skip_without
from support.pyz import BUILD_TIME, build_pyz, run_command
from support.site import ROOT


def test_two_builds_are_the_same_bytes(tmp_path):
    """Whatever the time of the files, the zone, the language and the seed of hashes."""
    first = build_pyz(tmp_path / "first", PYTHONHASHSEED="1", TZ="UTC")
    second = build_pyz(tmp_path / "second", PYTHONHASHSEED="2", TZ="Asia/Tokyo", LC_ALL="C")
    for file in (tmp_path / "second").rglob("*.py"):
        os.utime(file, (1, 1))
        file.chmod(0o600)
    run_command(
        sys.executable, "build_pyz.py", "again.pyz", cwd=second.parent.parent, env=os.environ | BUILD_TIME
    )
    assert first.read_bytes() == second.read_bytes() == (tmp_path / "second/again.pyz").read_bytes()


def test_its_times_are_that_of_the_commit(tmp_path):
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        skip_without("a clone by git")
    environ = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    run_command(sys.executable, ROOT / "build_pyz.py", tmp_path / "mailapi.pyz", env=environ)
    command = ["git", "log", "-1", "--date=format-local:%Y %m %d %H %M %S", "--format=%cd"]
    committed = run_command(*command, cwd=ROOT, env=environ | {"TZ": "UTC"})
    *minutes, seconds = map(int, committed.split())
    with zipfile.ZipFile(tmp_path / "mailapi.pyz") as archive:
        times = {entry.date_time for entry in archive.infolist()}
    assert times == {(*minutes, seconds // 2 * 2)}  # a ZIP file has every second second
