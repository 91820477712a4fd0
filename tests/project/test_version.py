"""The version is the same wherever it is shown."""

import re
import tomllib

import mailapi
from support.site import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_changelog_begins_with_this_version_and_its_date():
    headings = re.findall("^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert re.fullmatch(rf"{re.escape(mailapi.__version__)} \(\d{{4}}-\d\d-\d\d\)", headings[0])


def test_the_packages_take_the_version_from_the_code():
    """No other file may repeat it: pyproject.toml, the zip file, the Debian package."""
    assert PROJECT["dynamic"] == ["version"] and "version" not in PROJECT
    for name in ("pyproject.toml", "build_pyz.py", "packaging/build_deb.py", "docs/mailapi.service"):
        assert f'"{mailapi.__version__}"' not in (ROOT / name).read_text(), name


def test_the_supported_versions_of_python_are_classified():
    versions = [each.split(" :: ")[2] for each in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", each)]
    assert versions == ["3.11", "3.12", "3.13", "3.14"]
    assert PROJECT["requires-python"] == f">={versions[0]}"
