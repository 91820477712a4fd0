"""Rules against tokens that give their own user a password, permissions or an alias."""

from mailapi import Rule


def not_by_own_token(sentence: str) -> Rule:
    """Return the access rule that a token must not change its own user. `sentence` is the error message.

    With a new password or alias, somebody who has only the token could log in; new permissions would let it do more.
    """
    return Rule(
        "no token of user_name's own",
        lambda call: call.restriction is None or call.body["user_name"] != call.user_name,
        sentence,
    )


may_set_password = not_by_own_token("A token cannot set its user's password.")
may_change_permissions = not_by_own_token("A token cannot change its user's {permission}s.")
may_change_alias = not_by_own_token("A token cannot change its user's alias.")
