"""The parts of a received mail: texts, attachments, and images in its HTML."""

import base64
import mimetypes
import re
import urllib.parse
from collections.abc import Callable
from functools import cache, cached_property
from itertools import islice

from mailapi import File

from .header_text import DIRECTIONS, header
from .message_parser import ReceivedMessage, parse_message


class MessageWithAttachedMail(ReceivedMessage):
    """A parsed message in which enclosed messages (message/rfc822) are attachments like other files."""

    def get_content_type(self):
        return re.sub("^message/", "application/", super().get_content_type())


MAX_PARTS = 10_000  # the parser takes no more
CONTENT_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,80}/[a-z0-9][a-z0-9.+-]{0,80}", re.ASCII)
# Types that browsers neither run nor display as a page.
INERT_TYPES = re.compile(
    r"(?:audio|font|image|video)/(?!svg)[^+]+|text/(?:plain|csv|calendar|vcard)|message/rfc822"
    r"|application/(?:pdf|zip|gzip|json|rtf|msword|pgp-[a-z]+|vnd\.[^+]+)"
)


class Part:
    """A part of a received mail: a text or an attachment. `number` counts from 1."""

    def __init__(self, number: int, part: ReceivedMessage):
        self.number, self.part = number, part

    def description(self) -> dict:
        """Return what mailbox/?parts tells about the part: number, type, file name, size, and use."""
        return {
            "part": self.number,
            "content_type": self.content_type,
            "filename": self.filename,
            "size": len(self.content),
            "attached": self.attached,
            "content_id": self.content_id,
        }

    def file(self) -> File:
        """Return the part as a file to download. A type that browsers display as a page becomes octet-stream."""
        kind = self.content_type if INERT_TYPES.fullmatch(self.content_type) else "application/octet-stream"
        extension = ".eml" if kind == "message/rfc822" else mimetypes.guess_extension(kind) or ""
        return File(self.content, kind, self.filename or f"part-{self.number}{extension}")

    @property
    def content_type(self) -> str:
        """Return the part's type in lower case; application/octet-stream if it is invalid."""
        kind = ReceivedMessage.get_content_type(self.part)
        return kind if CONTENT_TYPE.fullmatch(kind) else "application/octet-stream"

    @property
    def content(self) -> bytes:
        return self.part.content()

    @property
    def text(self) -> str:
        return self.part.readable_text()

    @cached_property
    def filename(self) -> str:
        """Return the file name that the mail gives, or "". It may contain "/" and other unsafe characters."""
        return DIRECTIONS.sub("_", self.part.get_filename("")).strip()

    @property
    def content_id(self) -> str:
        """Return the Content-ID, by which the mail's HTML refers to the part, without its angle brackets."""
        return header(self.part, "content-id").strip("<> ")

    @property
    def attached(self) -> bool:
        """Return whether the part is an attachment: it is marked as one, has a file name, or is no text."""
        return (
            self.has_attachment_disposition
            or bool(self.filename)
            or self.content_type not in ("text/plain", "text/html")
        )

    @property
    def has_attachment_disposition(self) -> bool:
        return header(self.part, "content-disposition").lower().startswith("attachment")


def parts(raw: bytes) -> list[Part]:
    """Return the texts and attachments of a mail in their order, at most MAX_PARTS. `raw` is the whole mail."""
    message = parse_message(raw, MessageWithAttachedMail)
    leaves = (part for part in message.walk() if not part.is_multipart())
    return [Part(number, part) for number, part in enumerate(islice(leaves, MAX_PARTS), 1)]


INLINE_IMAGE = re.compile("image/(?:png|jpe?g|gif|webp|bmp)")  # none of them can contain scripts or links


def html_of(mail_parts: list[Part]) -> str:
    """Return the HTML of a mail: all text/html parts that are not attached, joined by <hr>."""
    return "<hr>".join(
        part.text
        for part in mail_parts
        if part.content_type == "text/html" and not part.has_attachment_disposition
    )


def inline_images(mail_parts: list[Part]) -> Callable[[str], str | None]:
    """Return a function that finds the image for a cid: URL in the mail's HTML (RFC 2392).

    It takes the URL without `cid:`, and returns the image as a data: URL, or None.
    """
    by_id = {
        part.content_id: part
        for part in reversed(mail_parts)
        if part.content_id and INLINE_IMAGE.fullmatch(part.content_type)
    }

    @cache
    def data_uri(name: str) -> str | None:
        part = by_id.get(urllib.parse.unquote(name))
        if part is None:
            return None
        return f"data:{part.content_type};base64,{base64.b64encode(part.content).decode()}"

    return data_uri
