"""Describes a finished request to modules such as the audit: caller, action and result."""

import dataclasses

from mailapi import Call, Endpoint, sha256

SUCCESSFUL = ("ok", "warning")  # the values of `status` in answers of requests that were not refused
# Fields that name the user whom an action is about.
USER_FIELDS = ("user_name", "pop_user", "smtpd_user", "msa_user", "address_user", "api_user", "api_delegate")
# Changes of the caller's own account that name no user.
OF_CALLER = {
    "tokens add",
    "services sieve_put",
    "services sieve_activate",
    "services sieve_deactivate",
    "services sieve_delete",
}


@dataclasses.dataclass
class Event:
    """The description of a finished request: who called which action, and with which result.

    It is the argument of the method `on_request` of modules.
    """

    module: str
    status: str
    http: int
    address: str
    via: str  # how the caller was authenticated: password, session, log-out, token NAME, basic, or local
    session: str = ""  # the start of the session id's hash, equal in all requests of a session
    action: str = ""
    user_name: str | None = None
    target: str = ""
    changes: bool = False
    logs_in: bool = False
    confirmed: bool = False  # the user was authenticated
    refused_wait: str = ""  # which wait refused a log-in that came too early
    about: list[str] = dataclasses.field(default_factory=list)  # the users whom it was about

    @property
    def succeeded(self) -> bool:
        return self.status in SUCCESSFUL

    def describe(self, call: Call, chosen: Endpoint | None):
        """Set this event's attributes: who called which action, and for which users and objects. Secrets are left out.

        `call`: the request. `chosen`: the action, or None if the request was refused before an action was found.
        """
        self.user_name, self.refused_wait = call.user_name or call.claimed_name, call.refused_wait
        self.confirmed = call.identified or self.via in ("log-out", "local")
        self.session = sha256(call.session)[:12] if call.session else ""
        self.logs_in = self.via in ("password", "log-out")
        if chosen:
            self.action, self.changes = chosen.name, not (chosen.read_only or call.unchanged)
        if chosen and chosen.required:
            target = []
            for name in chosen.needed(call.generation):
                value, allowed = call.body.get(name), chosen.identifiers.get(name, ())
                if value and (allowed is None or value in allowed):  # None: the audit may record any value
                    target.append(str(value)[:200])
            self.target = " ".join(target)
        self.about = list(dict.fromkeys(self.affected_users(call)))

    def affected_users(self, call: Call) -> list[str]:
        """Return the names of the users who logged in, tried to log in, or were changed by the request.

        The fields in USER_FIELDS name changed users. If the change was refused, those are left out, or else anybody
        could fill another user's list of events in the audit.
        """
        fields = call.body
        names = [self.user_name] if self.logs_in or not self.confirmed else []
        if self.confirmed and self.changes:
            if f"{self.module} {self.action}" in OF_CALLER:
                names.append(self.user_name)
            if self.succeeded:
                names += [fields.get(name) for name in USER_FIELDS]
                if fields.get("address_router") == "store":
                    names.append(fields.get("address_route"))
        # A later user of a deleted user's name must not see this event.
        deleted = call.deleted_users
        return [
            name
            for name in names
            if name and isinstance(name, str) and not (name in deleted and self.succeeded)
        ]
