"""The parts of a received mail: texts and attachments."""

import mimetypes
import re
from functools import cached_property
from itertools import islice

from mailapi import File

from .header_text import DIRECTIONS
from .message_parser import ReceivedMessage, parse_message
from .tnef import is_tnef, tnef_attachments

MAX_PARTS = 10_000  # the parser takes no more
MAX_TNEF = 10  # files winmail.dat of a mail that are opened
CONTENT_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,80}/[a-z0-9][a-z0-9.+-]{0,80}", re.ASCII)
# Types that browsers neither run nor display as a page.
INERT_TYPES = re.compile(
    r"(?:audio|font|image|video)/(?!svg)[^+]+|text/(?:plain|csv|calendar|vcard)|message/rfc822"
    r"|application/(?:pdf|zip|gzip|json|rtf|msword|pgp-[a-z]+|vnd\.[^+]+)"
)


class Part(ReceivedMessage):
    """A part of a received mail: a text or an attachment. A mail inside of the mail is an attachment, too."""

    number = 0  # its position among the texts and attachments of the mail, from 1

    def get_content_type(self) -> str:
        return re.sub(
            "^message/", "application/", super().get_content_type()
        )  # which the parser does not open

    def description(self) -> dict:
        """Return the part as `mailbox/?parts` lists it: {"part": 1, "content_type": "text/plain", "size": 9, …}."""
        return {
            "part": self.number,
            "content_type": self.content_type,
            "filename": self.filename,
            "size": len(self.content()),
            "attached": self.attached,
            "content_id": self.content_id,
        }

    def file(self) -> File:
        """Return the part as a file to download.

        Its type becomes application/octet-stream unless the type is known to be harmless in a browser.
        """
        kind = self.content_type if INERT_TYPES.fullmatch(self.content_type) else "application/octet-stream"
        extension = ".eml" if kind == "message/rfc822" else mimetypes.guess_extension(kind) or ""
        return File(self.content(), kind, self.filename or f"part-{self.number}{extension}")

    @property
    def content_type(self) -> str:
        """Return the content type, such as "text/plain", in lower case; application/octet-stream if it is invalid."""
        kind = super().get_content_type()
        return kind if CONTENT_TYPE.fullmatch(kind) else "application/octet-stream"

    @cached_property
    def filename(self) -> str:
        """Return the file name that the mail gives, or "". It may contain "/" and other unsafe characters."""
        return DIRECTIONS.sub("_", self.get_filename("")).strip()

    @property
    def content_id(self) -> str:
        """Return the part's Content-ID without angle brackets; "" if it has none. The mail's HTML refers to it."""
        return self.field("content-id").strip("<> ")

    @property
    def content_location(self) -> str:
        return self.field("content-location").strip()

    @property
    def attached(self) -> bool:
        """Return whether the part is an attachment: marked as one, with a file name, or neither text nor HTML."""
        return (
            self.has_attachment_disposition
            or bool(self.filename)
            or self.content_type not in ("text/plain", "text/html")
        )

    @property
    def has_attachment_disposition(self) -> bool:
        return self.field("content-disposition").lower().startswith("attachment")


class TnefPart(Part):
    """An attachment that was in winmail.dat, a file in which Microsoft Outlook packs attachments."""

    def __init__(self, name: str, content: bytes):
        super().__init__()
        self.name, self.data = name, content

    @property
    def content_type(self) -> str:
        # Without slashes before it: Python 3.13 takes "//[x" for a URL, and refuses it.
        kind = mimetypes.guess_type(f"./{self.name.rpartition('/')[2]}")[0] or ""
        return kind if CONTENT_TYPE.fullmatch(kind) else "application/octet-stream"

    def content(self) -> bytes:
        return self.data

    @cached_property
    def filename(self) -> str:
        return DIRECTIONS.sub("_", self.name)

    @property
    def has_attachment_disposition(self) -> bool:
        return True


def parts(raw: bytes) -> list[Part]:
    """Return the texts and attachments of the mail `raw`, in their order. Attachments in winmail.dat come last."""
    every = parse_message(raw, Part).walk()
    leaves = (part for part in every if isinstance(part, Part) and not part.is_multipart())
    found = list(islice(leaves, MAX_PARTS))
    for part in [part for part in found if is_tnef(part.content_type, part.filename)][:MAX_TNEF]:
        found += [TnefPart(name, content) for name, content in tnef_attachments(part.content())]
    for number, part in enumerate(found, 1):
        part.number = number
    return found
