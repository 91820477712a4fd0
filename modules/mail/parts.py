"""What a mail is made of: texts, attachments, pictures that its HTML shows."""

import base64
import mimetypes
import re
import urllib.parse
from collections.abc import Callable
from email.message import Message
from functools import cache, cached_property
from itertools import islice

from mailapi import File

from ..mail.messages import SURROGATES, content, header, parsed, payload, unfolded


class Enclosing(Message):
    """A message in which an enclosed message stays the bytes that it is, as any other attachment."""

    def get_content_type(self):
        return re.sub("^message/", "application/", super().get_content_type())


MOST_PARTS = 500
KIND = re.compile(r"[a-z0-9][a-z0-9.+-]{0,80}/[a-z0-9][a-z0-9.+-]{0,80}", re.ASCII)
# What no browser runs or takes apart.
HARMLESS = re.compile(
    r"(?:audio|font|image|video)/(?!svg)[^+]+|text/(?:plain|csv|calendar|vcard)|message/rfc822"
    r"|application/(?:pdf|zip|gzip|json|rtf|msword|pgp-[a-z]+|vnd\.[^+]+)"
)


class Part:
    """What a mail is made of: a text, or an attachment."""

    def __init__(self, number: int, part: Message):
        self.number, self.part = number, part

    def described(self) -> dict:
        return {
            "part": self.number,
            "content_type": self.content_type,
            "filename": self.filename,
            "size": len(self.content),
            "attached": self.attached,
            "content_id": self.content_id,
        }

    def file(self) -> File:
        """The part as a download, of a type that no browser shows as a page."""
        kind = self.content_type if HARMLESS.fullmatch(self.content_type) else "application/octet-stream"
        ending = ".eml" if kind == "message/rfc822" else mimetypes.guess_extension(kind) or ""
        return File(self.content, kind, self.filename or f"part-{self.number}{ending}")

    @property
    def content_type(self) -> str:
        """As the sender calls it, in lower case; of what is no type's name, the general one."""
        kind = Message.get_content_type(self.part)
        return kind if KIND.fullmatch(kind) else "application/octet-stream"

    @property
    def content(self) -> bytes:
        try:
            return payload(self.part)
        except Exception:  # the library's, on what is not so encoded
            del self.part["Content-Transfer-Encoding"]
            return payload(self.part)

    @property
    def text(self) -> str:
        return content(self.part)

    @cached_property
    def filename(self) -> str:
        """As the sender calls it (RFC 2231, RFC 2047): not yet fit for a file system; "" where it has no name."""
        try:
            return unfolded(SURROGATES.sub("\ufffd", self.part.get_filename() or ""))
        except Exception:  # the library's, on parameters that are none
            return ""

    @property
    def content_id(self) -> str:
        """What the mail's HTML calls it."""
        return header(self.part, "content-id").strip("<> ")

    @property
    def attached(self) -> bool:
        """Whether it is meant to be saved rather than to be read along."""
        return self.to_be_saved or bool(self.filename) or self.content_type not in ("text/plain", "text/html")

    @property
    def to_be_saved(self) -> bool:
        return header(self.part, "content-disposition").lower().startswith("attachment")


def parts(raw: bytes) -> list[Part]:
    """What a mail is made of, depth first."""
    message = parsed(raw, Enclosing)
    holding = (part for part in message.walk() if not part.is_multipart())
    return [Part(number, part) for number, part in enumerate(islice(holding, MOST_PARTS), 1)]


PICTURE = re.compile("image/(?:png|jpe?g|gif|webp|bmp)")  # none that can have a script or a link in it


def html_of(found: list[Part]) -> str:
    """All HTML of a mail that is meant to be read."""
    return "<hr>".join(
        part.text for part in found if part.content_type == "text/html" and not part.to_be_saved
    )


def pictures(found: list[Part]) -> Callable[[str], str | None]:
    """What gives the data: URI of the picture that a cid: URL names (RFC 2392), or None."""
    by_id = {
        part.content_id: part
        for part in reversed(found)
        if part.content_id and PICTURE.fullmatch(part.content_type)
    }

    @cache
    def find(name: str) -> str | None:
        part = by_id.get(urllib.parse.unquote(name))
        return part and f"data:{part.content_type};base64,{base64.b64encode(part.content).decode()}"

    return find
