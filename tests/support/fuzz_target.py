"""Coverage-guided fuzzing, as a program: `python tests/support/fuzz_target.py wire|mail|send [-max_total_time=SECONDS]`.

wire: what a request says is read or refused with an ApiError, and every answer can be encoded.
mail: any bytes are shown as a mail, in parts, as HTML and in a thread, in JSON that is UTF-8.
send: any bytes are refused as a ready message, or queued in lines that SMTP takes, to addresses that are some.
"""

import base64
import io
import json
import re
import sys
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[0] = str(ROOT)

with atheris.instrument_imports(include=["mailapi", "mailapi_modules", "email"]):
    import mailapi

    app = mailapi.create_app(
        {
            "dbpath": "unused",
            "modulelist": mailapi.run_config(ROOT / "config.sample.py")["modulelist"]
            | {"MSA": "modules/msa.py"},
        }
    )

    from mailapi_modules.http import jsonp, large_bodies
    from mailapi_modules.mail import compose, messages
    from mailapi_modules.mail import parts as mailparts
    from mailapi_modules.mail.mail_page import mail_page, sanitized_html
    from mailapi_modules.mail.search import Search
    from mailapi_modules.mail.threads import group_into_threads

ENDPOINTS = [(module, endpoint) for module in app.modules.values() for endpoint in module.endpoints.values()]
FIELDS = sorted(
    {name for _, endpoint in ENDPOINTS for name in [*endpoint.fields(mailapi.GENERATIONS[9]), "auth"]}
)
QUERY_END = b"\0\n"


def json_body(data: bytes) -> bytes:
    """Return a JSON body with declared fields and odd values, which random bytes would hardly ever be."""
    source = atheris.FuzzedDataProvider(data)

    def value(depth=0):
        kind = source.ConsumeIntInRange(0, 8 if depth < 4 else 5)
        if kind == 6:
            return [value(depth + 1) for _ in range(source.ConsumeIntInRange(0, 4))]
        if kind > 6:
            return {name(): value(depth + 1) for _ in range(source.ConsumeIntInRange(0, 4))}
        return [None, True, source.ConsumeInt(9), source.ConsumeFloat(), source.ConsumeUnicode(40), "0"][kind]

    def name():
        return (
            FIELDS[source.ConsumeIntInRange(0, len(FIELDS) - 1)]
            if source.ConsumeBool()
            else source.ConsumeUnicode(9)
        )

    return json.dumps({name(): value() for _ in range(source.ConsumeIntInRange(1, 6))}).encode()


def wire(data: bytes):
    """Read a request."""
    query, _, body = data.partition(QUERY_END)
    body = json_body(body[1:]) if body[:1] == b"!" else body
    environ = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
    try:
        asked = mailapi.read_query(query.decode("latin-1"))
        callback = jsonp.read_callback(asked["callback"], environ) if "callback" in asked else None
        mailapi.read_limit(asked.get("limit", "1"))
        raw = mailapi.raw_body(environ, mailapi.body_length(environ), 10_000)
        large_bodies.find_auth(raw)
        fields = mailapi.read_object(raw) if len(raw) < 1_000 else large_bodies.read_large_object(raw, 1_000)
        mailapi.refuse_forbidden_text(fields)
    except mailapi.ApiError:
        return
    for _, endpoint in ENDPOINTS:
        for generation in mailapi.GENERATIONS.values():
            try:
                read = endpoint.read(generation, fields, asked)
            except mailapi.ApiError as refused:
                read = refused.status
            payload = mailapi.encode({"read": read})
            assert json.loads(payload) is not None
            if callback:
                quoted = jsonp.jsonp(callback, payload.decode())
                assert not set("\n\r\u2028\u2029") & set(quoted)


def mail(data: bytes):
    """Show bytes as a mail."""
    row = {"mail_id": 1, "mail_submission": "1", "mail_data": data}
    for answer in (messages.mail_summary(row, "master"), messages.mail_details(row, "master", more=True)):
        again = json.loads(mailapi.encode(answer))
        assert all(
            isinstance(value, str)
            for name, value in again.items()
            if name in ("mail_subject", "mail_body", "mail_text")
        )
    parts = mailparts.parts(data)
    for part in parts:
        assert part.description()["size"] == len(part.file().content)
        assert all(value.isascii() and value.isprintable() for _, value in part.file().headers())
    shown = sanitized_html(parts).html
    assert b"<script" not in mail_page(data).content
    assert mailapi.encode({"mail_html": shown}) and "<script" not in shown and " on" not in tags(shown)
    assert Search({"text": messages.searchable_text(data)[:9]}).matches(data)
    assert sorted(index for thread in group_into_threads([data, data]) for index, _ in thread) == [0, 1]


def tags(shown: str) -> str:
    """Return the tags alone, without what is in quotes."""
    return re.sub('"[^"]*"', "", " ".join(re.findall("<[^>]*>", shown)))


ENVELOPE = re.compile(r"""[^\s<>"@]+@\S+|"([^"\\\r\n\0]|\\.)+"@\S+""")


def send(data: bytes):
    """Send bytes as a ready message."""
    message = base64.b64encode(data)
    try:
        made = compose.compose_mail({"message": message}, lambda: None, app.config)
    except mailapi.ApiError as refused:
        assert "\n" not in refused.status and refused.status.encode()
        return
    assert all(ENVELOPE.fullmatch(one) for one in [made.sender.address, *made.recipients]) and made.recipients
    lines = made.data.split(b"\r\n")
    assert not any(set(line) & {0, 10, 13} or len(line) > 998 for line in lines) and lines[-1] == b""
    head = made.data.partition(b"\r\n\r\n")[0].lower()
    assert not re.search(rb"^(resent-)?bcc[ \t]*:", head, re.MULTILINE)
    again = compose.compose_mail(
        {"message": base64.b64encode(made.data), "to": "a@b"}, lambda: None, app.config
    )
    assert again.data == made.data


if __name__ == "__main__":
    target = {"wire": wire, "mail": mail, "send": send}[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()
