"""POP: users who may collect mail over POP3, and the lock that is set during a POP3 session."""

from peewee import BooleanField, TextField

from mailapi import Active, Model, Module, PreparedQuery, anyone, endpoint, owner_or_delegate, param, php_text

from .answers import pop
from .directory.lists import PAGE_QUERY
from .directory.owned_rows import OwnedRows


class Popd(Model):
    pop_user = TextField()
    pop_lock = BooleanField(default=False)


POP_USERS = OwnedRows(Popd.select(), owner=Popd.pop_user)
ADD = PreparedQuery(Popd.insert(pop_user=param("pop_user")))
IS_USER = Popd.pop_user == param("pop_user")
DELETE = PreparedQuery(Popd.delete().where(IS_USER))
UNLOCK = PreparedQuery(Popd.update(pop_lock=False).where(IS_USER))
OF_USER = {"required": {"pop_user": "No username is set"}, "allow": owner_or_delegate("pop_user")}


class POP(Module):
    description = pop.DESCRIPTION
    identifiers = ("pop_user",)
    active = Active(Popd.pop_user)

    @endpoint(
        allow=owner_or_delegate("pop_user", missing=anyone),
        optional={"pop_user": php_text},
        query=PAGE_QUERY,
        read_only=True,
    )
    def get(self, call):
        """List the users who may collect mail over POP3, each with pop_lock: whether a session has locked the mailbox.

        With pop_user, list only that user. An admin sees all users, a delegate themselves and the users delegated to
        them, any other caller themselves.
        """
        return {"pop": POP_USERS.visible_to(call, call.body.get("pop_user"))}

    @endpoint(**OF_USER)
    def add(self, call):
        """Let a user collect their mail from this server over POP3."""
        call.db.execute(ADD, pop_user=call.body["pop_user"])

    @endpoint(**OF_USER)
    def delete(self, call):
        """Stop a user from collecting mail over POP3."""
        call.db.execute(DELETE, pop_user=call.body["pop_user"])

    @endpoint(**OF_USER)
    def unlock(self, call):
        """Remove the lock that a POP3 session left behind when it crashed."""
        call.db.execute(UNLOCK, pop_user=call.body["pop_user"])
