"""Which rows of the table addresses a caller may see, among many rows and many delegated users."""

from types import SimpleNamespace

from mailapi_modules.mail.address_access import visibility

import mailapi  # noqa: F401 what makes mailapi_modules importable


class Names(list):
    """Names of users that may be read once, but not searched again for each row."""

    def __contains__(self, name):
        raise AssertionError("a row is compared with every name")


def test_rows_are_not_compared_with_every_delegated_user():
    caller = SimpleNamespace(
        admin=False,
        delegate=True,
        delegated_users=Names(["ann", "bob"]),
        may_manage=lambda expression: expression == "%@corp.org",
    )
    call = SimpleNamespace(generation=SimpleNamespace(number=9), user_name="dele", caller=caller)
    rows = [
        {"address_expression": expression, "address_router": router, "address_route": route}
        for expression, router, route in [
            ("a@one.org", "store", "ann"),
            ("b@one.org", "redirect", "ann"),
            ("%@corp.org", "store", "carol"),
            ("c@one.org", "store", "carol"),
        ]
    ]
    assert list(filter(visibility(call), rows)) == [rows[0], rows[2]]
