"""README.md and docs/tutorial.md: a reader who pastes their commands gets the answers that they show."""

import shutil

import pytest

from support.site import ROOT
from support.walkthrough import Walkthrough


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_the_page_can_be_worked_through(page, tmp_path):
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    Walkthrough(ROOT / page, tmp_path).run()
