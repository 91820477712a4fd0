"""Conversion of the `mysql://` URLs in config.py to options of PyMySQL."""

import re
from collections.abc import Iterable

from mailapi import ConfigError, is_url

OPTIONS = {
    "database",
    "user",
    "passwd",
    "host",
    "port",
    "unix_socket",
    "ssl_ca",
    "ssl_cert",
    "ssl_key",
    "ssl_verify_cert",
    "ssl_verify_identity",
}


def read_url(url: str, key: str, also: Iterable[str] = ()) -> dict:
    """Return PyMySQL's options for a `mysql://` URL, such as {"host": "db", "user": "mailapi", "database": "mail"}.

    `key`: the setting that has the URL, for error messages. `also`: the names of further options that the URL may
    have. ConfigError if the URL is invalid; the message does not contain the password.
    """
    from playhouse.db_url import parse

    try:
        options = parse(url, unquote_password=True, unquote_user=True)
    except ValueError:  # its message may have the password
        raise ConfigError(f"{key} must be mysql://USER:PASSWORD@HOST/DATABASE.") from None
    if not is_url(url) or not options["database"]:
        raise ConfigError(f"{key} must be mysql://USER:PASSWORD@HOST/DATABASE.")
    if unknown := set(options) - OPTIONS - set(also):
        raise ConfigError(f"{key} has unknown options: {', '.join(sorted(unknown))}.")
    if "ssl_ca" in options:
        options.setdefault("ssl_verify_cert", True)  # PyMySQL's default accepts any certificate
    elif options.get("ssl_verify_identity"):  # without ssl_ca PyMySQL would ignore it
        raise ConfigError(f"{key}: ssl_verify_identity needs ssl_ca.")
    options["password"] = str(options.pop("passwd", ""))
    try:
        import pymysql  # noqa: F401  the driver, an optional dependency
    except ImportError:
        raise ConfigError(f"{key} needs PyMySQL: install mailapi-server[mariadb].") from None
    return options


def without_password(database: str) -> str:
    """Return a database setting for logs: a URL without user name and password, or a path unchanged."""
    return re.sub("^mysql://.*@", "mysql://", database) if is_url(database) else database
