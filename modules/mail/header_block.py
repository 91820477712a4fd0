"""Search and repair of the header in received mail.

Python's parser ends the header at the first invalid line, and takes all lines after it for text.
"""

import re

LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|\Z)")
EMPTY_LINE = re.compile(rb"(?:\A|\n|\r(?!\n))(?:\r\n|\r|\n)")
BOM = b"\xef\xbb\xbf"
FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
REGULAR_LINE = rb"(?:[!-9;-~]+:|[ \t])[^\r\n]*\r?\n"
# A header of the usual form, with the empty line after it: nearly every mail has one.
REGULAR = re.compile(rb"(?>(?:%s)+)\r?\n" % REGULAR_LINE)
# A header that needs no mending.
WELL_FORMED = re.compile(rb"(?>(?:(?:[!-9;-~]+:|[ \t])[^\r\n]*(?:\r\n|\r|\n))*)(?:\r\n|\r|\n)?")
# Fields that show that a header follows, although an empty line precedes it.
WELL_KNOWN_FIELD = re.compile(
    rb"(?:\s{0,100})(?:received|return-path|delivered-to|from|to|cc|subject|date|message-id|reply-to|sender|references"
    rb"|in-reply-to|mime-version|content-[a-z-]{1,40}|dkim-signature|authentication-results|list-[a-z-]{1,40}"
    rb"|x-[!-9;-~]{1,40})[ \t]*:",
    re.IGNORECASE,
)


def header_size(raw: bytes) -> int:
    """Return the size of a mail's header in bytes, including the empty line that ends the header.

    Return len(raw) if there is no empty line.
    """
    end = REGULAR.match(raw) or EMPTY_LINE.search(raw, leading_size(raw))
    return end.end() if end else len(raw)


def is_complete(raw: bytes, size: int) -> bool:
    """Return whether the first `size` bytes of a mail, its header, end with an empty line."""
    end = raw[max(size - 4, 0) : size]
    return end.endswith((b"\n\n", b"\n\r\n", b"\r\r")) or raw[:size] in (b"\n", b"\r\n", b"\r")


def leading_size(raw: bytes) -> int:
    """Return the number of bytes before the first header field: a byte order mark and empty lines."""
    start = len(BOM) if raw.startswith(BOM) else 0
    if raw[start : start + 1] in (b"\r", b"\n") and (field := WELL_KNOWN_FIELD.match(raw, start)):
        start = field.end() - len(field[0].lstrip())
    return start


def mended_header(raw: bytes, complete: bool) -> bytes:
    """Return a mail's header without the invalid lines at which Python's parser would stop.

    `complete` says whether an empty line ends the header. If none does, invalid lines after the last field are kept as
    the beginning of the mail's text.
    """
    if WELL_FORMED.fullmatch(raw):
        return raw
    lines: list[bytes] = []
    junk: list[bytes] = []
    for match in LINE.finditer(raw, leading_size(raw)):
        line = match[0]
        if not line:
            break
        if line[:1] in (b" ", b"\t"):
            (junk or lines).append(line)
        elif FIELD.match(line):
            name, _, value = line.partition(b":")
            lines.append(name.rstrip() + b":" + value)
            junk.clear()
        elif not line.strip():
            lines.append(line)
        elif lines or not line.startswith((b">From ", b"From ")):
            junk.append(line)
    if not junk:
        return b"".join(lines)
    if not any(map(FIELD.match, lines)):
        return b"\n" + raw  # all of it is text
    return b"".join(lines if complete else [*lines, b"\n", *junk])
