"""Regular expressions for the head of an HTTP request. They replace those of waitress, which may be very slow.

They accept the same lines. The ones of waitress need ten seconds for some heads of 32 kB, since they backtrack over
the blanks around an empty value and over the end of a URL's host.
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
    """Replace the regular expressions of waitress by FIRST_LINE and HEADER_LINE, for the whole process."""
    waitress.parser.first_line_re, waitress.parser.HEADER_FIELD_RE = FIRST_LINE, HEADER_LINE
