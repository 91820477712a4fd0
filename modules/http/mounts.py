"""Requests below a path that a module mounts: it makes the whole answer, for clients that log in by HTTP Basic or a token.

No session is made, no cookie counts.
"""

import base64
import dataclasses

from mailapi import (
    FORBIDDEN,
    ApiError,
    Call,
    LoginRefused,
    Module,
    RequestHandler,
    anyone,
    endpoint,
)

# A request below a mount, as tokens and the audit see it: the action is the HTTP method.
MOUNTED_REQUEST = dataclasses.replace(
    endpoint(allow=anyone, required={"path": ""}, manages_transactions=True)(
        lambda module, call: {}
    ).endpoint,
    identifiers={"path": None},
)
CHALLENGE = ("WWW-Authenticate", 'Basic realm="mailapi", charset="UTF-8"')


def answer(handler: RequestHandler, first: str, below: str) -> dict:
    """Let the module that mounts the path's first segment make the answer; its ApiErrors are answered like others."""
    app = handler.app
    app.release()
    handler.path = first
    try:
        handler.call = Call(app, app.generation(), {"path": below}, {})
        handler.frame |= dict.fromkeys(("api_version", "schema_version"), handler.call.generation.number)
        response = handler.mounted_response = app.mounts[first].mount(handler, below)
    except ApiError as refused:  # to these clients HTTP 200 means done
        http = 403 if refused.http == 200 else refused.http
        raise ApiError(refused.status, http, refused.retry_after, refused.audit, **refused.answer) from None
    unchanged = response.status_code >= 400 and handler.chosen and not handler.chosen.read_only
    return handler.frame | {"status": response.status_line if unchanged else "ok"}


def admit(handler: RequestHandler, module: Module, read_only: bool) -> Call:
    """Identify the caller of a request below a mount of `module` and return the call.

    ApiError: HTTP 401 with a challenge where nobody is logged in; HTTP 403 where a page of another site asks.
    """
    call, method = handler.call, handler.environ["REQUEST_METHOD"]
    assert call is not None  # the handler makes it before it asks a module
    handler.chosen = dataclasses.replace(MOUNTED_REQUEST, name=method, read_only=read_only)
    if handler.app.cookies.is_cross_site(
        handler.environ
    ):  # browsers send Basic credentials along like cookies
        raise ApiError("Not allowed from another site.", http=403)
    try:
        authenticate(handler, call)
    except LoginRefused as refused:
        handler.headers.append(CHALLENGE)
        raise ApiError(refused.status, http=401, login=False) from None
    if call.restriction:
        call.restriction(module, handler.chosen)
    return call


def authenticate(handler: RequestHandler, call: Call):
    scheme, _, credentials = handler.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() == "bearer":
        handler.use_token(call, credentials.strip())
    else:
        handler.check_password(call, *basic_credentials(scheme, credentials), remember=False)
        handler.via = "basic"
    handler.app.identify(call)


def basic_credentials(scheme: str, credentials: str) -> tuple[str, str]:
    """Return user name and password of HTTP Basic (RFC 7617); LoginRefused where there is no user name."""
    try:
        decoded = base64.b64decode(credentials, validate=True).decode() if scheme.lower() == "basic" else ""
    except ValueError:
        decoded = ""
    user_name, _, password = decoded.partition(":")
    if not user_name or FORBIDDEN.search(decoded):
        raise LoginRefused("Username is not set!")
    return user_name, password
