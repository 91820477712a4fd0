"""Conversion of a mail to harmless HTML: to a piece of HTML, or to a whole page (`mailbox/?view`)."""

import html
from dataclasses import dataclass

from mailapi import File

from .mail_text import mail_text
from .message_parser import parse_headers, parse_message
from .parts import InlineImages, Part, html_of, parts
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


def mail_page(raw: bytes) -> Page:
    """Return the mail `raw` as a harmless page of HTML. If the mail has no HTML, the page shows its text."""
    safe = sanitized_html(parts(raw)).html
    safe = safe or TEXT.format(text=html.escape(mail_text(parse_message(raw))))
    title = html.escape(parse_headers(raw).field("subject"))
    page = PAGE.format(title=title, body=safe)
    return Page(page.encode("utf-8", "replace"), "text/html; charset=utf-8", "mail.html")
