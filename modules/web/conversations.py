"""The panel's pages that show mail as threads: the list of threads with its search, and one thread."""

from mailapi import ApiError

from .filters import has_filters
from .mail import KEY, ON_PAGE, list_row, mail_fields, sort_key
from .templates import link
from .visitor import Visitor

MOST_TEXTS = 10  # mails of a thread that its page shows with their texts
LONGEST_TEXT = 20_000  # characters of such a mail
DEEPEST = 4  # steps to the right on the page of a thread


def threads(visitor: Visitor) -> dict:
    """Return the template's values for a page of the user's threads: {"rows": [{…}, …], …}.

    If the URL has a search, only threads with a mail that it finds are listed.
    """
    terms = {name: visitor.query(name) for name in ("text", "unread", "next")}
    fields = {name: value for name, value in terms.items() if value}
    found = visitor.run("mailbox", "threads", fields, limit=ON_PAGE)
    return {
        "rows": [list_row(thread["mails"]) for thread in found["threads"]],
        "terms": terms,
        "filters": has_filters(visitor),
        "more": link("threads", **visitor.query.without("next"), next=found["next"]) if found["next"] else "",
    }


def thread(visitor: Visitor) -> dict:
    """Return the template's values for the page of one thread: {"mails": [{…}, …], "subject": "Lunch"}.

    Up to MOST_TEXTS mails come with their text, and are marked as read: the newest one, then unread ones, then others.
    """
    named = mail_fields(visitor)
    found = visitor.run("mailbox", "threads", named)["threads"] if named["mail_id"] else []
    if len(found) != 1:  # the URL names no mail, or it was deleted just now
        raise ApiError(visitor.t.no_such_page, http=404)
    mails = found[0]["mails"]
    newest, *others = sorted(mails, key=sort_key, reverse=True)
    others.sort(key=lambda mail: bool(mail["mail_read"]))
    for mail in [newest, *others[: MOST_TEXTS - 1]]:
        fields = {name: mail[name] for name in KEY} | {"mail_details": "1"}
        # One character more shows that it is cut. Ten whole texts could be of 35 MB each.
        mail["text"] = visitor.run("mailbox", "read", fields)["mail"]["mail_text"][: LONGEST_TEXT + 1]
    return {
        "mails": [mail_values(mail, is_newest=mail is newest) for mail in mails],
        "subject": mails[0]["mail_subject"],
    }


def mail_values(mail: dict, is_newest: bool) -> dict:
    """Return the template's values for one mail of a thread, such as {"from": "Bob", "is_open": True, …}.

    A mail is open if it is the newest one (`is_newest`) or unread.
    """
    text = mail.get("text")
    return {
        "from": mail["mail_from"] or mail["mail_envelopefrom"],
        "when": mail["mail_submission"],
        "was_read": mail["mail_read"],
        "text": text and text[:LONGEST_TEXT],
        "has_text": text is not None,
        "is_cut": len(text or "") > LONGEST_TEXT,
        "is_newest": is_newest,
        "is_open": is_newest or not mail["mail_read"],
        "depth": min(mail["mail_depth"], DEEPEST),
        "named": {name: mail[name] for name in KEY},
    }
