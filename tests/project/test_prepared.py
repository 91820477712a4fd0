"""No SQL text is built while a request waits: each statement is compiled at its first use, and never again.

Every action answers the requests of the permission table, each for every role; then all of that again, counted.
"""

import contextlib
import os
import sys
from collections import Counter

import peewee
import pytest

import mailapi
from support.permission_table import PREPARATIONS, ROLES, TABLE, add_targets, ask_as
from support.site import OPTIONAL, PERMISSIONS, Site

pytestmark = [pytest.mark.every_engine]
if "MAILAPI_TEST_DB" in os.environ:  # with a server it takes a minute
    pytestmark.append(pytest.mark.slow)

# What peewee does without building a query: it opens a file anew, and translates sqlite3's exceptions.
NO_BUILDERS = ("ExceptionWrapper.", "reraise", "Database.", "SqliteDatabase.", "_Connection")
PAGED = {"users": "after=a&search=b", "pop": "search=a", "addresses": "test=ann@corp.org&after=99"}
FILTERS = {
    "audit": [
        {"audit_user": "ann", "audit_action": "get"},
        {"since": 1, "until": 2**40},
        {"since": 1},
        {"until": 2**40, "before": 10},
    ],
    "queue": [
        {"mail_id": [1, 2], "mail_submitter": "ann"},
        {"mail_envelopeto": "@else.example", "mail_state": "deferred"},
        {"mail_state": "waiting", "after": 1},
        {"mail_id": [1, 2, 3], "mail_state": "failed", "mail_remote": "@x"},
    ],
    "mailbox": [{"mail_only_unread": 1}],
}


class BuilderCalls:
    """Count the calls of peewee's query builder in a block, by the name of the function."""

    def __enter__(self) -> Counter:
        self.calls: Counter = Counter()
        sys.setprofile(self.profile)
        return self.calls

    def profile(self, frame, event, argument):
        code = frame.f_code
        if event == "call" and code.co_filename == peewee.__file__:
            if not code.co_qualname.startswith(NO_BUILDERS):
                self.calls[code.co_qualname] += 1

    def __exit__(self, *_):
        sys.setprofile(None)


def requests(generation: int):
    """Yield path, action, fields, and the SQL that the action needs to have something to do."""
    for path, action, fields, generations, *_ in TABLE:
        if generation in generations:
            yield path, action, fields, PREPARATIONS.get((path, action), "SELECT 1")
    for path, query in PAGED.items():
        yield path, f"get&{query}", {}, "SELECT 1"
    for path, filters in FILTERS.items():
        yield from ((path, "get", fields, "SELECT 1") for fields in filters)


@pytest.fixture(params=[9, 8], ids=["generation9", "generation8"])
def furnished(request, tmp_path) -> Site:
    site = Site(tmp_path, request.param, OPTIONAL, delegates_add_users=True)
    add_targets(site)
    return site


def test_each_action_builds_no_sql_after_its_first_request(furnished):
    saved, built = furnished.save(), {}
    for counted in (False, True):
        for path, action, fields, ready in requests(furnished.generation):
            for role in ROLES:
                furnished.restore(saved)
                furnished.sql(ready)
                with BuilderCalls() if counted else contextlib.nullcontext() as calls:
                    ask_as(furnished, path, action, fields, role)
                if calls:
                    built[path, action, str(fields), role] = dict(calls)
    assert built == {}


def test_a_query_that_is_built_for_the_request_is_counted(furnished):
    names = mailapi.PreparedQuery(mailapi.Users.select(mailapi.Users.user_name))
    furnished.app.db.connect()
    assert len(furnished.app.db.column(names)) == len(PERMISSIONS)
    with BuilderCalls() as calls:
        furnished.app.db.column(names)
    assert not calls
    with BuilderCalls() as calls:
        furnished.app.db.column(mailapi.Users.select(mailapi.Users.user_name))
    assert calls["Context.__init__"] == 1 and calls["BaseQuery.__init__"] == 1
    furnished.app.db.close()
