"""POP: who may collect mail over POP3, and the lock held while they do."""

from peewee import BooleanField, TextField

from mailapi import (
    Active, ApiUserDelegates, Model, Module, Prepared, anyone, arg, empty, endpoint, owner_or_delegate, text,
)


class PopUser(Model):
    pop_user = TextField(primary_key=True)
    pop_lock = BooleanField(default=False)

    class Meta:
        table_name = "popd"


EVERYBODY = Prepared(PopUser.select().order_by(PopUser.pop_user))
OWN = (PopUser.pop_user == arg("user"))
DELEGATED = PopUser.pop_user.in_(ApiUserDelegates.select(ApiUserDelegates.api_delegate)
                                 .where(ApiUserDelegates.api_user == arg("user")))
ONE = Prepared(PopUser.select().where(OWN))
OWN_AND_DELEGATED = Prepared(PopUser.select().where(OWN | DELEGATED).order_by(PopUser.pop_user))

NAMED = {"needs": {"pop_user": "No username is set"}, "allow": owner_or_delegate("pop_user")}


class POP(Module):
    active = Active(PopUser.pop_user)

    @endpoint(allow=owner_or_delegate("pop_user", missing=anyone), takes={"pop_user": text}, reads_only=True)
    def get(self, call):
        """Who may use POP: everybody, for a delegate oneself and the delegated ones, for others oneself."""
        if not empty(call.body.get("pop_user")):
            return {"pop": call.db.rows(ONE, user=call.body["pop_user"])}
        if call.caller.admin:
            return {"pop": call.db.rows(EVERYBODY)}
        return {"pop": call.db.rows(OWN_AND_DELEGATED if call.caller.delegate else ONE, user=call.user_name)}

    @endpoint(**NAMED)
    def add(self, call):
        """Let a user collect mail over POP3."""
        call.db.execute(PopUser.insert(pop_user=call.body["pop_user"]))

    @endpoint(**NAMED)
    def delete(self, call):
        """Take POP3 away from a user."""
        call.db.execute(PopUser.delete().where(PopUser.pop_user == call.body["pop_user"]))

    @endpoint(**NAMED)
    def unlock(self, call):
        """Clear the lock that a crashed POP session left behind."""
        call.db.execute(PopUser.update(pop_lock=False).where(PopUser.pop_user == call.body["pop_user"]))
