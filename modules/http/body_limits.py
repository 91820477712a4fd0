"""The limit of a request's body, for servers that receive the body before they call the application."""

import contextlib

from mailapi import ApiError, Application, module_name, read_query


def declared_limit(app: Application, path: str, query_string: str) -> int | str:
    """Return the `max_body` that the requested action declares: bytes, a key of the config, or 0 for the default.

    path: the URL path of the request without its first slash. query_string: its query, which may name the
    action.
    """
    first, _, below = path.partition("/")
    if first in app.mounts:
        return app.mounts[first].mount_max_body
    name = module_name(path)
    chosen = None
    if name in app.modules:
        with contextlib.suppress(ApiError):  # the app will raise it again
            chosen = app.modules[name].choose(read_query(query_string))
    elif first in app.modules:  # the second wire: MODULE/ACTION
        chosen = app.modules[first].endpoints.get(below)
    return chosen.max_body if chosen else 0
