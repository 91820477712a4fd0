"""Converts the api.conf of an atmail-like suite, a file of environment variables, for `mailapi import-config`.

The words within a variable's name decide what it is about. IMAP_HOST and ATMAIL_IMAP_URL are about the service imap.
APISERVER_DB_HOST and API_DATABASE_PASSWORD are about the database `apiserver`.
"""

import re
import urllib.parse
from pathlib import Path

from mailapi import ConfigError

from ..provisioning.environment_file import parse

# A word of a key → the kind of service, and the scheme of its URL.
SERVICES = {
    "SMTP": ("smtp", "smtp"),
    "IMAP": ("imap", "imap"),
    "POP": ("pop", "pop3"),
    "POP3": ("pop", "pop3"),
    "DAV": ("dav", "http"),
    "CALDAV": ("dav", "http"),
    "CARDDAV": ("dav", "http"),
    "SPAMD": ("antispam", "spamd"),
    "ANTISPAM": ("antispam", "spamd"),
    "CLAMD": ("antivirus", "clamd"),
    "ANTIVIRUS": ("antivirus", "clamd"),
    "SIEVE": ("managesieve", "sieve"),
    "MANAGESIEVE": ("managesieve", "sieve"),
}
DATABASES = {"API": "apiserver", "APISERVER": "apiserver", "MAIL": "mailserver", "MAILSERVER": "mailserver"}
DATABASE_WORDS = {"DB", "DATABASE", "MYSQL", "MARIADB", "DSN", "SQL"}
PARTS = {  # the last word of a key → the part of a URL
    "URL": "url",
    "DSN": "url",
    "URI": "url",
    "HOST": "host",
    "HOSTNAME": "host",
    "SERVER": "host",
    "ADDR": "host",
    "ADDRESS": "host",
    "PORT": "port",
    "USER": "user",
    "USERNAME": "user",
    "PASS": "password",
    "PASSWORD": "password",
    "NAME": "name",
    "DATABASE": "name",
    "DB": "name",
    "DBNAME": "name",
}
HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")


def config_py(source: str, path: Path, files: dict[str, str]) -> str:
    """Convert the text of a file of environment variables (api.conf) to the text of a config.py.

    `path` is the path of that file, for messages. `files` has the path of each module's file by class name, such as
    {"User": "modules/users.py"}. ConfigError if the variable PROVISION is not from 0 to 7.
    """
    values, strange = parse(source)
    provision = values.pop("PROVISION", ("7", 0))[0]
    if not re.fullmatch("[0-7]", provision):
        raise ConfigError(f"{path}: PROVISION must be a whole number from 0 to 7.")
    databases, services, others = sorted_out({key: value for key, (value, _) in values.items()})
    names = ["User", "Account", *(["Service"] if services else [])]
    lines = [f"# From {str(path)!r}.", "", "# The master database; the file that was read does not name it."]
    lines += ['dbpath = "data/master.db3"', "", "modulelist = {"]
    lines += [f'    "{name}": "{files[name]}",' for name in names] + ["}", ""]
    lines += [
        "# environment_file can name that file instead, so that it stays in use.",
        f"PROVISION = {provision}",
    ]
    lines += [f"{key} = {url!r}" for key, url in databases.items()]
    lines += ["services = {", *(f'    "{kind}": {url!r},' for kind, url in services.items()), "}"] * bool(
        services
    )
    left_out = [(values[key][1], key) for key in others] + [(number, "no KEY=VALUE") for number in strange]
    lines += [""] * bool(left_out)
    lines += [f"# Line {line}: {text} was not understood and is left out." for line, text in sorted(left_out)]
    return "\n".join([*lines, ""])


def sorted_out(values: dict[str, str]) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Find the URLs of databases and of services in environment variables.

    Return the databases, such as {"mailserver": "mysql://…"}, the services, such as {"imap": "imap://…"}, and the
    names of all other variables.
    """
    parts: dict[tuple[str, str], dict[str, str]] = {}
    keys: dict[tuple[str, str], list[str]] = {}
    others = []
    for key, value in values.items():
        target, part = target_of(key.upper().replace(".", "_").replace("-", "_").split("_"))
        if target is None or not value:
            others.append(key)
            continue
        parts.setdefault(target, {}).setdefault(part, value)
        keys.setdefault(target, []).append(key)
    found: dict[str, dict[str, str]] = {"database": {}, "service": {}}
    for (what, name), given in parts.items():
        url = database_url(given, name) if what == "database" else service_url(given, name)
        if url:
            found[what][name.partition(" ")[0]] = url
        else:
            others += keys[what, name]
    return found["database"], found["service"], others


def target_of(words: list[str]) -> tuple[tuple[str, str] | None, str]:
    """Return which URL in config.py an environment variable is about, and which part of the URL it has.

    `words` are the words of the variable's name. For ["POP", "HOST"], the result is (("service", "pop pop3"), "host"):
    the service `pop`, the scheme of its URL, and the part. For ["API", "DB", "PORT"], it is (("database",
    "apiserver"), "port"). For any other variable, it is (None, "").
    """
    part = PARTS.get(words[-1], "url")
    database = next((DATABASES[word] for word in words if word in DATABASES), None)
    if database and (DATABASE_WORDS.intersection(words) or words[-1] in PARTS):
        return ("database", database), "url" if words[-1] in DATABASE_WORDS and len(words) == 2 else part
    service = next((SERVICES[word] for word in words if word in SERVICES), None)
    if service and part in ("url", "host", "port") and (words[-1] in PARTS or words[-1] in SERVICES):
        return ("service", " ".join(service)), part
    return None, ""


def database_url(given: dict[str, str], name: str) -> str | None:
    """Make the mysql:// URL of a database from its parts. Return None if parts are missing or invalid.

    `given` has "user", "password", "host", "port" and "name". It may have "url" instead, which is a URL or a data
    source name of Go's MySQL driver. `name` is the default for the name of the database.
    """
    if "url" in given:
        if given["url"].startswith("mysql://"):
            return given["url"]
        given = go_dsn(given["url"])
    if "user" not in given or not HOST.fullmatch(given.get("host") or "127.0.0.1"):
        return None
    credentials = ":".join(urllib.parse.quote(given.get(part, ""), safe="") for part in ("user", "password"))
    return f"mysql://{credentials}@{host_and_port(given, '127.0.0.1')}/{given.get('name', name)}"


def go_dsn(text: str) -> dict[str, str]:
    """Split a data source name of Go's MySQL driver, such as ann:secret@tcp(192.0.2.7:3306)/mail, into its parts.

    Return {"user": "ann", "password": "secret", "name": "mail", "host": "192.0.2.7:3306"}; {} for any other text.
    """
    credentials, at, place = text.rpartition("@")
    user, _, password = credentials.partition(":")
    host, slash, name = place.partition("/")
    parts = {"user": user, "password": password, "name": name.partition("?")[0]}
    return parts | {"host": host.removeprefix("tcp").strip("()")} if at and slash else {}


def service_url(given: dict[str, str], kind: str) -> str | None:
    """Make the URL of a service, such as "imap://192.0.2.7:143", from its parts. Return None if they are invalid.

    `given` has "url", or "host" and "port". `kind` is the service, a space, and the scheme of its URL: "pop pop3".
    """
    url = given.get("url", "")
    if "://" in url:
        return None if "@" in url else url
    given = {"host": url} | given if url else given
    if not HOST.fullmatch(given.get("host", "")):
        return None
    return f"{kind.partition(' ')[2]}://{host_and_port(given, '')}"


def host_and_port(given: dict[str, str], default: str) -> str:
    """Return "HOST:PORT", or only the host if no port is known. `default` is the host if `given` has none.

    `given` has the parts of a URL: "port", and "host". If the host ends with a port, that one is used.
    """
    host, port = given.get("host") or default, given.get("port", "")
    return f"{host}:{port}" if port.isdigit() and not re.search(r":[0-9]+$", host) else host
