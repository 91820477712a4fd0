"""Rules against tokens that give their own user a password, permissions or an alias."""

from mailapi import Rule


def not_by_own_token(sentence: str) -> Rule:
    """Return the rule that refuses a token whose own user the request names.

    With a password or an alias the token's holder could log in, and with permissions do more than the token allows.
    """
    return Rule(
        "no token of user_name's own",
        lambda call: call.restriction is None or call.body["user_name"] != call.user_name,
        sentence,
    )


may_set_password = not_by_own_token("A token cannot set its user's password.")
may_change_permissions = not_by_own_token("A token cannot change its user's {permission}s.")
may_change_alias = not_by_own_token("A token cannot change its user's alias.")
