"""What answers say of a database that fails, and what may have been changed."""

import time

from support.shared import Client

BUSY, AWAY = "The database is busy. Try again.", "The database cannot be reached. Try again."
STATE_AWAY = "The state database cannot be reached. Try again."
DOUBTFUL = "whether the change was made is not known."


def wait_until(condition):
    """Wait for something to happen; AssertionError if it has not after a minute."""
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.01)


def waiting_for_a_lock(server) -> bool:
    """Check whether a transaction waits for another; innodb_trx would answer from a cache that reading it keeps."""
    return server.sql("SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'") != [
        ("Innodb_row_lock_current_waits", "0")
    ]


def held_against(outcomes: dict, database, letter: str):
    """Every name's answer is true: done as a whole, not at all, or said to be in doubt and one of the two."""
    assert {answer for answer in outcomes.values() if not answer[1].endswith(DOUBTFUL)} <= {
        (200, "ok"),
        (503, BUSY),
        (503, AWAY),
        (503, STATE_AWAY),
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
    doubtful = {name for name, (_, status) in outcomes.items() if status.endswith(DOUBTFUL)}
    assert done <= set(users) <= done | doubtful


def write_until(over, url: str, name: str, log: list):
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
