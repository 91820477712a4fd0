"""The panel's pages for mail: the list with its search, one mail with its parts, and a new mail."""

import base64

import bottle

from mailapi import SMALL_BODY, ApiError

from ..mail.mime import MAX_FILE_NAME
from ..mail.parts import Part, parts
from ..mail.reply import ids_in, reply_subject, sendable_subject, shortened, written
from .filters import has_filters
from .responses import download, mail_html, response
from .templates import link, size
from .visitor import Visitor

ON_PAGE = 50  # mails
MOST_WRITERS = 4  # of a thread that the list names
KEY = ("mail_id", "mail_sourcedb")  # the fields that identify a mail
LONGEST_TEXT = 1_000_000  # characters of a mail that its page shows
LONGEST_QUOTE = 100_000  # characters of a mail that an answer quotes


def mail(visitor: Visitor) -> dict:
    """Return the template's values for a page of the user's mails: {"rows": [{…}, …], …}.

    If the URL has a search, only the mails that it finds are listed.
    """
    terms = {name: visitor.query(name) for name in ("text", "unread", "next")}
    fields = {name: value for name, value in terms.items() if value}
    found = visitor.run("mailbox", "search", fields, limit=ON_PAGE)
    return {
        "rows": [list_row([row]) for row in found["mails"]],
        "terms": terms,
        "filters": has_filters(visitor),
        "more": link("mail", **visitor.query.without("next"), next=found["next"]) if found["next"] else "",
    }


def list_row(mails: list[dict]) -> dict:
    """Return one row of the list of mails or threads: {"writers": ["Bob"], "subject": "Lunch", "count": 2, …}.

    `mails` is a single mail, or all mails of a thread.
    """
    by_time = sorted(mails, key=sort_key)
    newest, alone = {name: by_time[-1][name] for name in KEY}, len(mails) == 1
    return {
        "writers": list(dict.fromkeys(writer(mail, alone) for mail in by_time))[:MOST_WRITERS],
        "subject": mails[0]["mail_subject"],
        "count": len(mails),
        "unread": sum(not mail["mail_read"] for mail in mails),
        "when": by_time[-1]["mail_submission"],
        "address": link("message", **newest) if alone else link("thread", **newest) + "#newest",
    }


def sort_key(mail: dict) -> tuple:
    """Return (time, id) of a mail, by which the mails of a thread are sorted. An invalid time is taken as 0."""
    time = mail["mail_submission"]
    return time if isinstance(time, (int, float)) else 0, mail["mail_id"]


def writer(mail: dict, in_full: bool) -> str:
    """Return the sender of a mail: "Bob <bob@example.org>" if `in_full`, else "Bob".

    A sender without a name is returned as the address.
    """
    sender = mail["mail_from"] or mail["mail_envelopefrom"] or ""
    return sender if in_full else sender.partition("<")[0].strip(' "') or sender


def unread(visitor: Visitor) -> bottle.HTTPResponse:
    """Return a plain-text response with the number of unread mails, such as "3", for a script on the page."""
    count = visitor.run("mailbox", "unread_count")["unread_count"]
    return response(visitor, str(count).encode(), 200, [("Content-Type", "text/plain; charset=UTF-8")])


def mail_fields(visitor: Visitor) -> dict[str, str]:
    """Return the fields of the URL that identify a mail: {"mail_id": "7", "mail_sourcedb": "imap"}."""
    return {name: visitor.query(name) for name in KEY}


def message(visitor: Visitor) -> dict:
    """Mark a mail as read, and return the template's values for its page.

    For example {"mail": {"mail_text": …, …}, "attachments": [{…}, …], …}.
    """
    named = mail_fields(visitor)
    found = visitor.run("mailbox", "read", named | {"mail_details": "1"})["mail"]
    found["mail_text"] = found["mail_text"][:LONGEST_TEXT]
    del found["mail_data"], found["mail_body"]
    parts = visitor.run("mailbox", "parts", named)["mail_parts"]
    named["mail_sourcedb"] = found["mail_sourcedb"]
    has_html = any(part["content_type"] == "text/html" and not part["attached"] for part in parts)
    return {
        "mail": found,
        "named": named,
        "attachments": [part for part in parts if part["attached"]],
        "shows_html": has_html and not visitor.query("plain"),
        "has_html": has_html,
    }


def message_html(visitor: Visitor) -> bottle.HTTPResponse:
    return mail_html(visitor, visitor.run("mailbox", "html", mail_fields(visitor))["mail_html"])


def message_part(visitor: Visitor) -> bottle.HTTPResponse:
    return download(
        visitor, visitor.run("mailbox", "attachment", mail_fields(visitor) | {"part": visitor.query("part")})
    )


def message_raw(visitor: Visitor) -> bottle.HTTPResponse:
    return download(visitor, visitor.run("mailbox", "raw", mail_fields(visitor)))


def write(visitor: Visitor) -> dict:
    """Return the template's values for the page that writes a mail: {"start": {"to": …, "text": …, …}, …}.

    `start` has what the inputs contain at first, from the URL or from the mail to answer or forward. `files` has the
    (number, name and size) of each attachment that can be forwarded.
    """
    start = {name: visitor.query(name) for name in ("to", "cc", "subject")} | {"text": ""}
    answer = visitor.query("answer")
    folded = ("cc", "bcc", "from")
    values = {
        "files": files_to_forward(visitor) if answer == "forward" else [],
        "opened": start["cc"] or visitor.blamed in folded or any(map(visitor.form, folded)),
    }
    if not answer or visitor.problem:
        return values | {
            "start": start,
            "in_reply_to": visitor.form("in_reply_to"),
            "references": visitor.form("references"),
        }
    found = visitor.run("mailbox", "read", mail_fields(visitor) | {"mail_details": "1"})["mail"]
    subject = found["mail_subject"]
    quoted = found["mail_text"][:LONGEST_QUOTE].replace("\r\n", "\n").rstrip()
    if answer == "forward":
        text = f"\n\n{visitor.t.forwarded}\n{visitor.t.from_}: {found['mail_from']}\n{visitor.t.subject}: {subject}\n\n{quoted}"
    else:
        named = found["mail_addresses"]
        writers = [each for each in named["reply_to"] or named["from"] if each["address"]]
        start["to"] = ", ".join(map(written, writers))
        lines = "\n".join(f"> {line}" for line in quoted.split("\n"))
        text = f"\n\n{visitor.t.wrote.format(name=found['mail_from'])}\n{lines}"
    start |= {"subject": subject_of(answer, subject), "text": text}
    ids = ("", "") if answer == "forward" else (found["mail_message_id"], found["mail_references"])
    answered, references = map(ids_in, ids)
    return values | {
        "start": start,
        "in_reply_to": " ".join(answered[:1]),
        "references": shortened(references),
    }


def files_to_forward(visitor: Visitor) -> list[tuple[str, str]]:
    """Return (number, name and size) of each attachment of the mail to forward: [("2", "a.pdf (12 KB)")].

    If a form was refused because the mail is gone, return [], so that the rest of the form is not lost.
    """
    try:
        named = ((part, part.file()) for part in attached_parts(visitor))
        return [(str(part.number), f"{file.name} ({size(len(file.content))})") for part, file in named]
    except ApiError:
        if not visitor.problem:
            raise
        return []


def attached_parts(visitor: Visitor) -> list[Part]:
    """Return the attachments of the mail that the URL names."""
    raw = visitor.run("mailbox", "raw", mail_fields(visitor)).content
    return [part for part in parts(raw) if part.attached]


def forwarded_files(visitor: Visitor) -> list[dict]:
    """Return the chosen attachments of the mail that is forwarded, as in the field `attachments` of `mailbox/?send`.

    The memory that sending them takes is reserved, as for files that the form has.
    """
    if not (chosen := set(visitor.form.all("part"))):
        return []
    files = [part.file() for part in attached_parts(visitor) if str(part.number) in chosen]
    needed = 6 * sum(len(file.content) for file in files)
    if needed > SMALL_BODY:
        visitor.handler.reserved += visitor.app.large_bodies.take(needed)
    return [
        {
            "filename": sendable_subject(file.name)[-MAX_FILE_NAME:],
            "content_type": file.content_type,
            "data": base64.b64encode(file.content).decode(),
        }
        for file in files
    ]


def subject_of(answer: str, subject: str) -> str:
    """Return the subject of a reply, such as "Re: Lunch"; if `answer` is "forward", "Fwd: Lunch".

    `subject` is the subject of the original mail.
    """
    if answer != "forward":
        return reply_subject(subject)
    subject = sendable_subject(subject)
    return subject if subject[:4].lower() == "fwd:" else f"Fwd: {subject}"


def send(visitor: Visitor) -> tuple[str, str]:
    """Send the mail that was written in the form.

    Return the page to redirect to, and the name of the message on it: ("mail", "mail_sent").
    """
    fields: dict = {
        name: visitor.form(name)
        for name in ("from", "to", "cc", "bcc", "subject", "in_reply_to", "references")
    }
    fields = {name: value for name, value in fields.items() if value}
    fields["text"] = visitor.form.exactly("text").replace("\r\n", "\n")
    fields["attachments"] = forwarded_files(visitor) + [
        {
            "filename": file["filename"].replace("\\", "/").rpartition("/")[2],
            "content_type": file["type"] or "application/octet-stream",
            "data": base64.b64encode(file["content"]).decode(),
        }
        for name, file in visitor.form.files
        if name == "attachments"
    ]
    visitor.run("mailbox", "send", fields)
    return "mail", "mail_sent"


def change_mail(visitor: Visitor) -> tuple[str, str]:
    """Mark a mail as unread, or delete it, as the form says.

    Return the page to redirect to, and the name of the message on it: ("mail", "mail_delete").
    """
    change = visitor.form("change")
    if change not in ("unread", "delete"):
        raise ApiError(visitor.t.no_such_page, http=404)
    visitor.run("mailbox", change, {name: visitor.form(name) for name in ("mail_id", "mail_sourcedb")})
    return "mail", f"mail_{change}"
