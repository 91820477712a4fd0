"""Access rules: a request with a token cannot change the password, alias or permissions of the token's owner."""

from mailapi import Rule


def not_by_own_token(sentence: str) -> Rule:
    """Return an access rule that refuses a request with a token if its user_name is the owner of this token.

    Otherwise somebody who has only the token could set a password and log in. `sentence` is the error message.
    """
    return Rule(
        "no token of user_name's own",
        lambda call: call.restriction is None or call.body["user_name"] != call.user_name,
        sentence,
    )


may_set_password = not_by_own_token("A token cannot set its user's password.")
may_change_permissions = not_by_own_token("A token cannot change its user's {permission}s.")
may_change_alias = not_by_own_token("A token cannot change its user's alias.")
