"""Conversion of a mail to the text that a person would read: the field `mail_text` of `mailbox/?read`."""

import re
from collections.abc import Iterator
from io import StringIO

from .html_text import MAX_LENGTH, html_text
from .message_parser import ReceivedMessage
from .tnef import is_tnef

PLAIN_TYPES = ("text/plain", "text/enriched", "text/markdown", "text/x-markdown")
SUMMARY = re.compile(r"(?im)^SUMMARY(?:;[^:\r\n]*)?:([^\r\n]{0,200})")
START = re.compile(r"(?im)^DTSTART(?:;[^:\r\n]*)?:(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d))?")
FOLD = re.compile(r"\r?\n[ \t]")  # within a long line (RFC 5545, 3.1)
ESCAPED = re.compile(r"\\(?:[nN]|(.))")  # 3.3.11; \n is a line break
EVENT = re.compile(r"(?im)^BEGIN:VEVENT\r?$")
WINMAIL = "[Attachments in a format of Microsoft Outlook (winmail.dat)]"
# Descriptions of parts that cannot be shown as text, by content type.
DESCRIPTIONS = {
    "application/pgp-encrypted": "[Encrypted message: PGP/MIME]",
    "application/pgp-signature": "[Signature: PGP/MIME]",
    "application/pkcs7-signature": "[Signature: S/MIME]",
    "application/x-pkcs7-signature": "[Signature: S/MIME]",
}
PKCS7_MIME = ("application/pkcs7-mime", "application/x-pkcs7-mime")
# As of str.splitlines. An end of the text after a line's end is no line.
LINE = re.compile(
    "(?!\\Z)([^\r\n\v\f\x1c-\x1e\x85\u2028\u2029]*)(?:\r\n|[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]|\\Z)"
)
SIGNATURE = "-- "  # the line before one


class HTMLConverter:
    """Converts the HTML in the parts of one mail to plain text: 1,000,000 characters of all parts together."""

    def __init__(self) -> None:
        self.left = MAX_LENGTH

    def text(self, source: str) -> str:
        """Convert the HTML of the next part. An ellipsis replaces what is too much in the first such part.

        Return "" for the parts after that one.
        """
        if self.left < 0:
            return ""
        text = html_text(source, self.left)
        self.left -= len(source)
        return text


def mail_text(message: ReceivedMessage) -> str:
    """Return the text of a mail for people to read, without attachments; "" if there is none.

    Plain text is preferred to HTML. A line such as `[Encrypted message: PGP/MIME]` replaces other content.
    """
    return "\n\n".join(texts(message, HTMLConverter()))


def texts(part: ReceivedMessage, html: HTMLConverter) -> Iterator[str]:
    """Yield the readable texts in a part of a mail and in the parts inside it. Empty texts are left out.

    `html` converts the HTML of the whole mail.
    """
    kind = part.get_content_type()
    if not part.is_multipart():
        if kind.startswith("multipart/"):  # whose parts cannot be found
            kind = "text/plain"
        if (text := part_text(part, kind, html).strip("\r\n")).strip():
            yield text
    else:
        children = [child for child in part.get_payload() if isinstance(child, ReceivedMessage)]
        if kind == "multipart/alternative":
            yield from best_alternative(children, html)
        elif kind == "multipart/encrypted":
            yield DESCRIPTIONS["application/pgp-encrypted"]
        elif kind == "multipart/related":
            yield from texts(main_part(part, children), html)
        elif kind == "multipart/digest":
            for child in children:
                yield from digest_texts(child, html)
        elif kind.startswith("multipart/"):
            for child in children:
                yield from texts(child, html)


def best_alternative(children: list[ReceivedMessage], html: HTMLConverter) -> Iterator[str]:
    """Yield the texts of the best part of a multipart/alternative, then a line for each of its calendars.

    `children` are the alternatives. The best one is plain text, or else the last one that has a text. `html` converts
    the HTML of the whole mail.
    """
    kinds = [(child.get_content_type(), child) for child in children]
    plain = [child for kind, child in kinds if kind in PLAIN_TYPES]
    others = [child for kind, child in reversed(kinds) if kind not in (*PLAIN_TYPES, "text/calendar")]
    # Only until one has a text: converting HTML that nobody sees would take most of the time.
    yield from next(filter(None, (list(texts(child, html)) for child in plain + others)), [])
    for kind, child in kinds:
        if kind == "text/calendar":
            yield from texts(child, html)


def main_part(part: ReceivedMessage, children: list[ReceivedMessage]) -> ReceivedMessage:
    """Return the main part among `children`, the parts of a multipart/related (RFC 2387).

    The parameter `start` of Content-Type is the id of the main part. Without it, the first part is the main part.
    """
    start = part.content_field("content-type").parameters.get("start", "").strip("<> ")
    named = (child for child in children if start and child.field("content-id").strip("<> ") == start)
    return next(named, children[0])


def digest_texts(child: ReceivedMessage, html: HTMLConverter) -> Iterator[str]:
    """Yield a text for each mail in `child`, a part of a multipart/digest: its subject and its readable texts.

    `html` converts the HTML of the whole mail.
    """
    mails = child.get_payload() if child.is_multipart() else [child]
    for mail in mails:
        if isinstance(mail, ReceivedMessage):
            yield "\n\n".join(filter(None, [mail.field("subject"), *texts(mail, html)]))


def part_text(part: ReceivedMessage, kind: str, html: HTMLConverter) -> str:
    """Return the readable text of a part that contains no other parts; "" for an attachment.

    `kind` is the content type. For an encrypted message, for example, return `[Encrypted message: PGP/MIME]`. `html`
    converts the HTML of the whole mail.
    """
    if kind in PKCS7_MIME:
        smime = part.content_field("content-type").parameters.get("smime-type", "").lower()
        return f"[{'Signed' if smime == 'signed-data' else 'Encrypted'} message: S/MIME]"
    if kind in DESCRIPTIONS:
        return DESCRIPTIONS[kind]
    if is_tnef(kind, part.get_filename("")):
        return WINMAIL
    if kind == "text/calendar":
        return calendar_line(part.readable_text())
    return "" if is_attachment(part) else text_without_markup(part, kind, html)


def is_attachment(part: ReceivedMessage) -> bool:
    """Return whether a part is marked as an attachment, or has a file name and is not marked as inline."""
    disposition = part.content_field("content-disposition").value
    return disposition == "attachment" or bool(part.get_filename()) and disposition != "inline"


def text_without_markup(part: ReceivedMessage, kind: str, html: HTMLConverter) -> str:
    """Return the plain text of a part with the content type `kind`; "" if it is neither plain text nor HTML.

    `html` converts HTML to plain text. The broken lines of format=flowed are joined.
    """
    if kind == "text/html":
        return html.text(part.readable_text())
    if kind not in PLAIN_TYPES:
        return ""
    parameters = part.content_field("content-type").parameters
    if parameters.get("format", "").lower() == "flowed":
        return unflow(part.readable_text(), parameters.get("delsp", "").lower() == "yes")
    return part.readable_text()


def unflow(text: str, delete_space: bool = False) -> str:
    """Join the short lines into which mail programs break paragraphs in format=flowed (RFC 3676).

    With `delete_space`, also remove the blank before each break, as the parameter DelSp=yes demands.
    """
    joined = StringIO()  # a list of short lines would take 200 times the memory of the text
    flows, depth_before = False, 0  # of the line before: whether it goes on, and its depth of quoting
    for line in (match[1] for match in LINE.finditer(text)):  # nor are the lines split all at once
        depth = len(line) - len(line.lstrip(">"))
        content = line[depth:].removeprefix(" ")  # which the sender stuffed
        is_signature = content == SIGNATURE
        if not flows or is_signature or depth != depth_before:
            joined.write(f"\n{'>' * depth}{' ' * (depth > 0)}")
        flows, depth_before = content.endswith(" ") and not is_signature, depth
        joined.write(content[:-1] if flows and delete_space else content)
    return joined.getvalue()[1:] + "\n" if text else ""


def calendar_line(text: str) -> str:
    """Return a line that describes an iCalendar text, such as `[Calendar: Meeting, 2026-11-27 10:00]`."""
    text = FOLD.sub("", text)
    event = EVENT.search(text)
    begin = event.start() if event else 0
    summary, start = SUMMARY.search(text, begin), START.search(text, begin)
    when = "-".join(start.groups()[:3]) + (f" {start[4]}:{start[5]}" if start[4] else "") if start else ""
    what = ESCAPED.sub(lambda match: match[1] or " ", summary[1].strip()) if summary else ""
    described = ", ".join(filter(None, [what, when]))
    return f"[Calendar: {described}]" if described else "[Calendar]"
