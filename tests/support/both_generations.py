"""Requests and rows in the words of both generations."""

import contextlib
import re
import sqlite3


def assert_refused(site, url, status, http=200, **fields) -> dict:
    """Check that a request is answered with this status and changes nothing; return the answer."""
    before = site.dump()
    answer = site(url, check=http, **fields)
    assert answer["status"] == status
    assert site.dump() == before
    return answer


def assert_done(site, url, **fields) -> dict:
    """Check that a request is answered with "ok"; return the answer."""
    answer = site(url, **fields)
    assert answer["status"] == "ok"
    return answer


def permission_word(site) -> str:
    """Return the word that the generation has for a permission."""
    return {9: "permission", 8: "right"}[site.generation]


def add_address(site, order, expression, user, router="store"):
    """Store a row of addresses."""
    if site.generation == 9:
        site.sql("INSERT INTO addresses VALUES (?, ?, ?, ?)", expression, order, router, user)
    else:
        site.sql("INSERT INTO addresses VALUES (?, ?, ?)", expression, order, user)


def update_fields(site, order, expression, user, **other) -> dict:
    """Return the fields of addresses/?update."""
    if site.generation == 8:
        return {"address_expression": expression, "address_user": user, "address_order": order} | other
    return {
        "address_expression": expression,
        "address_old_order": order,
        "address_order": order,
        "address_router": "store",
        "address_route": user,
    } | other


def stored_addresses(site) -> list:
    """Return the rows of addresses by their order."""
    return site.sql("SELECT * FROM addresses ORDER BY address_order")


def logged_in_user(browser) -> str | None:
    """Return the user whose session a browser has, or None."""
    answer = browser.post("/", b"").json
    assert answer["login"] is ("auth_user" in answer)
    return answer.get("auth_user")


def store_mail(site, user, data=b"Subject: hello\r\n\r\ntext\r\n", path=None) -> int:
    """Store a mail as the SMTP daemon does, raw bytes in a TEXT; return its id."""
    statement = (
        "INSERT INTO mailbox (mail_user, mail_envelopeto, mail_envelopefrom, mail_submission, mail_data)"
        " VALUES (?, 'to@one.org', 'from@one.org', '1700000000', CAST(? AS TEXT))"
    )
    if path is None:
        return site.insert(statement, user, data)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, (user, data)).lastrowid


def make_user_database(site, *users) -> str:
    """Make a mailbox file that these users share; return its path."""
    path = str(site.file.parent / "user.db3")
    with contextlib.closing(sqlite3.connect(site.file)) as master:
        schema = master.execute("SELECT sql FROM sqlite_master WHERE name = 'mailbox'").fetchone()[0]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(
            re.sub(r" REFERENCES users \(user_name\) ON DELETE CASCADE ON UPDATE CASCADE", "", schema)
        )
        connection.execute("CREATE TABLE meta (key TEXT, value TEXT)")
    for user in users:
        site.sql("UPDATE users SET user_database = ? WHERE user_name = ?", path, user)
    return path


def mail_rows(path) -> list:
    """Return id, user and read mark of every mail in a file."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT mail_id, mail_user, mail_read FROM mailbox ORDER BY mail_id"
        ).fetchall()


def listed_orders(answer) -> list:
    """Return the orders of the addresses in an answer."""
    return [row["address_order"] for row in answer["addresses"]]
