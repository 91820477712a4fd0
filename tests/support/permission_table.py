"""The table of permissions: a line for every action of every module (docs/wire.md section 4).

USER, MAIL, ADDRESS, ORDER and NEXT in a line's fields stand for the target: a user who has one row of everything.
"""

from support.site import Site

# Who asks about whom. bob is a plain user, dele looks after ann and %@corp.org.
ROLES = {
    "foreign": ("bob", "ann"),
    "own": ("bob", "bob"),
    "delegated": ("dele", "ann"),
    "undelegated": ("dele", "bob"),
    "admin": ("root", "bob"),
    "nobody": (None, "bob"),
}
TARGETS = {  # user → what the words in the table mean
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
OK, NO, NONE, GONE = "ok", "Not allowed.", "No access.", "mail not found"
NEW, TO = "No {} to insert this expression.", "No {} to update this to address"
ADD, UPDATE = "No {} to add an address.", "No {} to update an address."
USERS, LIST = (
    "User has no {} to do this (not the user).",
    "User has no {} to do this (not in delegated list).",
)
MAY_NOT_SEND = "Rejected: user {} may not send."
UNSEEN, NOBODY = "Not authorized.", "Username is not set!"
NOT, AS = "The {} service is not configured.", "Not allowed to send from this address."
SIEVE = NOT.format("managesieve")
ONLY_ADMIN = (NO, NO, NO, NO, OK)
ACTING = (NO, NO, OK, NO, OK)  # may act for: admin, or delegate with that user delegated
ACTING_OR_OWN = (NO, OK, OK, NO, OK)
ANYONE = (OK, OK, OK, OK, OK)
PERMISSION = {"user_name": "USER", "user_permission": "special"}
SMTPD = {"smtpd_user": "USER", "smtpd_router": "any"}
MSA = {"msa_user": "USER", "msa_inrouter": "store", "msa_outrouter": "any"}
OTHER_DATABASE = MSA | {"msa_inroute": "x.db3"}
DELEGATION = {"api_user": "nologin", "api_delegate": "USER"}
EXPRESSION = {"api_user": "nologin", "api_expression": "ADDRESS"}
ROW = {
    "address_expression": "ADDRESS",
    "address_router": "store",
    "address_route": "root",
    "address_user": "root",
}
MOVED = ROW | {"address_old_order": "ORDER", "address_order": 99}
LIE = ROW | {
    "address_expression": "mine@corp.org"
}  # a delegated expression, claimed of a row that has another (F07)
PAIR = {
    "address1": {"address_expression": "ADDRESS", "address_order": "ORDER"},
    "address2": {"address_expression": "NEXT", "address_order": "ORDER2"},
}
OUT = {"address_expression": "ADDRESS", "address_routing": "outrouter", "smtpd_user": "USER"}
BOTH, NINE, EIGHT = (9, 8), (9,), (8,)
TABLE = [  # module, action, fields, generations, then the status for: foreign, own, delegated, undelegated, admin
    ("", "get_modules", {}, BOTH, *ANYONE),
    ("users", "get", {}, BOTH, *ANYONE),
    ("users", "get", {"username": "USER"}, BOTH, USERS, OK, OK, LIST, OK),
    ("users", "get", {"user_name": "USER"}, BOTH, USERS, OK, OK, LIST, OK),
    ("users", "add", {"user_name": "newUSER", "user_authdata": "pw"}, BOTH, *(["Not allowed"] * 4), OK),
    (
        "users",
        "add",
        {"user_name": "newUSER", "user_permissions": ["admin"]},
        BOTH,
        *(["Not allowed"] * 4),
        OK,
    ),
    ("users", "delete", {"user_name": "USER"}, BOTH, *ACTING),
    ("users", "set_password", {"user_name": "USER", "user_authdata": "new"}, BOTH, *ACTING_OR_OWN),
    ("users", "set_password", {"user_name": "USER"}, BOTH, *ACTING_OR_OWN),
    ("users", "add_permission", {"user_name": "USER", "user_permission": "admin"}, BOTH, *ONLY_ADMIN),
    ("users", "delete_permission", PERMISSION, BOTH, *ONLY_ADMIN),
    ("users", "update_permissions", {"user_name": "USER", "user_permissions": ["admin"]}, BOTH, *ONLY_ADMIN),
    ("users", "update_alias", {"user_name": "USER", "user_alias": "root"}, BOTH, *ONLY_ADMIN),
    ("users", "import", {"file": "user_name\nnewUSER"}, BOTH, *ONLY_ADMIN),
    ("addresses", "get", {}, BOTH, *ANYONE),
    ("addresses", "get", {"address_order": "ORDER"}, NINE, UNSEEN, OK, OK, UNSEEN, OK),
    ("addresses", "get", {"address_expression": "ADDRESS"}, BOTH, *ANYONE),
    ("addresses", "get", {"address_user": "USER"}, BOTH, *ANYONE),
    ("addresses", "add", ROW | {"address_expression": "newADDRESS"}, BOTH, ADD, ADD, OK, NEW, OK),
    ("addresses", "add", ROW | {"address_expression": "%"}, BOTH, ADD, ADD, NEW, NEW, OK),
    ("addresses", "update", MOVED, BOTH, UPDATE, UPDATE, OK, TO, OK),
    ("addresses", "update", MOVED | LIE, NINE, UPDATE, UPDATE, OK, TO, OK),
    ("addresses", "update", MOVED | {"address_expression": "x@two.org"}, NINE, UPDATE, UPDATE, TO, TO, OK),
    ("addresses", "delete", ROW | {"address_order": "ORDER"}, BOTH, NONE, NONE, OK, NONE, OK),
    ("addresses", "delete", LIE | {"address_order": "ORDER"}, NINE, NONE, NONE, OK, NONE, OK),
    ("addresses", "switch", PAIR, BOTH, NONE, NONE, OK, NONE, OK),
    ("addresses", "test", {"address_expression": "ADDRESS", "address_routing": "inrouter"}, BOTH, *ANYONE),
    ("addresses", "test", OUT, BOTH, *ACTING_OR_OWN),
    ("smtpd", "get", {}, NINE, NO, NO, OK, OK, OK),
    ("smtpd", "get", {"smtpd_user": "USER"}, NINE, *ACTING),
    ("smtpd", "add", SMTPD, NINE, *ACTING),
    ("smtpd", "update", SMTPD, NINE, *ACTING),
    ("smtpd", "delete", {"smtpd_user": "USER"}, NINE, *ACTING),
    ("msa", "get", {}, EIGHT, NO, NO, OK, OK, OK),
    ("msa", "get", {"msa_user": "USER"}, EIGHT, *ACTING),
    ("msa", "add", MSA, EIGHT, *ACTING),
    ("msa", "update", MSA, EIGHT, *ACTING),
    ("msa", "add", OTHER_DATABASE, EIGHT, *ONLY_ADMIN),
    ("msa", "update", OTHER_DATABASE, EIGHT, *ONLY_ADMIN),
    ("msa", "delete", {"msa_user": "USER"}, EIGHT, *ACTING),
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
    ("mailbox", "read", {"mail_id": "MAIL"}, BOTH, GONE, OK, GONE, GONE, GONE),
    ("mailbox", "unread", {"mail_id": "MAIL"}, BOTH, GONE, OK, GONE, GONE, GONE),
    ("mailbox", "delete", {"mail_id": "MAIL"}, BOTH, GONE, OK, GONE, GONE, GONE),
    ("mailbox", "raw", {"mail_id": "MAIL"}, BOTH, GONE, OK, GONE, GONE, GONE),
    ("mailbox", "parts", {"mail_id": "MAIL"}, BOTH, GONE, OK, GONE, GONE, GONE),
    ("mailbox", "attachment", {"mail_id": "MAIL", "part": 1}, BOTH, GONE, OK, GONE, GONE, GONE),
    ("mailbox", "html", {"mail_id": "MAIL"}, BOTH, GONE, OK, GONE, GONE, GONE),
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
    ),  # test_tokens.py has whose they are
    ("audit", "get", {}, BOTH, *ONLY_ADMIN),
    ("accounts", "get", {}, BOTH, *ANYONE),  # test_account_actions.py has whose they see
    ("accounts", "get", {"user_name": "USER"}, BOTH, *ACTING_OR_OWN),
    ("accounts", "provision", {"user_name": "USER"}, BOTH, *ONLY_ADMIN),
    ("accounts", "update", {"user_name": "nologin", "Active": 1}, BOTH, NO, NO, NO, NO, "Account not found."),
    ("accounts", "delete", {"user_name": "nologin"}, BOTH, NO, NO, NO, NO, "Account not found."),
    # No service is configured here: who gets to hear that is who may ask; test_services_*.py have services.
    ("services", "get", {}, BOTH, *ONLY_ADMIN),
    (
        "services",
        "send",
        {"sender": "ADDRESS", "recipients": ["a@b.org"], "message": "m"},
        BOTH,
        AS,
        NOT.format("smtp"),
        AS,
        AS,
        AS,
    ),
    ("services", "quota", {}, BOTH, *[NOT.format("imap")] * 5),
    (
        "services",
        "scan",
        {"message": "m"},
        BOTH,
        *["Neither antispam nor antivirus service is configured."] * 5,
    ),
    ("services", "sieve_list", {}, BOTH, *[SIEVE] * 5),
    ("services", "sieve_get", {"script_name": "s"}, BOTH, *[SIEVE] * 5),
    ("services", "sieve_put", {"script_name": "s", "script": "keep;"}, BOTH, *[SIEVE] * 5),
    ("services", "sieve_activate", {"script_name": "s"}, BOTH, *[SIEVE] * 5),
    ("services", "sieve_deactivate", {}, BOTH, *[SIEVE] * 5),
    ("services", "sieve_delete", {"script_name": "s"}, BOTH, *[SIEVE] * 5),
    ("queue", "get", {}, BOTH, *ANYONE),
    ("queue", "retry", {"mail_id": "MAIL"}, BOTH, GONE, OK, OK, GONE, OK),
    ("queue", "delete", {"mail_id": "MAIL"}, BOTH, GONE, OK, OK, GONE, OK),
    ("queue", "bounce", {"mail_id": "MAIL"}, BOTH, GONE, OK, OK, GONE, OK),
]
READS = {
    "get",
    "get_modules",
    "test",
    "raw",
    "parts",
    "attachment",
    "html",
    "search",
    "threads",
    "unread_count",
}
READY = {  # what has to be there, or not, before an action can change something
    ("pop", "add"): "DELETE FROM popd",
    ("smtpd", "add"): "DELETE FROM smtpd",
    ("msa", "add"): "DELETE FROM msa",
    ("mailbox", "unread"): "UPDATE mailbox SET mail_read = 1",
}


def furnish(site: Site):
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
    for row in rows:
        site.sql("INSERT INTO " + row)


def fill(value, words: dict):
    """The fields of a line with the target's own words in them."""
    if isinstance(value, dict):
        return {name: fill(entry, words) for name, entry in value.items()}
    if isinstance(value, str) and value not in words:
        return value.replace("USER", words["USER"]).replace("ADDRESS", words["ADDRESS"])
    return words[value] if isinstance(value, str) else value


def ask_as(site: Site, path: str, action: str, fields: dict, role: str) -> dict:
    """The answer to a line of the table for one role, in the words of the site's generation."""
    user, target = ROLES[role]
    if site.generation == 8:
        action = action.replace("permission", "right")
        fields = {name.replace("permission", "right"): value for name, value in fields.items()}
    return site(f"{path}/?{action}" if path else f"?{action}", user=user, **fill(fields, TARGETS[target]))
