"""Logging out, by users/?logout or ?logout of any other module."""

from mailapi import ApiError, Call, RequestHandler, log


def log_out(handler: RequestHandler, call: Call) -> dict:
    """End the session of the request's cookie, delete the cookie, and return the answer, such as {"status": "…"}.

    If the session cannot be ended, only the cookie is deleted, and the answer's `status` says so.
    """
    app, environ = handler.app, handler.environ
    app.db.release()  # since the request may wait for the state database
    status = "Successfully logged out."
    if token := app.cookies.read(environ):
        handler.headers.append(app.cookies.header(environ, "", "; Max-Age=0"))
        try:
            session, call.session = app.sessions.find(token), token
            handler.via, call.claimed_name = "log-out", session and session.user_name
            app.sessions.end(token)
        except ApiError as error:
            status = f"Logged out in this browser only: the session could not be ended. {error.status}"
            log.error("a session could not be ended: %s", error.status)
    return handler.frame | {"status": status, "login": False}
