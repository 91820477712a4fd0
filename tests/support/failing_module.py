"""A module whose actions end in odd ways."""

import contextlib

import mailapi


class Failing(mailapi.Module):
    """Ways in which an action may end."""

    @mailapi.endpoint(allow=mailapi.anyone)
    def crash(self, call):
        call.db.execute(mailapi.Users.delete())
        raise RuntimeError("for a test")

    @mailapi.endpoint(allow=mailapi.anyone)
    def leave(self, call):
        call.db.execute(mailapi.Users.delete())
        raise GeneratorExit

    @mailapi.endpoint(allow=mailapi.anyone)
    def refuse(self, call):
        call.db.execute(mailapi.Users.delete())
        raise mailapi.ApiError("No.")

    @mailapi.endpoint(allow=mailapi.anyone, manages_transactions=True)
    def nested(self, call):
        with call.db.transaction(), call.db.transaction():
            call.db.execute(mailapi.Users.delete())

    @mailapi.endpoint(allow=mailapi.anyone, manages_transactions=True)
    def wait(self, call):
        """As for a service, for seconds: others can have the connection meanwhile."""
        if call.db.opened.connection is None:
            raise mailapi.ApiError("None held.")

    @mailapi.endpoint(allow=mailapi.anyone)
    def unknown(self, call):
        call.db.execute(mailapi.Users.delete())
        call.db.execute(mailapi.peewee.Table("nowhere", ("x",)).select())

    @mailapi.endpoint(allow=mailapi.anyone)
    def go_on(self, call):
        """As if what the server undid had been refused."""
        call.db.execute(mailapi.Users.update(user_database="lost"))
        with contextlib.suppress(mailapi.ApiError):
            call.db.run("KILL CONNECTION_ID()")
        call.db.execute(mailapi.Users.delete())
