"""Folders of static files beside the API, at the same origin: for `mailapi serve --static /admin=FOLDER`."""

import argparse
import functools
import mimetypes
import os
import re
import urllib.parse
from collections.abc import Iterable

import bottle

import mailapi

INDEX = "index.html"
PLAIN = re.compile(r"(?:[^./\0][^/\0]*(?:/|\Z))*")  # no part empty or hidden, so none is `..`
# What a web server would run, editors leave behind, or SQLite keeps: never meant to be read.
SOURCE = re.compile(r"(?:~|\.(?:php\w*|phtml|inc|py|cgi|(?:db3?|sqlite3?|state)(?:-\w+)?))\Z", re.IGNORECASE)
TYPES = mimetypes.MimeTypes()  # Python's own, not the system's: the same everywhere
for suffix, kind in {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".map": "application/json",
    ".ico": "image/x-icon",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".md": "text/markdown",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".ttf": "font/ttf",
    ".otf": "font/otf",
}.items():
    TYPES.add_type(kind, suffix)


def url_path(value: str) -> str:
    """A URL path as --mount and --static take it: "" or "/one/two"."""
    path = value.strip("/")
    if not re.fullmatch(r"[\w/.~@:+-]*", value, re.ASCII) or not PLAIN.fullmatch(path):
        raise argparse.ArgumentTypeError(f"{value} is no URL path")
    return "/" + path if path else ""


def url_and_folder(value: str) -> tuple[str, str]:
    """What --static takes, /PATH=FOLDER: the URL path, and the folder's real path."""
    url, equals, folder = value.partition("=")
    if not equals or not url.startswith("/") or not folder:
        raise argparse.ArgumentTypeError(f"{value} is not /PATH=FOLDER")
    url = url_path(url)
    if not os.path.isdir(folder) or not os.access(folder, os.R_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{folder} is no folder that can be read")
    return url, os.path.realpath(folder)


class Beside:
    """A WSGI callable: the API under its mount, and folders under theirs. The longest path that fits a request
    decides; what fits none is for the API, as a proxy may take the mount away.

    ConfigError where a folder would hide the API, or show what is secret.
    """

    def __init__(
        self, app: mailapi.Application, mount: str, folders: Iterable[tuple[str, str]], secrets: Iterable[str]
    ):
        places = {mount: app}
        for url, folder in folders:
            refuse_collision(app, mount, url, url in places)
            refuse_secrets(folder, secrets)
            places[url] = folder_app(folder)
        self.places = sorted(places.items(), key=lambda place: -len(place[0]))
        self.mount, self.app = mount, app

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        for url, serve in self.places:
            if path == url or path.startswith(url + "/"):
                environ["SCRIPT_NAME"], environ["PATH_INFO"] = url, path[len(url) :]
                return serve(environ, start_response)
        environ["SCRIPT_NAME"] = self.mount
        return self.app(environ, start_response)

    def body_limit(self, path: str, query_string: str) -> int:
        """Bytes that the body of a request may have; one to a static folder has none."""
        path = "/" + path.lstrip("/")  # as waitress hands it over
        for url, serve in self.places:
            if path == url or path.startswith(url + "/"):
                return self.app.body_limit(path[len(url) :], query_string) if serve is self.app else 0
        return self.app.body_limit(path, query_string)


def refuse_collision(app: mailapi.Application, mount: str, url: str, taken: bool):
    if url == mount:
        raise mailapi.ConfigError(f"--static {url or '/'}: the API is there; --mount gives it another path.")
    if taken:
        raise mailapi.ConfigError(f"--static {url or '/'} is given twice.")
    below = url.removeprefix(mount + "/").split("/")[0] if url.startswith(mount + "/") else ""
    if below == "index.php" or below in app.modules and below:
        raise mailapi.ConfigError(f"--static {url}: the API answers there; choose another path.")


def refuse_secrets(folder: str, secrets: Iterable[str]):
    for secret in map(os.path.realpath, secrets):
        if secret.startswith(os.path.join(folder, "")):
            raise mailapi.ConfigError(
                f"--static: {secret} is in {folder} and not for everybody to read; serve a folder without it."
            )


def folder_app(folder: str) -> bottle.Bottle:
    """A WSGI callable that serves the files of a folder to GET and HEAD."""
    app = bottle.Bottle()
    app.route("/<path:re:[\\s\\S]*>", "GET", functools.partial(send, folder))
    app.default_error_handler = plain_error
    return app


def plain_error(error: bottle.HTTPError) -> str:
    bottle.response.content_type = "text/plain; charset=UTF-8"
    bottle.response.set_header("X-Content-Type-Options", "nosniff")
    return error.status_line + "\n"


def send(folder: str, path: str) -> bottle.HTTPResponse:
    """Answer Bottle's current request with the file at a path below folder."""
    environ = bottle.request.environ
    file = real_file(folder, path)
    if os.path.isdir(file):
        if not environ["PATH_INFO"].endswith("/"):
            return bottle.HTTPResponse(status=302, headers={"Location": with_slash(environ)})
        file = real_file(folder, path + INDEX)
    elif path.endswith("/"):
        raise bottle.HTTPError(404)
    if not os.path.isfile(file) or SOURCE.search(file):
        raise bottle.HTTPError(404)
    if (
        "HTTP_IF_NONE_MATCH" in environ
    ):  # it alone decides (RFC 9110, 13.1.3): a file may be replaced by an older one
        environ.pop("HTTP_IF_MODIFIED_SINCE", None)
    kind, packed = TYPES.guess_type(file)
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return bottle.static_file(
        os.path.relpath(file, folder),
        folder,
        headers=headers,
        etag=etag(os.stat(file)),
        mimetype=kind if kind and not packed else "application/octet-stream",
    )


def real_file(folder: str, path: str) -> str:
    """Where a path below folder really is; 404 where it is hidden, or not below folder at all."""
    file = os.path.realpath(os.path.join(folder, path)) if PLAIN.fullmatch(path) else ""
    if not f"{file}/".startswith(f"{folder}/") or not PLAIN.fullmatch(file[len(folder) + 1 :]):
        raise bottle.HTTPError(404)
    return file


def with_slash(environ: dict) -> str:
    """The way from a folder's URL to the same with a slash: relative, as a proxy may show it elsewhere."""
    name = (environ["SCRIPT_NAME"] + environ["PATH_INFO"]).rpartition("/")[2]
    query = environ.get("QUERY_STRING", "")
    return f"./{urllib.parse.quote(name)}/" + (f"?{query}" if query else "")


def etag(seen: os.stat_result) -> str:
    """Another one for every version of a file."""
    return f'"{seen.st_ino:x}-{seen.st_mtime_ns:x}-{seen.st_size:x}"'
