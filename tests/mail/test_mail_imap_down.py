"""The mailbox over IMAP when its server is away, slow or answers nonsense."""

import contextlib
import itertools

import pytest

from support import hostile
from support.imap_mailbox import BOB, CAROL, ask_mailbox, listed_ids
from support.instances import free_port
from support.mails import (
    deliver,
)
from support.site import Site

pytestmark = pytest.mark.every_engine


@pytest.fixture
def site(site_with_imap) -> Site:
    return site_with_imap


def speaking(*replies: bytes):
    """Greets, and answers each line with the next of the replies, TAG in it replaced; then says nothing more."""

    def behave(connection):
        yield b"* OK hello\r\n", 0
        tag = b""
        with connection.makefile("rb") as lines:
            for reply in (b"* CAPABILITY IMAP4rev1\r\nTAG OK done\r\n", *replies):
                line = lines.readline()
                tag = line.split()[0] if b" " in line else tag
                if reply is CLOSES:
                    return
                yield reply.replace(b"TAG", tag), 0
        yield from itertools.repeat((b"", 0.1))

    return behave


CLOSES = b""
IN = (b"+ \r\n", b"TAG OK done\r\n")
OPEN = (*IN, b"* 2 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\nTAG OK done\r\n")
LIST = b'* 1 FETCH (UID 1 FLAGS () INTERNALDATE "01-Nov-2015 17:46:40 +0000")\r\n'
SAYS_NO, LATE = "it refused", "it did not answer in time"
TROUBLE = {
    "silent": (hostile.silent, LATE),
    "dripping": (hostile.dripping, None),
    "no line": (hostile.endless_line, None),
    "log-in refused": (speaking(b"+ \r\n", b"TAG NO \x1b[2J secret\r\n"), "it refused the log-in"),
    "log-in hangs": (speaking(b"+ \r\n"), LATE),
    "INBOX refused": (speaking(*IN, b"TAG NO [SERVERBUG] \x1b[2J no\r\n"), "it refused INBOX"),
    "INBOX hangs": (speaking(*IN), LATE),
    "INBOX closes": (speaking(*IN, CLOSES), None),
    "no UIDVALIDITY": (speaking(*IN, b"* 1 EXISTS\r\nTAG OK done\r\n"), "it refused INBOX"),
    "list hangs": (speaking(*OPEN), LATE),
    "list stops": (speaking(*OPEN, LIST), LATE),
    "list refused": (speaking(*OPEN, b"TAG BAD what\r\n"), None),
    "mails hang": (speaking(*OPEN, LIST + b"TAG OK done\r\n"), LATE),
    "mails close": (speaking(*OPEN, LIST + b"TAG OK done\r\n", CLOSES), None),
    "mails refused": (speaking(*OPEN, LIST + b"TAG OK done\r\n", b"TAG NO [CORRUPTION] x\r\n"), SAYS_NO),
    "a mail without end": (
        speaking(*OPEN, LIST + b"TAG OK done\r\n", b"* 1 FETCH (UID 1 BODY[] {99999999999}\r\n"),
        None,
    ),
    "nonsense": (hostile.repeating(b"* OK {\r\n* 1 FETCH\r\n", b"\0\xff\r\n"), None),
}


@pytest.fixture
def broken(make_imap_site):
    """An installation whose IMAP service behaves like that; bob has a mail in the master database."""

    @contextlib.contextmanager
    def made(behave):
        with hostile.misbehaving_server(behave) as port:
            site = make_imap_site(url=f"imap://127.0.0.1:{port}")
            site.sql("INSERT INTO users (user_name) VALUES (?)", BOB)
            deliver(site, BOB)
            yield site

    return made


NEWS = b"* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n* 1 FETCH (FLAGS ())\r\n"
SIZE = b"* 3 FETCH (UID 3 RFC822.SIZE 30 FLAGS ())\r\n"
WHOLE = (
    b'* 3 FETCH (UID 3 FLAGS () BODY[] "Subject: \\"third\\"" INTERNALDATE "01-Nov-2015 17:46:40 +0000")\r\n'
)
DONE = b"TAG OK done\r\n"


@pytest.mark.parametrize(
    ("replies", "answered"),
    [
        ([NEWS + DONE], {"status": "mail not found"}),
        ([NEWS + SIZE + DONE, NEWS + DONE], {"status": "mail not found"}),
        ([NEWS + SIZE + DONE, NEWS + WHOLE + NEWS + DONE], {"file": b'Subject: "third"'}),
    ],
    ids=["gone", "going", "there"],
)
def test_news_of_another_mail_is_not_taken_for_the_one_asked_for(broken, replies, answered):
    with broken(speaking(*OPEN, *replies)) as site:
        answer = ask_mailbox(site, "raw", mail_id=3, mail_sourcedb="imap")
    assert answer.items() >= answered.items()


@pytest.mark.parametrize("trouble", TROUBLE)
def test_the_other_places_answer_and_the_reason_is_told_in_time(broken, trouble):
    behave, why = TROUBLE[trouble]
    with broken(behave) as site:
        browser = site.browser()
        browser.post_json("/", {"auth": {"user_name": BOB, "password": "test"}})
        answer = browser.post_json("/mailbox/?get").json
    assert (trouble, answer["status"], listed_ids(answer | {"status": "ok"})) == (
        trouble,
        "warning",
        [("master", 1)],
    )
    assert answer["warning"].startswith("The imap service cannot be used: " + (why or "")), answer["warning"]
    assert (
        answer["warning"].isprintable() and len(answer["warning"]) < 300 and "secret" not in answer["warning"]
    )


def test_every_action_says_so_when_it_is_down(make_imap_site):
    site = make_imap_site(url=f"imap://127.0.0.1:{free_port()}")
    site.sql("INSERT INTO users (user_name) VALUES (?)", BOB)
    deliver(site, BOB)
    down = "The imap service cannot be used: Connection refused."
    for action, key, there in (
        ("get", "mails", 1),
        ("search", "mails", 1),
        ("threads", "threads", 1),
        ("unread_count", "unread_counts", 1),
    ):
        answer = ask_mailbox(site, action)
        assert (answer["status"], answer["warning"], len(answer[key])) == ("warning", down, there)
    answer = ask_mailbox(site, "read", mail_id=1)
    assert (answer["warning"], answer["mail"]["mail_sourcedb"]) == (down, "master")
    before = site.dump()
    for action in ("unread", "delete"):
        assert ask_mailbox(site, action, mail_id=1)["status"] == down
    for action in ("read", "raw", "parts", "html", "unread", "delete"):
        assert ask_mailbox(site, action, mail_id=1, mail_sourcedb="imap")["status"] == down
        assert ask_mailbox(site, action, mail_id=2)["status"] == down
    assert site.dump() == before


def test_two_places_out_of_reach_are_both_named(make_imap_site):
    site = make_imap_site(url=f"imap://127.0.0.1:{free_port()}")
    site.sql("INSERT INTO users (user_name, user_database) VALUES (?, '/nowhere/x')", BOB)
    assert ask_mailbox(site, "get")["warning"] == (
        f"Cannot open userdb from user: {BOB} The imap service cannot be used: Connection refused."
    )


NO_NAME, NO_LOG_IN = "it takes no such user name", "it refused the log-in"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ('o"b\\x@corp.org', NO_NAME),  # a path or a pattern, to some server
        ("a*b@corp.org", NO_NAME),
        ("%@corp.org", NO_NAME),
        ('o"b@corp.org', NO_LOG_IN),
        ("jörg@corp.org", NO_LOG_IN),
        ("{5}@corp.org", NO_LOG_IN),
    ],
)
def test_a_name_is_never_part_of_a_command(site, imap_users, name, why):
    imap_users.sql(
        "INSERT INTO accounts SELECT NULL, 1, %s, password, 1, dateModified, dateCreate, 0, '', NULL, NULL, NULL,"
        " NULL, NULL, 1, 0, 1, '', 1 FROM accounts WHERE accountId = 4",
        name,
    )
    answer = ask_mailbox(site, "get", user=name)
    assert (answer["status"], answer["warning"]) == (
        "warning",
        f"The imap service cannot be used: {why}.",
    )


def test_one_user_leaves_connections_to_others(site):
    """Each may be used for 30 seconds, and there are six: with all of them one user shut the others out."""
    limit = site.app.modules["mailbox"].kinds[-1].keywords["limit"]
    limit.wait = 0
    with contextlib.ExitStack() as running:
        for _ in range(4):
            running.enter_context(limit.of(BOB))
        refused = ask_mailbox(site, "get")
        assert refused["warning"] == "The imap service cannot be used: too many are waiting for it."
        assert ask_mailbox(site, "get", user=CAROL)["status"] == "ok"
    assert ask_mailbox(site, "get")["status"] == "ok" and not limit.running
