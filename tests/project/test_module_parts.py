"""docs/how-to/module.md: its rule, field type and model of a master table, put together to a second module."""

import re

import pytest

from support.pages import read_page
from support.site import Site

PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REST = '''
from mailapi import Module, PreparedQuery, admin_or_delegate, endpoint, param


class DomainNote(Model):
    note_domain = TextField()
    note_text = TextField()


NOTES = PreparedQuery(DomainNote.select().order_by(DomainNote.note_domain))
SET = PreparedQuery(DomainNote.replace(note_domain=param("domain"), note_text=param("text")))


class Notes(Module):
    permissions = {"office": "Reads all notes."}
    state_schema = """
CREATE TABLE IF NOT EXISTS domain_note (note_domain TEXT PRIMARY KEY, note_text TEXT NOT NULL);
"""

    @endpoint(
        required={"note_domain": "Which domain?", "note_text": "Which note?"},
        optional={"note_domain": domain},
        allow=manages_domain,
        manages_transactions=True,
    )
    def set(self, call):
        """Write the note about a domain."""
        with self.app.state.transaction():
            self.app.state.execute(SET, domain=call.body["note_domain"], text=call.body["note_text"])

    @endpoint(allow=has_office, read_only=True, manages_transactions=True)
    def get(self, call):
        """List all notes."""
        return {"notes": [dict(note_domain=row[0], note_text=row[1]) for row in self.app.state.read(NOTES)]}
'''


@pytest.fixture
def notes(tmp_path):
    """The file of the module: what the page shows, and the rest."""
    blocks = PYTHON.findall(read_page("how-to/module.md"))
    shown = {
        name: block
        for name in ("manages_domain =", "def domain(", "address_order = IntegerField")
        for block in blocks
        if name in block
    }
    file = tmp_path / "notes.py"
    file.write_text("\n\n".join([*shown.values(), REST]))
    return file


def test_the_rule_and_the_field_type_of_the_page_hold(tmp_path, notes):
    site = Site(tmp_path, extra={"Notes": str(notes)})
    assert site("notes/?set", user="dele", note_domain="CORP.org", note_text="First.")["status"] == "ok"
    assert site("notes/?set", note_domain="corp.org", note_text="Second.")["status"] == "ok"
    refused = site("notes/?set", user="dele", note_domain="one.org", note_text="x")
    assert refused["status"] == "This domain was not delegated to you."
    bad = site("notes/?set", note_domain="not a domain", note_text="x", check=400)
    assert bad["status"] == "Invalid value for note_domain."
    assert site("notes/?get", user="ann")["status"] == "Not allowed."
    site("users/?add_permission", user_name="ann", user_permission="office")
    assert site("notes/?get", user="ann")["notes"] == [{"note_domain": "corp.org", "note_text": "Second."}]
    described = site.app.modules["notes"].endpoints["set"].optional["note_domain"].schema
    assert described == {"type": "string", "maxLength": 253}
