"""Finds how long the body of a request may be, for servers that receive the body before they call the application."""

import contextlib

from mailapi import ApiError, Application, module_name, read_query


def declared_limit(app: Application, path: str, query_string: str) -> int | str:
    """Return the most bytes that a request's body may have, as the requested action declares (`max_body`).

    The result is a number, or the name of a setting in config.py that has the number. Returns 0 if nothing is
    declared. `path`: the URL path without its first slash. `query_string`: the query of the URL.
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
