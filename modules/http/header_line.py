"""Regular expressions for the first line and the header lines of an HTTP request.

They accept the same lines as those of waitress, which need ten seconds for some headers of 32 kB.
"""

import re

import waitress.parser

# The expressions of waitress backtrack over the blanks around an empty value and over the end of a URL's host.
TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
FIRST_LINE = re.compile(rb"(?P<method>" + TOKEN + rb") (?P<uri>[^ ]+)(?: HTTP/(?P<version>[0-9]\.[0-9]))?")
HEADER_LINE = re.compile(
    rb"^(?P<name>" + TOKEN + rb"):[ \t]*+"
    rb"(?P<value>(?:[\x21-\x7e\x80-\xff]++(?>(?:[ \t]++[\x21-\x7e\x80-\xff]++)*))?)[ \t]*+$"
)


def install():
    """Replace the regular expressions of waitress that match the first line and the header lines of requests.

    FIRST_LINE and HEADER_LINE match the same lines, but quickly: those of waitress may need ten seconds for one. This
    holds for the whole process.
    """
    waitress.parser.first_line_re, waitress.parser.HEADER_FIELD_RE = FIRST_LINE, HEADER_LINE
