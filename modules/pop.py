"""POP: who may collect mail over POP3, and the lock held while they do."""

from peewee import BooleanField, TextField

from mailapi import (
    DELEGATED,
    PAGE_QUERY,
    Active,
    Model,
    Module,
    PreparedQuery,
    anyone,
    endpoint,
    owner_or_delegate,
    param,
    php_text,
)

from .directory.pagination import KeysetPagination


class Popd(Model):
    pop_user = TextField()
    pop_lock = BooleanField(default=False)


PAGES = KeysetPagination(Popd.pop_user)
EVERYBODY = PreparedQuery(Popd.select().order_by(Popd.pop_user), pages=PAGES)
OWN = Popd.pop_user == param("user")
ONE = PreparedQuery(Popd.select().where(OWN), pages=PAGES)
OWN_AND_DELEGATED = PreparedQuery(
    Popd.select().where(OWN | Popd.pop_user.in_(DELEGATED)).order_by(Popd.pop_user), pages=PAGES
)

NAMED = {"required": {"pop_user": "No username is set"}, "allow": owner_or_delegate("pop_user")}


class POP(Module):
    identifiers = ("pop_user",)
    active = Active(Popd.pop_user)

    @endpoint(
        allow=owner_or_delegate("pop_user", missing=anyone),
        optional={"pop_user": php_text},
        query=PAGE_QUERY,
        read_only=True,
    )
    def get(self, call):
        """Who may use POP: everybody, for a delegate oneself and the delegated ones, for others oneself."""
        if call.body.get("pop_user"):
            return {"pop": call.listing(ONE, user=call.body["pop_user"])}
        if call.caller.admin:
            return {"pop": call.listing(EVERYBODY)}
        return {"pop": call.listing(OWN_AND_DELEGATED if call.caller.delegate else ONE, user=call.user_name)}

    @endpoint(**NAMED)
    def add(self, call):
        """Let a user collect mail over POP3."""
        call.db.execute(Popd.insert(pop_user=call.body["pop_user"]))

    @endpoint(**NAMED)
    def delete(self, call):
        """Take POP3 away from a user."""
        call.db.execute(Popd.delete().where(Popd.pop_user == call.body["pop_user"]))

    @endpoint(**NAMED)
    def unlock(self, call):
        """Clear the lock that a crashed POP session left behind."""
        call.db.execute(Popd.update(pop_lock=False).where(Popd.pop_user == call.body["pop_user"]))
