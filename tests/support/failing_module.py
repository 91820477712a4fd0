"""A module whose actions end in odd ways."""

import contextlib

import mailapi


class Failing(mailapi.Module):
    """A module with an action for each way in which an action may end."""

    @mailapi.endpoint(allow=mailapi.anyone)
    def crash(self, call):
        """Change something and raise an error that nobody expects."""
        call.db.execute(mailapi.Users.delete())
        raise RuntimeError("for a test")

    @mailapi.endpoint(allow=mailapi.anyone)
    def leave(self, call):
        """Change something and end as a generator that is closed."""
        call.db.execute(mailapi.Users.delete())
        raise GeneratorExit

    @mailapi.endpoint(allow=mailapi.anyone)
    def refuse(self, call):
        """Change something and refuse."""
        call.db.execute(mailapi.Users.delete())
        raise mailapi.ApiError("No.")

    @mailapi.endpoint(allow=mailapi.anyone, manages_transactions=True)
    def nested(self, call):
        """Open a transaction inside a transaction."""
        with call.db.transaction(), call.db.transaction():
            call.db.execute(mailapi.Users.delete())

    @mailapi.endpoint(allow=mailapi.anyone, manages_transactions=True)
    def wait(self, call):
        """Check that no connection is reserved while the action waits for a service."""
        if call.db.opened.connection is None:
            raise mailapi.ApiError("None held.")

    @mailapi.endpoint(allow=mailapi.anyone)
    def unknown(self, call):
        """Change something and read a table that does not exist."""
        call.db.execute(mailapi.Users.delete())
        call.db.execute(mailapi.peewee.Table("nowhere", ("x",)).select())

    @mailapi.endpoint(allow=mailapi.anyone)
    def go_on(self, call):
        """Go on after the server has ended the connection, as if one statement had been refused."""
        call.db.execute(mailapi.Users.update(user_database="lost"))
        with contextlib.suppress(mailapi.ApiError):
            call.db.run("KILL CONNECTION_ID()")
        call.db.execute(mailapi.Users.delete())
