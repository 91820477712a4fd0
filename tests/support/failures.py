"""The answers for a database that fails, and what may have been changed."""

import contextlib
import time

import pytest

from support.shared import Client, SiteOnServer, create_master_database

BUSY, UNREACHABLE = "The database is busy. Try again.", "The database cannot be reached. Try again."
STATE_UNREACHABLE = "The state database cannot be reached. Try again."
OUTCOME_UNKNOWN = "whether the change was made is not known."


def waiting_for_a_lock(server) -> bool:
    """Tell whether a transaction waits for another; innodb_trx would answer from a cache that reading it keeps."""
    return server.sql("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'") != [
        ("Innodb_row_lock_current_waits", "0")
    ]


def assert_answers_true(outcomes: dict, database, letter: str):
    """Check every answer against the rows: done whole, not at all, or said to be in doubt and one of the two."""
    assert {answer for answer in outcomes.values() if not answer[1].endswith(OUTCOME_UNKNOWN)} <= {
        (200, "ok"),
        (503, BUSY),
        (503, UNREACHABLE),
        (503, STATE_UNREACHABLE),
    }
    users = [
        name for (name,) in database.sql("SELECT user_name FROM users WHERE user_name LIKE %s", letter + "%")
    ]
    granted = [
        name
        for (name,) in database.sql("SELECT api_user FROM api_access WHERE api_user LIKE %s", letter + "%")
    ]
    assert sorted(users) == sorted(granted) and len(set(users)) == len(users)  # each whole, each once
    done = {name for name, (http, _) in outcomes.items() if http == 200}
    doubtful = {name for name, (_, status) in outcomes.items() if status.endswith(OUTCOME_UNKNOWN)}
    assert done <= set(users) <= done | doubtful


def add_users_until(over, url: str, name: str, log: list):
    """Add users, one request after the other, until the event `over` is set; append each outcome to the log."""
    client = Client()
    while client.log_in(url)[0] != 200:
        pass
    for number in range(100_000):
        if over.is_set():
            return
        began = time.monotonic()
        http, answer, headers = client.ask(
            url + "users/?add", user_name=f"{name}-{number}", user_permissions=["special"]
        )
        log.append((began, f"{name}-{number}", http, answer, headers))
        if http != 200:
            time.sleep(0.02)


UNUSABLE = "The database cannot be used. The log has the cause."
SECRETS = ("se/cret", "se%2Fcret", "pw-of-")


@pytest.fixture
def no_secrets(caplog):
    """Check after a test that no password is in the log."""
    yield
    assert not [secret for secret in SECRETS if secret in caplog.text]


@pytest.fixture
def site_on_mariadb(tmp_path, database):
    """A site whose databases are on a private MariaDB."""
    create_master_database(database.url)
    made = SiteOnServer(tmp_path / "site", database.url)
    yield made
    made.app.db.pool.close_idle(), made.app.state.pool.close_idle()


@contextlib.contextmanager
def second_client(server, database):
    """Yield the cursor of another client of the database."""
    import pymysql

    with contextlib.closing(
        pymysql.connect(
            unix_socket=str(server.folder / "socket"), user="root", database=database.name, charset="utf8mb4"
        )
    ) as connection:
        yield connection.cursor()
