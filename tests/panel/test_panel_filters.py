"""The panel's page about filters and the reply while away, at Dovecot's ManageSieve server."""

import pytest

from support.panel import Panel, panel_site

pytestmark = pytest.mark.slow
TEXT = 'Back on "Monday".\n\nWrite to C:\\bob or {bob}.'


@pytest.fixture
def site(tmp_path, site_without_filters):
    return panel_site(tmp_path, services=site_without_filters.config["services"])


@pytest.fixture
def bob(site):
    bob = Panel(site, "bob")
    bob.page = bob.page.click("Filters and absence")
    return bob


def test_a_reply_while_away(bob, site):
    bob.shows("No reply is sent now.")
    bob.submit("set-away", subject="Away", text="", check=200)
    assert bob.errors() == {"text": "Write a text for the reply."}
    bob.submit("set-away", subject='On "holiday"', text=TEXT)
    bob.shows("The reply is sent from now on.", "Senders get this reply now")
    form = bob.form("set-away")
    assert form["subject"].value == 'On "holiday"' and form["text"].value.replace("\r\n", "\n") == TEXT
    assert site("services/?sieve_list", user="bob")["scripts"] == [{"script_name": "away", "active": True}]
    bob.page = bob.form("change-script").submit("change", value="deactivate").follow()
    bob.shows("No filter is active now.", "No reply is sent now.")
    bob.submit("set-away", subject="", text="x")
    assert bob.form("set-away")["subject"].value == "Away"


def test_scripts(bob, site):
    bob.submit("set-script", script_name="sorting", script="nonsense", check=200)
    assert list(bob.errors()) == ["script"] and bob.form("set-script")["script"].value == "nonsense"
    bob.submit("set-script", script_name="sorting", script='require "fileinto";\nkeep;')
    bob.shows("The filter was saved.", "sorting")
    bob.page = bob.form("change-script", script_name="sorting").submit("change", value="activate").follow()
    bob.shows("The filter is active now.", "Another filter is active.")
    bob.page = bob.page.click("sorting")
    assert bob.form("set-script")["script"].value.split() == ["require", '"fileinto";', "keep;"]
    for change in ("deactivate", "delete"):
        bob.page = bob.form("change-script", script_name="sorting").submit("change", value=change).follow()
    bob.shows("The filter was deleted.")
    assert site("services/?sieve_list", user="bob")["scripts"] == []
    bob.get("filters?script_name=sorting", 404)


def test_the_example_of_a_filter_is_one(bob):
    [hint] = bob.page.html.select("#set-script-script-hint")
    bob.submit("set-script", script_name="example", script=hint.text.partition("example:")[2].strip())
    bob.shows("The filter was saved.")


def test_without_the_server_there_is_no_such_page(tmp_path):
    bob = Panel(panel_site(tmp_path), "bob")
    bob.lacks("Filters and absence")
    bob.get("filters", 403)
