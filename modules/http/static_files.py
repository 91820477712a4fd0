"""Serves static files beside the API: `mailapi serve --static /admin=FOLDER`."""

import argparse
import functools
import mimetypes
import os
import re
import urllib.parse
from collections.abc import Callable, Iterable

import bottle

import mailapi

INDEX = "index.html"
VISIBLE_PATH = re.compile(r"(?:[^./\0][^/\0]*(?:/|\Z))*")  # no part empty or hidden, so none is `..`
# Scripts, editors' backup files and databases, which are never served.
PRIVATE_FILE = re.compile(
    r"(?:~|\.(?:php\w*|phtml|inc|py|cgi|(?:db3?|sqlite3?|state)(?:-\w+)?))\Z", re.IGNORECASE
)
TYPES = mimetypes.MimeTypes()  # without the system's types, so the same on every machine
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
    """Check a URL path from the command line, and return it as "/one/two", or "" for the root.

    argparse.ArgumentTypeError if it is no URL path.
    """
    path = value.strip("/")
    if not re.fullmatch(r"[\w/.~@:+-]*", value, re.ASCII) or not VISIBLE_PATH.fullmatch(path):
        raise argparse.ArgumentTypeError(f"{value} is no URL path")
    return "/" + path if path else ""


def url_and_folder(value: str) -> tuple[str, str]:
    """Split the value of the option --static, /PATH=FOLDER, into the URL path and the folder's path.

    The folder's path is returned without symbolic links. argparse.ArgumentTypeError if the value is wrong.
    """
    url, equals, folder = value.partition("=")
    if not equals or not url.startswith("/") or not folder:
        raise argparse.ArgumentTypeError(f"{value} is not /PATH=FOLDER")
    url = url_path(url)
    if not os.path.isdir(folder) or not os.access(folder, os.R_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{folder} is no folder that can be read")
    return url, os.path.realpath(folder)


class StaticFolders:
    """A WSGI application that serves the API at the URL path `mount`, and static files at other URL paths.

    `folders`: pairs (URL path, folder with static files). The longest URL path that fits a request decides. If none
    fits, the API answers. `secrets`: files such as config.py. ConfigError if a folder contains one of them, or has a
    URL path of the API.
    """

    def __init__(
        self, app: mailapi.Application, mount: str, folders: Iterable[tuple[str, str]], secrets: Iterable[str]
    ):
        mounts: dict[str, Callable] = {mount: app}
        for url, folder in folders:
            refuse_collision(app, mount, url, url in mounts)
            refuse_secrets(folder, secrets)
            mounts[url] = folder_app(folder)
        self.mounts = sorted(mounts.items(), key=lambda item: -len(item[0]))
        self.mount, self.app = mount, app

    def __call__(self, environ, start_response):
        environ["SCRIPT_NAME"], environ["PATH_INFO"], serve = self.route(environ["PATH_INFO"])
        return serve(environ, start_response)

    def route(self, path: str) -> tuple[str, str, Callable]:
        """Find the WSGI application for a URL path: the API, or a folder of static files. Split the path there.

        For example, "/admin/a.js" gives ("/admin", "/a.js", application).
        """
        for url, serve in self.mounts:
            if path == url or path.startswith(url + "/"):
                return url, path[len(url) :], serve
        return self.mount, path, self.app  # a proxy may have removed the API's path

    def body_limit(self, path: str, query_string: str) -> int:
        """Return the most bytes that the body of a request may have. Return 0 for static files.

        `path` and `query_string`: those of the request's URL.
        """
        _, below, serve = self.route("/" + path.lstrip("/"))  # waitress gives the app one slash, too
        return self.app.body_limit(below, query_string) if serve is self.app else 0


def refuse_collision(app: mailapi.Application, mount: str, url: str, taken: bool):
    """Raise ConfigError if the URL path `url` of a folder of static files is in use, by the API or another folder.

    `mount`: the URL path of the API. `taken`: whether another folder uses `url`.
    """
    if url == mount:
        raise mailapi.ConfigError(f"--static {url or '/'}: the API is there; --mount gives it another path.")
    if taken:
        raise mailapi.ConfigError(f"--static {url or '/'} is given twice.")
    below = url.removeprefix(mount + "/").split("/")[0] if url.startswith(mount + "/") else ""
    if below == "index.php" or below in app.modules and below:
        raise mailapi.ConfigError(f"--static {url}: the API answers there; choose another path.")


def refuse_secrets(folder: str, secrets: Iterable[str]):
    """Raise ConfigError if one of the files in `secrets`, such as config.py, is below the folder."""
    for secret in map(os.path.realpath, secrets):
        if secret.startswith(os.path.join(folder, "")):
            raise mailapi.ConfigError(
                f"--static: {secret} is in {folder} and not for everybody to read; serve a folder without it."
            )


def folder_app(folder: str) -> bottle.Bottle:
    """Return a WSGI application that serves the files in a folder, for GET and HEAD."""
    app = bottle.Bottle()
    app.route("/<path:re:[\\s\\S]*>", "GET", functools.partial(send, folder))
    app.default_error_handler = plain_error
    return app


def plain_error(error: bottle.HTTPError) -> str:
    bottle.response.content_type = "text/plain; charset=UTF-8"
    bottle.response.set_header("X-Content-Type-Options", "nosniff")
    return error.status_line + "\n"


def send(folder: str, path: str) -> bottle.HTTPResponse:
    """Return the response with a static file, for the request that Bottle is processing.

    `path`: the path of the file in the folder. If it ends with "/", the file is index.html. HTTPError (404) if there
    is no such file, or if it is private.
    """
    environ = bottle.request.environ
    file = real_file(folder, path)
    if os.path.isdir(file):
        if not environ["PATH_INFO"].endswith("/"):
            return bottle.HTTPResponse(status=302, headers={"Location": with_slash(environ)})
        file = real_file(folder, path + INDEX)
    elif path.endswith("/"):
        raise bottle.HTTPError(404)
    if not os.path.isfile(file) or PRIVATE_FILE.search(file):
        raise bottle.HTTPError(404)
    if "HTTP_IF_NONE_MATCH" in environ:  # then If-Modified-Since does not count (RFC 9110, 13.1.3)
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
    """Return the real path of the file at `path` in the folder, without symbolic links.

    HTTPError (404) if the file is hidden, or if a link leads out of the folder.
    """
    file = os.path.realpath(os.path.join(folder, path)) if VISIBLE_PATH.fullmatch(path) else ""
    if not f"{file}/".startswith(f"{folder}/") or not VISIBLE_PATH.fullmatch(file[len(folder) + 1 :]):
        raise bottle.HTTPError(404)
    return file


def with_slash(environ: dict) -> str:
    """Return the URL of a requested folder with a slash at its end, relative to the request, such as "./docs/"."""
    # Relative, because proxies may change the beginning of the path.
    name = (environ["SCRIPT_NAME"] + environ["PATH_INFO"]).rpartition("/")[2]
    query = environ.get("QUERY_STRING", "")
    return f"./{urllib.parse.quote(name)}/" + (f"?{query}" if query else "")


def etag(status: os.stat_result) -> str:
    """Return an ETag for a file, which changes whenever the file does. `status`: os.stat() of the file."""
    return f'"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"'
