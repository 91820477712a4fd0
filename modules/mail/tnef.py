"""Attachments in winmail.dat files, which have Microsoft Outlook's format TNEF ([MS-OXTNEF]).

The package tnefparse is not used: nobody has kept it since 2021.
"""

from collections.abc import Iterator
from struct import error as StructError
from struct import unpack_from

from .charsets import codec_of, decode

SIGNATURE = b"\x78\x9f\x3e\x22"
TYPES = ("application/ms-tnef", "application/vnd.ms-tnef")
MAX_ATTACHMENTS = 500
HEADER_BYTES = 6  # signature and key
# Numbers of attributes.
OEM_CODEPAGE, RENDERING, TITLE, DATA = 0x9007, 0x9002, 0x8010, 0x800F


def is_tnef(content_type: str, filename: str) -> bool:
    return content_type in TYPES or filename.lower() == "winmail.dat"


def tnef_attachments(content: bytes) -> list[tuple[str, bytes]]:
    """Return (name, content) of each attachment in a file winmail.dat, 500 at most; [] if it is not TNEF."""
    if not content.startswith(SIGNATURE):
        return []
    charset, found = None, list[tuple[str, bytes]]()
    for number, value in attributes(content):
        if number == OEM_CODEPAGE and len(value) >= 4:
            charset = f"cp{unpack_from('<L', value)[0]}"
        elif number == RENDERING:  # begins an attachment
            if len(found) == MAX_ATTACHMENTS:
                break
            found.append(("", b""))
        elif number == TITLE and found and not found[-1][0]:
            found[-1] = file_name(value, charset), found[-1][1]
        elif number == DATA and found:
            found[-1] = found[-1][0], value
    return [(name or f"attachment-{number}", data) for number, (name, data) in enumerate(found, 1)]


def attributes(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (number, value) of each attribute in a TNEF file. Stop at an attribute that is cut off."""
    position = HEADER_BYTES
    while True:
        try:
            _, number, _, length = unpack_from("<BHHL", content, position)
        except StructError:
            return
        value = content[position + 9 : position + 9 + length]
        if len(value) < length:
            return
        yield number, value
        position += 9 + length + 2  # after a checksum


def file_name(value: bytes, charset: str | None) -> str:
    name = value.partition(b"\0")[0][:1000]
    return decode(name, charset if codec_of(charset) else None).strip()
