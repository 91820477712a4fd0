"""The pages about the visitor's mail in threads: their list with its search, and all mails of one."""

from .filters import has_filters
from .mail import KEY, ON_PAGE, in_short, of_mail, sent
from .templates import link
from .visitor import Visitor

MOST_OPEN = 10  # mails of a thread that its page shows with their texts
LONGEST_TEXT = 20_000  # characters of such a mail
DEEPEST = 4  # steps to the right on the page of a thread


def threads(visitor: Visitor) -> dict:
    """Find a page of the visitor's threads, all of them or those in which a search finds a mail."""
    terms = {name: visitor.query(name) for name in ("text", "unread", "next")}
    fields = {name: value for name, value in terms.items() if value}
    found = visitor.run("mailbox", "threads", fields, limit=ON_PAGE)
    return {
        "rows": [in_short(thread["mails"]) for thread in found["threads"]],
        "terms": terms,
        "filters": has_filters(visitor),
        "more": link("threads", **visitor.query.without("next"), next=found["next"]) if found["next"] else "",
    }


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
    """Return a mail as the page of its thread shows it."""
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
