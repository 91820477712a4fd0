"""The block of mailapi in a user's filter script: it is found again, and the rest of the script stays as it is."""

import pytest
from mailapi_modules.clients.sieve_script import BEGIN, END, joined, quoted, split

import mailapi

SETTINGS = {
    "forward": "a@else.example",
    "autoReply": 'Away.\n"Bob" \\ \u00e4\n# mailapi settings end\nrequire "x";',
    "autoReplyEnabled": 1,
    "autoReplyStart": 1785538800,
    "autoReplyEnd": None,
}
# Scripts, split where the block belongs: behind the last `require` and its line.
SCRIPTS = [
    ("", ""),
    ("", "keep;\r\n"),
    ("", "# mine\nkeep;\n"),
    ('require "fileinto";\n', 'fileinto "x";'),
    ('require ["fileinto", "copy"];\r\n', "\r\nkeep;\r\n"),
    ('# mine\n/* of two\n lines */ require "a";\nREQUIRE ["b",\n# why\n"c"] ; # so\n', "\n# next\nkeep;"),
    ('require "fileinto";', ""),
    ('require "a;\\"b";\n', "stop;"),
    ("", "require text:\nfileinto\n.\n;\nkeep;"),
    ("", "/* never closed"),
    ("", 'require "never closed'),
    ("", "required;"),
    ('require "a";', " keep;"),
]


@pytest.mark.parametrize(("before", "after"), SCRIPTS)
def test_what_is_added_is_found_and_taken_out_again(before, after):
    assert split(before + after) == (before, {}, after)
    script = joined(before, SETTINGS, after, ["bob@one.org"])
    start, settings, end = split(script)
    assert (settings, end) == (SETTINGS, after) and start.rstrip() == before.rstrip()
    assert joined(start, SETTINGS, end, ["bob@one.org"]) == script
    assert joined(start, {}, end, []) == start + after


def test_a_reply_that_is_off_leaves_its_text_in_the_script_and_no_command():
    script = joined("", {"autoReply": "Away.", "autoReplyEnabled": 0}, "keep;", [])
    assert "vacation" not in script and split(script)[1]["autoReply"] == "Away."


def test_only_a_forward_needs_no_extension_for_replies():
    script = joined("", {"forward": "a@else.example"}, "", [])
    assert 'require ["copy"];' in script and 'redirect :copy "a@else.example";' in script


@pytest.mark.parametrize(
    "lines",
    [
        [BEGIN, "# {}"],
        [BEGIN],
        [BEGIN, "# nonsense", END],
        [BEGIN, "# []", END],
        [BEGIN, END],
        [BEGIN, '# {"forward": 5}', END],
        [BEGIN, '# {"autoReplyStart": -1}', END],
        [BEGIN, '# {"other": 5}', END],
        [BEGIN, "# " + "[" * 100_000, END],
    ],
)
def test_lines_of_ours_that_somebody_has_changed_are_named(lines):
    with pytest.raises(mailapi.ApiError, match="cannot be read: delete them"):
        split("\n".join(lines))


@pytest.mark.parametrize("opening", ["/* ", '\\"'])
def test_comments_and_strings_without_an_end_are_read_once(opening):
    text = "vacation text:\n" + opening * 250_000 + "\n.\n;\n"
    with pytest.raises(mailapi.ApiError, match="cannot be read: delete them"):
        split(f'require ["vacation"];\n{BEGIN}\n# {{}}\n{text}')  # hours, if each is searched to the end


def test_quotes_end_no_string():
    assert quoted('a"; discard; \\') == '"a\\"; discard; \\\\"'
