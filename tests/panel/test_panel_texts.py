"""The panel's texts: sentences of the API with something of the request in them, and which language is chosen."""

import pytest

import mailapi

filled_in = mailapi.load_part("web.texts").filled_in
GERMAN = mailapi.load_part("web.texts").LANGUAGES["de"]


@pytest.mark.parametrize(
    "pattern, sentence, values",
    [
        ("Stored for user {} in the {}.", "Stored for user a in the b in the c.", ["a", "b in the c"]),
        ("Stored for user {} in the {}.", "Stored for user a.", []),
        ("Address matched: {}", "Address matched: ", [""]),
        ("Redirected to {}.", "Redirected to .", [""]),
        ("Redirected to {}.", "Redirected to ", []),
        ("a{}a", "a", []),
        ("{} is {} to it.", "é is {} to it.", ["é", "{}"]),
    ],
)
def test_gaps_of_a_sentence(pattern, sentence, values):
    assert filled_in(pattern, sentence) == values


@pytest.mark.parametrize(
    "sentence, value",
    [
        (mailapi.TooManyFailures(30, "").status, " 30 "),
        ("Too many recipients: 100 at most.", " 100 "),
        ("Too many devices: 20 at most. Delete one first.", " 20 "),
        ("No permission to add an address.", GERMAN.not_allowed),
        ("The imap service cannot be used: it did not answer in time.", ": it did not answer in time."),
    ],
)
def test_refusals_that_users_meet_are_translated(sentence, value):
    translated = GERMAN.sentence(sentence)
    assert value in translated and translated != sentence


def test_what_is_in_a_gap_is_text():
    assert GERMAN.sentence("Redirected to {0.__class__}.") == "Weitergeleitet an {0.__class__}."
    assert GERMAN.sentence("Something else.") == "Something else."
