"""Patterns of the lines of a request's head for waitress, which take linear time.

Its own mean the same, but try every way to share blanks out between what is before and what is behind an empty value,
and a URL between its host and its path: a head of 32 kB keeps the server from everything else for ten seconds.
"""

import re

import waitress.parser

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
FIRST_LINE = re.compile(rb"(?P<method>" + TOKEN + rb") (?P<uri>[^ ]+)(?: HTTP/(?P<version>[0-9]\.[0-9]))?")
HEADER_LINE = re.compile(
    rb"^(?P<name>" + TOKEN + rb"):[ \t]*+"
    rb"(?P<value>(?:[\x21-\x7e\x80-\xff]++(?>(?:[ \t]++[\x21-\x7e\x80-\xff]++)*))?)[ \t]*+$"
)


def install():
    """Let waitress, in this process, read by these patterns."""
    waitress.parser.first_line_re, waitress.parser.HEADER_FIELD_RE = FIRST_LINE, HEADER_LINE
