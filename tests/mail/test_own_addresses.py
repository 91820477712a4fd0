"""Which patterns of addresses are compared to find out whether a user may send from an address."""

import pytest

from support.outgoing import ONE_RECIPIENT, allow_sending, send_mail


@pytest.mark.parametrize("router, most", [("any", 0), ("defined", 1)])
def test_no_patterns_of_other_users_are_compared_with_senders(site, router, most):
    """It happens under the write lock, and a delegate may store thousands of patterns that take long."""
    allow_sending(site, router)
    site.insert_many(
        "INSERT INTO addresses VALUES (?, NULL, 'store', 'bob')",
        [(f"%{number}%{'a' * 100}b%@else.org",) for number in range(20)],
    )
    compared, connection = [], site.app.db.connect()
    connection.create_function("like", 2, lambda *pair: compared.append(pair) or True)
    assert send_mail(site, sender="ann@one.org", **ONE_RECIPIENT)["status"] == "ok"
    assert site.app.db.connect() is connection and len(compared) == most
