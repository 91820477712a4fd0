"""Responses to requests to the panel: find the page for a URL, check who may see it, and run submitted forms."""

import re
import urllib.parse

import bottle
from peewee import PeeweeException

from mailapi import SMALL_BODY, ApiError, LoginRefused, RequestHandler, log_exception, refusal

from ..http.log_out import log_out as end_session
from . import responses
from .forms import MOST_BEFORE_LOG_IN, read_form, urlencoded
from .operation import DANGEROUS_ROWS
from .site import FORMS, PAGES, Form, Page
from .templates import link
from .texts import LANGUAGES
from .visitor import Fields, PageRefused, Visitor, log_in

NOT_THERE = ("mail not found", "part not found")  # refusals for which the page has HTTP 404
NOT_SENT_BACK = ("token", "by", "user_authdata", "again")  # fields with passwords, or for one request only
NEXT = re.compile(r"[a-z-]{0,30}(?:\?[\w%&=.+*~-]{0,2000})?", re.ASCII)  # a page of the panel with its query


def answer(handler: RequestHandler, path: str) -> bottle.HTTPResponse:
    """Return the response to a request below panel/. Any error becomes a page with an error message."""
    visitor = Visitor(handler, path)
    try:
        visitor.read_query()
        if path in responses.STATIC:
            return responses.static_file(path)
        if not path and not handler.environ["PATH_INFO"].endswith("/"):
            return responses.redirect(visitor, "panel/")
        return respond(visitor, path)
    except ApiError as error:
        problem = error.bare()
    except PeeweeException as error:
        problem = refusal(error)
    except Exception:
        log_exception("a page of the panel failed")
        problem = ApiError("Internal error. The log has the cause.", http=500)
    handler.refused = problem
    if isinstance(problem, PageRefused):  # for the audit; what actions refuse was reported
        handler.chosen = None
    if problem.retry_after:
        handler.headers.append(("Retry-After", str(problem.retry_after)))
    return failure(visitor, problem)


def failure(visitor: Visitor, problem: ApiError) -> bottle.HTTPResponse:
    """Return the error page for a request that was refused or failed."""
    http = problem.http
    if http == 200:
        http = 404 if problem.status in NOT_THERE else 403
    return responses.page(visitor, "error", http, sentence=visitor.t.sentence(problem.status), current=None)


def respond(visitor: Visitor, path: str) -> bottle.HTTPResponse:
    """Return the page at `path`; for a POST, run its form and redirect. ApiError if the request is refused.

    Users who are not logged in get the log-in page.
    """
    method = visitor.environ["REQUEST_METHOD"]
    if method not in ("GET", "HEAD", "POST"):
        raise ApiError("Use POST.", http=405)
    if method == "POST" and visitor.app.cookies.is_cross_site(visitor.environ):
        raise ApiError("Not allowed from another site.", http=403)
    if "/" in path:  # below a page; relative addresses would lead back there
        raise ApiError(visitor.t.no_such_page, http=404)
    if path == "log-in":
        return log_in_page(visitor, method)
    if path == "language" and method == "POST":
        return choose_language(visitor)
    try:
        visitor.identify()
    except LoginRefused:
        if response := without_session(visitor, path, method):
            return response
    if path == "log-out" and method == "POST":
        return log_out(visitor)
    if not (chosen := PAGES.get(path)) or not chosen.exists(visitor):
        raise ApiError(visitor.t.no_such_page, http=404)
    if not chosen.allow(visitor):
        raise PageRefused(visitor)
    return submit(visitor, path, chosen) if method == "POST" else show(visitor, path, chosen)


def show(visitor: Visitor, path: str, chosen: Page, http: int = 200) -> bottle.HTTPResponse:
    """Return the response that shows the page `chosen` to the user. `path` is its URL below panel/."""
    values = chosen.view(visitor)
    if isinstance(values, bottle.HTTPResponse):
        return values
    return responses.page(visitor, chosen.template or path, http, current=chosen.section or path, **values)


def submit(visitor: Visitor, path: str, chosen: Page) -> bottle.HTTPResponse:
    """Run the submitted form of the page `chosen`, and redirect to the next page.

    If the form is refused, show the page again with the reason and the user's input, except passwords. A form that was
    filled in during an earlier session is not run: the page shows the input, for the user to check and submit again.
    Such a form has the token of that session, or is in the field `typed` of the log-in page's form.
    """
    if not visitor.form.pairs:  # else read for the log-in
        visitor.form = read_form(visitor.handler, trusted=True)
    with_log_in = visitor.form.has("password")
    if with_log_in:
        if visitor.form("user_name") not in ("", visitor.name) and (response := change_user(visitor, chosen)):
            return response
        visitor.form = urlencoded(visitor.form.exactly("typed"))
    visitor.form_name = visitor.form("form")
    form = FORMS.get(visitor.form_name)
    if not form or form.page != path:
        raise ApiError(visitor.t.form_is_old, http=403)
    if with_log_in or not visitor.has_token():
        visitor.problem = visitor.t.form_is_old
        return show(visitor, path, chosen, 200 if with_log_in else 403)
    try:
        outcome = form.run(visitor)
    except LoginRefused:
        return log_in_for_form(visitor)
    except ApiError as error:
        if error.http == 500:
            raise
        visitor.problem, visitor.answer = visitor.t.sentence(error.status), error.answer
        visitor.blamed = error.field or blamed_field(visitor, form, error.status)
        return show(visitor, path, chosen)
    DANGEROUS_ROWS.pop(visitor.app, None)
    return responses.redirect(visitor, *outcome) if outcome else show(visitor, path, chosen)


def blamed_field(visitor: Visitor, form: Form, status: str) -> str:
    """Return the name of the form field that caused a refusal, such as "user_name".

    `status` is the sentence of the refusal, such as "Invalid value for user_name.".
    """
    found = visitor.endpoint(*form.action_of(visitor)) if form.action else None
    required = found[1].needed(visitor.generation) if found else {}
    named = {visitor.call.in_generation(sentence): field for field, sentence in required.items()}
    field = re.fullmatch(r"Invalid value for ([\w.]{1,80})\.", status)
    return named.get(status) or (field[1] if field else form.blame)


########## Log-in ##################################################################################


def log_in_address(visitor: Visitor, path: str) -> str:
    """Return the URL of the log-in page that leads to `path` afterwards, such as "log-in?next=people"."""
    query = visitor.environ.get("QUERY_STRING", "")
    wanted = path + (f"?{query}" if query else "")
    return link("log-in", next=wanted) if wanted and NEXT.fullmatch(wanted) else "log-in"


def log_in_page(visitor: Visitor, method: str) -> bottle.HTTPResponse:
    """Return the log-in page. If the right password was submitted, redirect to the page in the URL's field `next`.

    Without `next`, redirect to the start page.
    """
    wanted = visitor.query("next")
    target = wanted if NEXT.fullmatch(wanted) and wanted else "./"
    if method != "POST":
        crosses = visitor.app.cookies.is_cross_site(visitor.environ)
        return responses.page(visitor, "log-in", current=None, from_other_site=crosses, target=target)
    visitor.form = read_form(visitor.handler, trusted=False)
    return refused_log_in(visitor) or responses.redirect(visitor, target)


def without_session(visitor: Visitor, path: str, method: str) -> bottle.HTTPResponse | None:
    """Return the response to a request without a valid session: the log-in page, or a redirect to it.

    Return None if the submitted form has a right password, which begins a session.
    """
    if method != "POST":
        return responses.redirect(visitor, log_in_address(visitor, path))
    if path == "log-out":
        return responses.redirect(visitor, "log-in", "logged_out")
    visitor.form = read_form(visitor.handler, trusted=False)
    return refused_log_in(visitor) if visitor.form.has("password") else log_in_for_form(visitor)


def log_in_for_form(visitor: Visitor) -> bottle.HTTPResponse:
    """Return the log-in page in answer to a form whose session has ended.

    The hidden field `typed` of that page has the form's fields, to show them again after the log-in. Passwords and
    files are left out. ApiError if the rest is too much to be read again before the log-in.
    """
    typed = [
        (name, value)
        for name, value in visitor.form.pairs
        if name not in NOT_SENT_BACK and (name != "file" or "password" not in value)
    ]
    encoded = urllib.parse.urlencode(typed, errors="replace")
    if len(encoded) > MOST_BEFORE_LOG_IN - SMALL_BODY:  # the rest is for the user name and the password
        raise ApiError("Request body too large.", http=413)
    visitor.form = Fields([("typed", encoded)])
    return responses.page(visitor, "log-in", current=None, from_other_site=False)


def change_user(visitor: Visitor, chosen: Page) -> bottle.HTTPResponse | None:
    """Log another user in, in place of the one who has logged in since the log-in page was shown.

    Return the log-in page if that is refused, else None. PageRefused if the user may not see the page `chosen`.
    """
    if response := refused_log_in(visitor):
        return response
    if not chosen.allow(visitor):
        raise PageRefused(visitor)
    return None


def refused_log_in(visitor: Visitor) -> bottle.HTTPResponse | None:
    """Log the user in by the submitted form. If that is refused, return the log-in page with the reason, else None."""
    try:
        log_in(visitor)
    except ApiError as error:
        if error.http >= 500:
            raise
        handler = visitor.handler
        handler.refused = error.bare()  # for the audit
        visitor.problem = visitor.t.sentence(error.status)
        if error.retry_after:
            handler.headers.append(("Retry-After", str(error.retry_after)))
        handler.headers[:] = [pair for pair in handler.headers if pair[0] != "Set-Cookie"]
        return responses.page(visitor, "log-in", error.http, current=None, from_other_site=False)
    return None


def log_out(visitor: Visitor) -> bottle.HTTPResponse:
    """End the session, and redirect to the log-in page."""
    visitor.form = read_form(visitor.handler, trusted=False)
    if not visitor.has_token():
        raise ApiError(visitor.t.form_is_old, http=403)
    visitor.handler.chosen = None
    end_session(visitor.handler, visitor.call)
    return responses.redirect(visitor, "log-in", "logged_out")


def choose_language(visitor: Visitor) -> bottle.HTTPResponse:
    """Store the language in a cookie for a year, and redirect to the page on which it was chosen."""
    visitor.form = read_form(visitor.handler, trusted=False)
    language, page = visitor.form("language"), visitor.form("page")
    if language in LANGUAGES:
        visitor.handler.headers.append(responses.set_cookie(visitor, "panel_language", language, 365 * 86400))
    return responses.redirect(visitor, page if page and NEXT.fullmatch(page) else "./")
