"""The table of permissions: a line for every action of every module (docs/wire.md section 4).

USER, MAIL, ADDRESS, ORDER and NEXT in a line's fields stand for the target: a user who has one row of everything.
"""

from support.site import Site

# Role → who asks, and about whom. bob is a plain user, dele looks after ann and %@corp.org.
ROLES = {
    "foreign": ("bob", "ann"),
    "own": ("bob", "bob"),
    "delegated": ("dele", "ann"),
    "undelegated": ("dele", "bob"),
    "admin": ("root", "bob"),
    "nobody": (None, "bob"),
}
# User → what the words in the table mean.
TARGETS = {
    "ann": {
        "USER": "ann",
        "MAIL": 1,
        "ADDRESS": "ann@corp.org",
        "NEXT": "sales@corp.org",
        "ORDER": 10,
        "ORDER2": 11,
    },
    "bob": {
        "USER": "bob",
        "MAIL": 2,
        "ADDRESS": "bob@one.org",
        "NEXT": "info@one.org",
        "ORDER": 20,
        "ORDER2": 21,
    },
}
# The statuses of answers. {} stands for the word of the generation, "permission" or "right", or for a name.
OK = "ok"
NOT_ALLOWED = "Not allowed."
NO_ACCESS = "No access."
NOT_AUTHORIZED = "Not authorized."
NO_USER_NAME = "Username is not set!"  # nobody is logged in
MAIL_NOT_FOUND = "mail not found"
MAY_NOT_ADD = "No {} to add an address."
MAY_NOT_INSERT = "No {} to insert this expression."
MAY_NOT_UPDATE = "No {} to update an address."
MAY_NOT_MOVE_TO = "No {} to update this to address"
NOT_THE_USER = "User has no {} to do this (not the user)."
NOT_IN_DELEGATED_LIST = "User has no {} to do this (not in delegated list)."
MAY_NOT_SEND = "Rejected: user {} may not send."
MAY_NOT_SEND_AS = "Not allowed to send from this address."
NOT_CONFIGURED = "The {} service is not configured."
NO_MANAGESIEVE = NOT_CONFIGURED.format("managesieve")

# The statuses for the roles foreign, own, delegated, undelegated and admin, where several actions have the same.
ONLY_ADMIN = (NOT_ALLOWED,) * 4 + (OK,)
# Those who act for the user: a delegate of theirs and an admin.
ACTING = (NOT_ALLOWED, NOT_ALLOWED, OK, NOT_ALLOWED, OK)
ACTING_OR_OWN = (NOT_ALLOWED, OK, OK, NOT_ALLOWED, OK)
ANYONE = (OK,) * 5
USER_LISTED = (NOT_THE_USER, OK, OK, NOT_IN_DELEGATED_LIST, OK)
USER_ADDED = ("Not allowed",) * 4 + (OK,)  # the one refusal without a full stop
ADDRESS_LISTED = (NOT_AUTHORIZED, OK, OK, NOT_AUTHORIZED, OK)
ADDRESS_ACCESS = (NO_ACCESS, NO_ACCESS, OK, NO_ACCESS, OK)
# Of an expression that dele looks after, and of one that only an admin may have.
DELEGATED_INSERT = (MAY_NOT_ADD, MAY_NOT_ADD, OK, MAY_NOT_INSERT, OK)
FOREIGN_INSERT = (MAY_NOT_ADD, MAY_NOT_ADD, MAY_NOT_INSERT, MAY_NOT_INSERT, OK)
DELEGATED_UPDATE = (MAY_NOT_UPDATE, MAY_NOT_UPDATE, OK, MAY_NOT_MOVE_TO, OK)
FOREIGN_UPDATE = (MAY_NOT_UPDATE, MAY_NOT_UPDATE, MAY_NOT_MOVE_TO, MAY_NOT_MOVE_TO, OK)
ANY_ROUTER = (NOT_ALLOWED, NOT_ALLOWED, OK, OK, OK)
OWN_MAIL = (MAIL_NOT_FOUND, OK, MAIL_NOT_FOUND, MAIL_NOT_FOUND, MAIL_NOT_FOUND)
QUEUED_MAIL = (MAIL_NOT_FOUND, OK, OK, MAIL_NOT_FOUND, OK)
NOT_SUSPENDED = "This user is not suspended."
NOBODY_SUSPENDED = (NOT_ALLOWED, NOT_ALLOWED, NOT_SUSPENDED, NOT_ALLOWED, NOT_SUSPENDED)
# Neither a mail server nor a filter service is configured here: who gets to hear that is who may change settings.
NOWHERE = "Neither a mailserver nor the managesieve service is configured."
NO_SETTINGS = (NOT_ALLOWED, NOWHERE, NOWHERE, NOT_ALLOWED, NOWHERE)
NO_SETTINGS_ACTING = (NOT_ALLOWED, NOT_ALLOWED, NOWHERE, NOT_ALLOWED, NOWHERE)
ACTIVE_BY_ADMIN = (NOT_ALLOWED,) * 4 + (OK,)
NO_ACCOUNT = (NOT_ALLOWED,) * 4 + ("Account not found.",)

# The fields of requests.
ONE_PERMISSION = {"user_name": "USER", "user_permission": "special"}
SMTPD_FIELDS = {"smtpd_user": "USER", "smtpd_router": "any"}
MSA_FIELDS = {"msa_user": "USER", "msa_inrouter": "store", "msa_outrouter": "any"}
MSA_FOREIGN_DATABASE = MSA_FIELDS | {"msa_inroute": "x.db3"}
DELEGATION = {"api_user": "nologin", "api_delegate": "USER"}
EXPRESSION = {"api_user": "nologin", "api_expression": "ADDRESS"}
ADDRESS_FIELDS = {
    "address_expression": "ADDRESS",
    "address_router": "store",
    "address_route": "root",
    "address_user": "root",
}
ADDRESS_UPDATE = ADDRESS_FIELDS | {"address_old_order": "ORDER", "address_order": 99}
# A delegated expression, claimed of a row that has another one (docs/wire.md F07).
FALSE_CLAIM = ADDRESS_FIELDS | {"address_expression": "mine@corp.org"}
TWO_ADDRESSES = {
    "address1": {"address_expression": "ADDRESS", "address_order": "ORDER"},
    "address2": {"address_expression": "NEXT", "address_order": "ORDER2"},
}
OUTGOING_TEST = {"address_expression": "ADDRESS", "address_routing": "outrouter", "smtpd_user": "USER"}

BOTH, ONLY_9, ONLY_8 = (9, 8), (9,), (8,)  # the generations that have the action

# Module, action, fields, generations, then the status for each role: foreign, own, delegated, undelegated, admin.
TABLE = [
    ("", "get_modules", {}, BOTH, *ANYONE),
    ("users", "get", {}, BOTH, *ANYONE),
    ("users", "get", {"username": "USER"}, BOTH, *USER_LISTED),
    ("users", "get", {"user_name": "USER"}, BOTH, *USER_LISTED),
    ("users", "add", {"user_name": "newUSER", "user_authdata": "pw"}, BOTH, *USER_ADDED),
    ("users", "add", {"user_name": "newUSER", "user_permissions": ["admin"]}, BOTH, *USER_ADDED),
    ("users", "suspend", {"user_name": "USER"}, BOTH, *ACTING),
    ("users", "restore", {"user_name": "USER"}, BOTH, *NOBODY_SUSPENDED),
    ("users", "delete", {"user_name": "USER"}, BOTH, *ACTING),
    ("users", "set_password", {"user_name": "USER", "user_authdata": "new"}, BOTH, *ACTING_OR_OWN),
    ("users", "set_password", {"user_name": "USER"}, BOTH, *ACTING_OR_OWN),
    ("users", "device_add", {"user_name": "USER", "device_name": "tablet"}, BOTH, *ACTING_OR_OWN),
    ("users", "device_get", {}, BOTH, *ANYONE),
    ("users", "device_get", {"user_name": "USER"}, BOTH, *ACTING_OR_OWN),
    ("users", "device_delete", {"user_name": "USER", "device_name": "phone"}, BOTH, *ACTING_OR_OWN),
    ("users", "add_permission", {"user_name": "USER", "user_permission": "admin"}, BOTH, *ONLY_ADMIN),
    ("users", "delete_permission", ONE_PERMISSION, BOTH, *ONLY_ADMIN),
    ("users", "update_permissions", {"user_name": "USER", "user_permissions": ["admin"]}, BOTH, *ONLY_ADMIN),
    ("users", "update_alias", {"user_name": "USER", "user_alias": "root"}, BOTH, *ONLY_ADMIN),
    ("users", "permissions", {}, BOTH, *ANYONE),
    ("users", "import", {"file": "user_name\nnewUSER"}, BOTH, *ONLY_ADMIN),
    ("addresses", "get", {}, BOTH, *ANYONE),
    ("addresses", "get", {"address_order": "ORDER"}, ONLY_9, *ADDRESS_LISTED),
    ("addresses", "get", {"address_expression": "ADDRESS"}, BOTH, *ANYONE),
    ("addresses", "get", {"address_user": "USER"}, BOTH, *ANYONE),
    ("addresses", "add", ADDRESS_FIELDS | {"address_expression": "newADDRESS"}, BOTH, *DELEGATED_INSERT),
    ("addresses", "add", ADDRESS_FIELDS | {"address_expression": "%"}, BOTH, *FOREIGN_INSERT),
    ("addresses", "update", ADDRESS_UPDATE, BOTH, *DELEGATED_UPDATE),
    ("addresses", "update", ADDRESS_UPDATE | FALSE_CLAIM, ONLY_9, *DELEGATED_UPDATE),
    ("addresses", "update", ADDRESS_UPDATE | {"address_expression": "x@two.org"}, ONLY_9, *FOREIGN_UPDATE),
    ("addresses", "delete", ADDRESS_FIELDS | {"address_order": "ORDER"}, BOTH, *ADDRESS_ACCESS),
    ("addresses", "delete", FALSE_CLAIM | {"address_order": "ORDER"}, ONLY_9, *ADDRESS_ACCESS),
    ("addresses", "switch", TWO_ADDRESSES, BOTH, *ADDRESS_ACCESS),
    ("addresses", "reorder", {"addresses": [*TWO_ADDRESSES.values()]}, BOTH, *ADDRESS_ACCESS),
    ("addresses", "test", {"address_expression": "ADDRESS", "address_routing": "inrouter"}, BOTH, *ANYONE),
    ("addresses", "test", OUTGOING_TEST, BOTH, *ACTING_OR_OWN),
    ("smtpd", "get", {}, ONLY_9, *ANY_ROUTER),
    ("smtpd", "get", {"smtpd_user": "USER"}, ONLY_9, *ACTING),
    ("smtpd", "add", SMTPD_FIELDS, ONLY_9, *ACTING),
    ("smtpd", "update", SMTPD_FIELDS, ONLY_9, *ACTING),
    ("smtpd", "delete", {"smtpd_user": "USER"}, ONLY_9, *ACTING),
    ("msa", "get", {}, ONLY_8, *ANY_ROUTER),
    ("msa", "get", {"msa_user": "USER"}, ONLY_8, *ACTING),
    ("msa", "add", MSA_FIELDS, ONLY_8, *ACTING),
    ("msa", "update", MSA_FIELDS, ONLY_8, *ACTING),
    ("msa", "add", MSA_FOREIGN_DATABASE, ONLY_8, *ONLY_ADMIN),
    ("msa", "update", MSA_FOREIGN_DATABASE, ONLY_8, *ONLY_ADMIN),
    ("msa", "delete", {"msa_user": "USER"}, ONLY_8, *ACTING),
    ("pop", "get", {}, BOTH, *ANYONE),
    ("pop", "get", {"pop_user": "USER"}, BOTH, *ACTING_OR_OWN),
    ("pop", "add", {"pop_user": "USER"}, BOTH, *ACTING_OR_OWN),
    ("pop", "delete", {"pop_user": "USER"}, BOTH, *ACTING_OR_OWN),
    ("pop", "unlock", {"pop_user": "USER"}, BOTH, *ACTING_OR_OWN),
    ("delegates", "get", {}, BOTH, *ANYONE),
    ("delegates", "user_add", DELEGATION | {"api_user": "root"}, BOTH, *ONLY_ADMIN),
    ("delegates", "user_delete", DELEGATION, BOTH, *ONLY_ADMIN),
    ("delegates", "address_add", EXPRESSION | {"api_user": "root"}, BOTH, *ONLY_ADMIN),
    ("delegates", "address_delete", EXPRESSION, BOTH, *ONLY_ADMIN),
    ("mailbox", "get", {}, BOTH, *ANYONE),
    ("mailbox", "read", {"mail_id": "MAIL"}, BOTH, *OWN_MAIL),
    ("mailbox", "unread", {"mail_id": "MAIL"}, BOTH, *OWN_MAIL),
    ("mailbox", "delete", {"mail_id": "MAIL"}, BOTH, *OWN_MAIL),
    ("mailbox", "raw", {"mail_id": "MAIL"}, BOTH, *OWN_MAIL),
    ("mailbox", "parts", {"mail_id": "MAIL"}, BOTH, *OWN_MAIL),
    ("mailbox", "attachment", {"mail_id": "MAIL", "part": 1}, BOTH, *OWN_MAIL),
    ("mailbox", "html", {"mail_id": "MAIL"}, BOTH, *OWN_MAIL),
    ("mailbox", "view", {"mail_id": "MAIL"}, BOTH, *OWN_MAIL),
    ("mailbox", "search", {}, BOTH, *ANYONE),
    ("mailbox", "threads", {}, BOTH, *ANYONE),
    ("mailbox", "unread_count", {}, BOTH, *ANYONE),
    (
        "mailbox",
        "send",
        {"from": "ADDRESS", "to": "x@else.example"},
        BOTH,
        "Rejected: ann@corp.org does not store to user bob (router defined).",
        OK,
        *[MAY_NOT_SEND.format("dele")] * 2,
        MAY_NOT_SEND.format("root"),
    ),
    ("tokens", "get", {}, BOTH, *ANYONE),
    ("tokens", "add", {"token_name": "backup"}, BOTH, *ANYONE),
    (
        "tokens",
        "delete",
        {"token_id": 1},
        BOTH,
        *["Token not found."] * 5,
    ),  # test_tokens.py tests whose they are
    ("audit", "get", {}, BOTH, *ONLY_ADMIN),
    ("audit", "mine", {}, BOTH, *ANYONE),
    ("accounts", "get", {}, BOTH, *ANYONE),  # test_account_actions.py has whose they see
    ("accounts", "get", {"user_name": "USER"}, BOTH, *ACTING_OR_OWN),
    ("accounts", "provision", {"user_name": "USER"}, BOTH, *ONLY_ADMIN),
    ("accounts", "update", {"user_name": "nologin", "Active": 1}, BOTH, *NO_ACCOUNT),
    ("accounts", "update", {"user_name": "USER", "forward": "a@b.org"}, BOTH, *NO_SETTINGS),
    ("accounts", "update", {"user_name": "USER", "quota": 1}, BOTH, *NO_SETTINGS_ACTING),
    ("accounts", "update", {"user_name": "USER", "userStatus": 1}, BOTH, *NO_SETTINGS_ACTING),
    ("accounts", "update", {"user_name": "USER", "Active": 1}, BOTH, *ACTIVE_BY_ADMIN),
    ("accounts", "delete", {"user_name": "nologin"}, BOTH, *NO_ACCOUNT),
    # No service is configured here: who gets to hear that is who may ask; test_services_*.py have services.
    ("services", "get", {}, BOTH, *ONLY_ADMIN),
    (
        "services",
        "send",
        {"sender": "ADDRESS", "recipients": ["a@b.org"], "message": "m"},
        BOTH,
        MAY_NOT_SEND_AS,
        NOT_CONFIGURED.format("smtp"),
        MAY_NOT_SEND_AS,
        MAY_NOT_SEND_AS,
        MAY_NOT_SEND_AS,
    ),
    ("services", "quota", {}, BOTH, *[NOT_CONFIGURED.format("imap")] * 5),
    (
        "services",
        "scan",
        {"message": "m"},
        BOTH,
        *["Neither antispam nor antivirus service is configured."] * 5,
    ),
    ("services", "sieve_list", {}, BOTH, *[NO_MANAGESIEVE] * 5),
    ("services", "sieve_get", {"script_name": "s"}, BOTH, *[NO_MANAGESIEVE] * 5),
    ("services", "sieve_put", {"script_name": "s", "script": "keep;"}, BOTH, *[NO_MANAGESIEVE] * 5),
    ("services", "sieve_activate", {"script_name": "s"}, BOTH, *[NO_MANAGESIEVE] * 5),
    ("services", "sieve_deactivate", {}, BOTH, *[NO_MANAGESIEVE] * 5),
    ("services", "sieve_delete", {"script_name": "s"}, BOTH, *[NO_MANAGESIEVE] * 5),
    ("queue", "get", {}, BOTH, *ANYONE),
    ("queue", "retry", {"mail_id": "MAIL"}, BOTH, *QUEUED_MAIL),
    ("queue", "delete", {"mail_id": "MAIL"}, BOTH, *QUEUED_MAIL),
    ("queue", "bounce", {"mail_id": "MAIL"}, BOTH, *QUEUED_MAIL),
]
# The actions that change nothing.
READS = {
    "permissions",
    "get",
    "device_get",
    "get_modules",
    "test",
    "raw",
    "parts",
    "attachment",
    "html",
    "view",
    "search",
    "threads",
    "unread_count",
}
# What has to be there, or not, before an action can change something: module and action → a statement.
PREPARATIONS = {
    (
        "users",
        "device_delete",
    ): "INSERT INTO users VALUES ('ann~phone', 'x', NULL, 'ann'), ('bob~phone', 'x', NULL, 'bob')",
    ("pop", "add"): "DELETE FROM popd",
    ("smtpd", "add"): "DELETE FROM smtpd",
    ("msa", "add"): "DELETE FROM msa",
    ("mailbox", "unread"): "UPDATE mailbox SET mail_read = 1",
}


def add_targets(site: Site):
    """Give every target one row of everything that the table acts on."""
    rows = []
    for user, words in TARGETS.items():
        address = f"'store', '{user}'" if site.generation == 9 else f"'{user}'"
        router = (
            f"smtpd VALUES ('{user}', 'defined'"
            if site.generation == 9
            else f"msa VALUES ('{user}', 'drop', NULL, 'defined'"
        )
        rows += [
            f"addresses VALUES ('{words['ADDRESS']}', {words['ORDER']}, {address})",
            f"addresses VALUES ('{words['NEXT']}', {words['ORDER2']}, {address})",
            f"{router}, NULL)",
            f"popd VALUES ('{user}', 1)",
            f"api_access VALUES ('{user}', 'special')",
            f"api_user_delegates VALUES ('nologin', '{user}')",
            f"api_address_delegates VALUES ('nologin', '{words['ADDRESS']}')",
            "mailbox (mail_id, mail_user, mail_envelopeto, mail_envelopefrom, mail_data)"
            f" VALUES ({words['MAIL']}, '{user}', 'to', 'from', 'Subject: s\r\n\r\ntext')",
            "outbox (mail_id, mail_envelopeto, mail_envelopefrom, mail_submitter, mail_data)"
            f" VALUES ({words['MAIL']}, 'x@else.example', 'from', '{user}', 'text')",
            f"faillog (fail_mail, fail_message) VALUES ({words['MAIL']}, 'later')",
        ]
    site.execute_all([f"INSERT INTO {row}" for row in rows])


def fill_in(value, words: dict):
    """Return the fields of a line with the target's own words in them."""
    if isinstance(value, dict):
        return {name: fill_in(entry, words) for name, entry in value.items()}
    if isinstance(value, list):
        return [fill_in(entry, words) for entry in value]
    if isinstance(value, str) and value not in words:
        return value.replace("USER", words["USER"]).replace("ADDRESS", words["ADDRESS"])
    return words[value] if isinstance(value, str) else value


def ask_as(site: Site, path: str, action: str, fields: dict, role: str) -> dict:
    """Call the action of a line in one role, in the words of the site's generation; return the answer."""
    user, target = ROLES[role]
    if site.generation == 8:
        action = action.replace("permission", "right")
        fields = {name.replace("permission", "right"): value for name, value in fields.items()}
    return site(f"{path}/?{action}" if path else f"?{action}", user=user, **fill_in(fields, TARGETS[target]))
