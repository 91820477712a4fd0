"""Deliberate differences from the original (docs/wire.md section 5): the mailbox."""

import pytest

from support.both_generations import (
    add_address,
    assert_done,
    assert_refused,
    mail_rows,
    make_user_database,
    store_mail,
)

pytestmark = pytest.mark.every_engine


@pytest.mark.parametrize("caller", ["bob", "dele", "root"])
@pytest.mark.parametrize("action", ["read", "unread", "delete"])
def test_f14_nobody_reads_marks_or_deletes_the_mail_of_others(either, caller, action):
    path = make_user_database(either, "ann", caller)
    there = store_mail(either, "ann", path=path)
    here = store_mail(either, "ann")
    either.sql("UPDATE mailbox SET mail_read = 1")
    kept = mail_rows(path)
    for fields in (
        {"mail_id": here},
        {"mail_id": here, "mail_sourcedb": "master"},
        {"mail_id": there, "mail_sourcedb": "user"},
        {"mail_id": 999},
    ):
        answer = assert_refused(either, f"mailbox/?{action}", "mail not found", user=caller, **fields)
        assert "mail" not in answer
    assert mail_rows(path) == kept
    assert_done(either, f"mailbox/?{action}", user="ann", mail_id=there, mail_sourcedb="user")
    assert mail_rows(path) == {"read": [(1, "ann", 1)], "unread": [(1, "ann", 0)], "delete": []}[action]


def test_f15_mail_is_listed_from_both_databases(either):
    path = make_user_database(either, "ann", "bob")
    store_mail(either, "ann"), store_mail(either, "bob", path=path)
    store_mail(either, "ann", path=path), store_mail(either, "bob")
    assert_done(either, "mailbox/?read", user="ann", mail_id=1, mail_sourcedb="master")

    def listed(**fields):
        rows = assert_done(either, "mailbox/?get", user="ann", **fields)["mails"]
        assert {row["mail_user"] for row in rows} <= {"ann"}
        return sorted((row["mail_sourcedb"], row["mail_id"], row["mail_read"]) for row in rows)

    for everything in ({}, *({"mail_only_unread": no} for no in (False, 0, "0", "", None))):
        assert listed(**everything) == [("master", 1, 1), ("user", 2, 0)]
    for yes in (True, 1, "1"):
        assert listed(mail_only_unread=yes) == [("user", 2, 0)]


def test_f15_a_missing_user_database_is_a_warning_and_is_not_made(either):
    missing = either.file.parent / "missing.db3"
    either.sql("UPDATE users SET user_database = ? WHERE user_name = 'ann'", str(missing))
    store_mail(either, "ann")
    answer = either("mailbox/?get", user="ann")
    assert (answer["status"], answer["warning"]) == ("warning", "Cannot open userdb from user: ann")
    assert len(answer["mails"]) == 1 and not missing.exists()


def test_f16_bytes_that_are_not_utf8_are_replaced(either):
    raw = b"Subject: gr\xfc\xdfe\r\nFrom: \xff@one.org\r\n\r\nsch\xf6n\r\n"
    mail_id = store_mail(either, "ann", raw)
    either.sql("UPDATE mailbox SET mail_envelopefrom = CAST(x'ff40' AS TEXT)")
    listed = assert_done(either, "mailbox/?get", user="ann")["mails"][0]
    assert (listed["mail_subject"], listed["mail_from"]) == ("grüße", "ÿ@one.org")  # windows-1252
    assert (listed["mail_envelopefrom"], listed["mail_data"]) == ("\ufffd@", None)
    shown = assert_done(either, "mailbox/?read", user="ann", mail_id=mail_id)["mail"]
    assert shown["mail_data"] == raw.decode(errors="replace")
    assert shown["mail_body"] == "sch\ufffdn\r\n"
    assert either.sql("SELECT CAST(mail_data AS BLOB) FROM mailbox") == [(raw,)]


def test_f16_a_broken_byte_in_any_column_does_not_empty_a_list(either):
    add_address(either, 10, "a@corp.org", "ann")
    either.sql("UPDATE addresses SET address_expression = CAST(x'61ff' AS TEXT)")
    assert assert_done(either, "addresses/?get")["addresses"][0]["address_expression"] == "a\ufffd"


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
def test_f31_header_values_are_stripped_and_unfolded(either, newline):
    raw = newline.join(
        [b"Subject:   Hello", b" folded", b"\tworld  ", b"To:ann@one.org", b"From:", b" a@b.org"]
    )
    mail_id = store_mail(either, "ann", raw + 2 * newline)
    for row in (
        either("mailbox/?get", user="ann")["mails"][0],
        either("mailbox/?read", user="ann", mail_id=mail_id)["mail"],
    ):
        assert row["mail_subject"] == "Hello folded\tworld"
        assert (row["mail_to"], row["mail_from"]) == ("ann@one.org", "a@b.org")


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_f31_the_line_break_before_a_boundary_is_not_part_of_the_text(either, newline):
    lines = [
        "Content-Type: multipart/mixed; boundary=b",
        "",
        "--b",
        "Content-Type: text/plain",
        "",
        "one",
        "",
        "--b",
        "",
        "two",
        "--b",
        "Content-Type: text/plain",
        "",
        "  ",
        "--b--",
        "",
    ]
    mail_id = store_mail(either, "ann", newline.join(lines).encode())
    body = either("mailbox/?read", user="ann", mail_id=mail_id)["mail"]["mail_body"]
    assert body == f"one{newline}\n----\ntwo\n----\n"
