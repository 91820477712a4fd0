"""The pages about the visitor's mail in threads: their list with its search, and all mails of one."""

from .filters import has_filters
from .mail import ON_PAGE, of_mail
from .templates import link
from .visitor import Visitor

MOST_OPEN = 10  # mails of a thread that its page shows with their texts
LONGEST_TEXT = 20_000  # characters of such a mail
MOST_WRITERS = 4  # named in the list
DEEPEST = 4  # steps to the right on the page of a thread
KEY = ("mail_id", "mail_sourcedb")


def threads(visitor: Visitor) -> dict:
    """Find a page of the visitor's threads, all of them or those in which a search finds a mail."""
    terms = {name: visitor.query(name) for name in ("text", "unread", "next")}
    fields = {name: value for name, value in terms.items() if value}
    found = visitor.run("mailbox", "threads", fields, limit=ON_PAGE)
    return {
        "threads": [in_short(thread["mails"]) for thread in found["threads"]],
        "terms": terms,
        "filters": has_filters(visitor),
        "more": link("threads", **visitor.query.without("next"), next=found["next"]) if found["next"] else "",
    }


def in_short(mails: list[dict]) -> dict:
    """Return the entry of a thread in the list: writers, subject, number of mails and unread ones, newest mail."""
    by_time = sorted(mails, key=sent)
    alone, newest = len(mails) == 1, {name: by_time[-1][name] for name in KEY}
    return {
        "writers": list(dict.fromkeys(map(writer, by_time)))[:MOST_WRITERS],
        "subject": mails[0]["mail_subject"],
        "count": len(mails),
        "unread": sum(not mail["mail_read"] for mail in mails),
        "when": by_time[-1]["mail_submission"],
        "address": link("message", **newest) if alone else link("thread", **newest) + "#newest",
    }


def sent(mail: dict) -> tuple:
    """Return the key by which the mails of a thread are sorted. Mails with an invalid time come first."""
    time = mail["mail_submission"]
    return time if isinstance(time, (int, float)) else 0, mail["mail_id"]


def writer(mail: dict) -> str:
    """Return the writer of a mail: the name in From, or else the address."""
    sender = mail["mail_from"] or mail["mail_envelopefrom"] or ""
    return sender.partition("<")[0].strip(' "') or sender


def thread(visitor: Visitor) -> dict:
    """Find all mails of a thread. The newest and some unread ones come with their texts, and are marked as read."""
    (found,) = visitor.run("mailbox", "threads", of_mail(visitor))["threads"]
    mails = found["mails"]
    newest = max(mails, key=sent)
    unread = [mail for mail in sorted(mails, key=sent) if not mail["mail_read"] and mail is not newest]
    for mail in [newest, *unread[: MOST_OPEN - 1]]:
        named = {name: mail[name] for name in KEY}
        mail["text"] = visitor.run("mailbox", "read", named | {"mail_details": "1"})["mail"]["mail_text"]
    return {
        "mails": [shown(mail) for mail in mails],
        "newest": {name: newest[name] for name in KEY},
        "subject": mails[0]["mail_subject"],
    }


def shown(mail: dict) -> dict:
    """Return a mail with what the page of its thread shows."""
    text = mail.get("text")
    return {
        "from": mail["mail_from"] or mail["mail_envelopefrom"],
        "when": mail["mail_submission"],
        "was_read": mail["mail_read"],
        "text": text and text[:LONGEST_TEXT],
        "is_open": text is not None,
        "is_cut": len(text or "") > LONGEST_TEXT,
        "depth": min(mail["mail_depth"], DEEPEST),
        "named": {name: mail[name] for name in KEY},
    }
