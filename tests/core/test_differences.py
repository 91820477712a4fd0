"""Deliberate differences from the original (docs/wire.md section 5): every row of the table has a test.

The tests are in test_differences_*.py.
"""

from pathlib import Path

import pytest

pytestmark = pytest.mark.every_engine


ROWS = [f"f{number:02}" for number in range(1, 41)]


def test_every_row_has_a_test():
    here = Path(__file__).parent
    text = "".join(file.read_text() for file in here.glob("test_differences_*.py"))
    assert [row for row in ROWS if f"\ndef test_{row}_" not in text] == []
