"""HTML of a received mail, made harmless: the mail's own HTML (`mailbox/?html`), or a whole page (`mailbox/?view`)."""

import base64
import html
import re
import urllib.parse
from dataclasses import dataclass

from mailapi import File

from .mail_text import mail_text
from .message_parser import parse_headers, parse_message
from .parts import Part, parts
from .sanitizer import SanitizedHTML

# Links open a new window; nothing else works that is not in the document.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
)
PAGE = """<!doctype html>
<html><head><meta charset="utf-8"><meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width"><title>{title}</title></head>
<body>{body}</body></html>
"""
TEXT = '<div style="white-space:pre-wrap;word-wrap:break-word;font-family:sans-serif">{text}</div>'

# The beginnings of images' contents, by type. None of these types can contain scripts or links.
IMAGES = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "image/bmp": re.compile(rb"BM....\0\0\0\0", re.DOTALL),
}


@dataclass(frozen=True)
class Page(File):
    """A mail as an HTML page. Its HTTP header fields forbid browsers to run scripts or load anything."""

    def headers(self) -> list[tuple[str, str]]:
        return [
            ("Content-Type", self.content_type),
            ("Content-Disposition", "inline"),
            ("Content-Security-Policy", POLICY),
            ("Referrer-Policy", "no-referrer"),
        ]


def sanitized_html(mail_parts: list[Part]) -> SanitizedHTML:
    """Return the HTML of a mail without anything that could run code or load data. `mail_parts` has all its parts."""
    images = InlineImages(mail_parts)
    return SanitizedHTML(html_of(mail_parts), images.with_id, images.with_location)


def html_of(mail_parts: list[Part]) -> str:
    """Return the HTML of a mail: the text of all text/html parts that are not attachments, joined by <hr>."""
    return "<hr>".join(
        part.readable_text()
        for part in mail_parts
        if part.content_type == "text/html" and not part.has_attachment_disposition
    )


class InlineImages:
    """Finds the images inside a mail to which its HTML refers, and returns them as data: URLs."""

    def __init__(self, mail_parts: list[Part]):
        last_to_first = mail_parts[::-1]
        self.by_id = {part.content_id: part for part in last_to_first if part.content_id}
        self.by_location = {part.content_location: part for part in last_to_first if part.content_location}
        self.uris: dict[int, str | None] = {}  # by the numbers of the parts

    def with_id(self, name: str) -> str | None:
        """Return the image for the URL `cid:name` as a data: URL (RFC 2392); None if there is none."""
        return self.data_uri(self.by_id.get(urllib.parse.unquote(name)))

    def with_location(self, url: str) -> str | None:
        """Return the image whose Content-Location is `url` as a data: URL (RFC 2557); None if there is none."""
        return self.data_uri(self.by_location.get(url))

    def data_uri(self, part: Part | None) -> str | None:
        if part is None:
            return None
        if part.number not in self.uris:
            content = part.content()
            kind = next((kind for kind, start in IMAGES.items() if start.match(content)), None)
            uri = f"data:{kind};base64,{base64.b64encode(content).decode()}" if kind else None
            self.uris[part.number] = uri
        return self.uris[part.number]


def mail_page(raw: bytes) -> Page:
    """Return the mail `raw` as a harmless page of HTML. If the mail has no HTML, the page shows its text."""
    safe = sanitized_html(parts(raw)).html
    safe = safe or TEXT.format(text=html.escape(mail_text(parse_message(raw))))
    title = html.escape(parse_headers(raw).field("subject"))
    page = PAGE.format(title=title, body=safe)
    return Page(page.encode("utf-8", "replace"), "text/html; charset=utf-8", "mail.html")
