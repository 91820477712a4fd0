"""`mailapi serve --static`: folders of files beside the API, and no way out of them. Over real HTTP."""

import http.client
import json
import os
import shutil
import urllib.request

import pytest

from support.command_line import CONFIG, Server, request_of_root, run_mailapi
from support.deployment import recipe
from support.over_http import new_session
from support.session import check_session
from support.site import ROOT, Site

SECRET = "nobody may read this"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An installation with a folder `www` of files to serve, and secrets in and around it."""
    base = tmp_path_factory.mktemp("static")
    Site(base)
    (base / "config.py").write_text(CONFIG)
    (base / "secret.txt").write_text(SECRET)
    (base / "www-secret").mkdir()
    (base / "www-secret/secret.txt").write_text(SECRET)
    www = base / "www"
    for name in ("sub/deep", ".git", "empty", "of config.php"):
        (www / name).mkdir(parents=True)
    for name in ("index.html", "sub/index.html", "of config.php/index.html"):
        (www / name).write_text(f"<!doctype html><p>{name} ä")
    for name in (
        "app.js",
        "style.css",
        "data.json",
        "pic.svg",
        "font.woff2",
        "LICENSE",
        "a b ü.txt",
        "x.tar.gz",
        "...",
    ):
        (www / name).write_text(f"{name} ä")
    for name in (
        ".htaccess",
        ".git/config",
        "config.php",
        "old.PHP5",
        "page.html~",
        "x.py",
        "x.db3",
        "x.db3-journal",
    ):
        (www / name).write_text(SECRET)
    links = {
        "inner.html": "index.html",
        "out.txt": "../secret.txt",
        "far.txt": "/etc/passwd",
        "up": "..",
        "git": ".git",
        "sibling": "../www-secret",
        "loop": "loop",
        "inside": "sub",
        "source.txt": "config.php",
    }
    for name, target in links.items():
        (www / name).symlink_to(target)
    (www / "empty/index.html").symlink_to("../../secret.txt")
    os.mkfifo(www / "pipe")
    return base


@pytest.fixture(scope="module")
def server(folder):
    with Server(folder, "--static", "/admin=www", "--static", "/other/place=www/sub") as started:
        yield started


def fetch(server, path, method="GET", **headers):
    """Send a path as it is; return status, headers and body."""
    connection = http.client.HTTPConnection(server.host, int(server.port), timeout=60)
    connection.putrequest(method, path, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    with connection.getresponse() as got:
        body = got.read()
    connection.close()
    return got.status, got.headers, body.decode()


HTML, PLAIN = "text/html; charset=UTF-8", "text/plain; charset=UTF-8"


@pytest.mark.parametrize(
    "name, kind",
    [
        ("", HTML),
        ("index.html", HTML),
        ("inner.html", HTML),
        ("sub/", HTML),
        ("inside/index.html", HTML),
        ("up/www/", HTML),
        ("of%20config.php/", HTML),
        ("index.html?v=1&..=/etc", HTML),
        ("a%20b%20%C3%BC.txt", PLAIN),
        ("app.js", "text/javascript; charset=UTF-8"),
        ("style.css", "text/css; charset=UTF-8"),
        ("data.json", "application/json"),
        ("pic.svg", "image/svg+xml"),
        ("font.woff2", "font/woff2"),
        ("LICENSE", "application/octet-stream"),
        ("x.tar.gz", "application/octet-stream"),
    ],
)
def test_files_have_the_type_of_their_name(server, name, kind):
    status, headers, body = fetch(server, "/admin/" + name)
    assert status == 200 and body.endswith("ä")
    assert headers["Content-Type"] == kind and headers["X-Content-Type-Options"] == "nosniff"
    assert int(headers["Content-Length"]) == len(body.encode())
    assert "Content-Encoding" not in headers and "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "%2e%2e/secret.txt",
        "..%2fsecret.txt",
        "%2e%2e%2fsecret.txt",
        "%252e%252e/secret.txt",
        "sub/../../secret.txt",
        "sub/../app.js",
        "..%c0%afsecret.txt",
        ".%ff./secret.txt",
        "..\\secret.txt",
        "..%5csecret.txt",
        ".../",
        "./index.html",
        "//etc/passwd",
        "/etc/passwd",
        "%2fetc/passwd",
        "sub//index.html",
        "file:///etc/passwd",
        "../www-secret/secret.txt",
        "out.txt",
        "far.txt",
        "up/secret.txt",
        "sibling/secret.txt",
        "loop",
        "git/config",
        "empty/",
        "source.txt",
        ".htaccess",
        ".git/config",
        ".git/",
        "%2egit/config",
        "config.php",
        "old.PHP5",
        "page.html~",
        "x.py",
        "x.db3",
        "x.db3-journal",
        "index.html%00",
        "index.html%00.txt",
        "%00",
        "index%ff.html%00",
        "index.html/",
        "nothing",
        "sub/nothing/",
        "sub/deep/",
        "pipe",
        "x" * 5000,
        "x/" * 5000,
        "...",
    ],
)
def test_no_path_leads_out_of_the_folder_or_to_hidden_files(server, path):
    status, headers, body = fetch(server, "/admin/" + path)
    assert status == 404 and body == "404 Not Found\n"
    assert headers["Content-Type"] == PLAIN


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/secret.txt",
        "/admin/../../secret.txt",
        "/admin%2f..%2fsecret.txt",
        "/administrator",
        "/admin.",
        "/other",
        "/other/",
        "/www/index.html",
    ],
)
def test_paths_outside_the_folders_are_answered_by_the_api(server, path):
    status, headers, body = fetch(server, path)
    assert status == 404
    in_folder = path.replace("%2f", "/").startswith("/admin/")
    assert headers["Content-Type"] == (PLAIN if in_folder else "application/json")
    assert SECRET not in body and "ä" not in body


@pytest.mark.parametrize(
    "path, location",
    [
        ("/admin", "./admin/"),
        ("/admin?a=b&c=%0d%0a", "./admin/?a=b&c=%0d%0a"),
        ("/admin/sub", "./sub/"),
        ("/admin/inside", "./inside/"),
        ("/admin/of%20config.php", "./of%20config.php/"),
        ("/other/place", "./place/"),
    ],
)
def test_a_folder_without_its_slash_is_redirected_to_the_slash(server, path, location):
    status, headers, body = fetch(server, path)
    assert (status, headers["Location"], body) == (302, location, "")


def test_head_answers_as_get_without_the_file(server):
    _, got, body = fetch(server, "/admin/app.js")
    status, headers, nothing = fetch(server, "/admin/app.js", "HEAD")
    assert status == 200 and nothing == "" and body
    same = ("Content-Type", "Content-Length", "ETag", "Last-Modified", "Cache-Control")
    assert [headers[name] for name in same] == [got[name] for name in same]
    assert fetch(server, "/admin/nothing", "HEAD")[0] == 404 and fetch(server, "/admin", "HEAD")[0] == 302


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "TRACE"])
def test_files_cannot_be_changed(server, folder, method):
    status, headers, _ = fetch(server, "/admin/index.html", method)
    assert status == 405 and headers["Allow"] == "GET"
    assert (folder / "www/index.html").read_text().endswith("index.html ä")


def test_a_browser_that_has_the_file_gets_304(server, folder):
    path, url = folder / "www/app.js", "/admin/app.js"
    _, headers, _ = fetch(server, url)
    known = {"If_None_Match": headers["ETag"], "If_Modified_Since": headers["Last-Modified"]}
    status, _, body = fetch(server, url, **known)
    assert (status, body) == (304, "")
    assert fetch(server, url, If_Modified_Since=headers["Last-Modified"])[0] == 304
    os.utime(path, (1_000_000_000, 1_000_000_000))  # an older version was put back
    assert fetch(server, url, **known)[0] == 200
    status, headers, body = fetch(server, url, Range="bytes=0-2")
    assert (status, body, headers["Content-Range"]) == (206, "app", "bytes 0-2/9")


def test_a_file_larger_than_every_buffer_arrives_whole(server, folder):
    (folder / "www/large.txt").write_text("0123456789" * 2_000_000)
    assert fetch(server, "/admin/large.txt")[2] == "0123456789" * 2_000_000


def test_the_api_answers_beside_the_files(server):
    assert server.url.endswith(f":{server.port}/")
    assert len(server.post("users/?get", request_of_root())["users"]) == 5
    assert server.post("nothing/?get", request_of_root(), check=404)["status"] == "Unknown module nothing."
    assert "The files of" in server.said and f":{server.port}/other/place/\n" in server.said


@pytest.mark.parametrize(
    "mount, static, page, absent",
    [
        ("/cmail/api", "/cmail/admin", "/cmail/admin/", "/admin/"),
        ("/cmail/api", "/", "/", "/nothing"),
        ("/api", "/api/admin", "/api/admin/", "/admin/"),
        ("/a", "/a/b", "/a/b/sub/", "/b/"),
    ],
)
def test_of_several_folders_the_longest_path_counts(folder, mount, static, page, absent):
    with Server(folder, "--mount", mount, "--static", f"{static}=www") as server:
        assert server.url.endswith(mount + "/")
        answer = server.post("users/?get", request_of_root())
        assert len(answer["users"]) == 5
        status, _, body = fetch(server, page)
        assert status == 200 and body.endswith("ä")
        assert fetch(server, absent)[0] == 404
        _, headers, body = fetch(server, mount + "?login")
        assert json.loads(body)["login"] is False
        assert new_session(server.url).split("; ")[1] == f"Path={mount}/"


def test_a_proxy_may_strip_the_mount_point(folder):
    with Server(folder, "--mount", "/cmail/api", "--static", "/admin=www") as server:
        _, _, body = fetch(server, "/users/?get")
        assert json.loads(body)["status"] == "Username is not set!"
        assert fetch(server, "/cmail/api/admin/")[0] == 404


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--static", "www"], "www is not /PATH=FOLDER"),
        (["--static", "/admin"], "/admin is not /PATH=FOLDER"),
        (["--static", "admin=www"], "admin=www is not /PATH=FOLDER"),
        (["--static", "/admin="], "/admin= is not /PATH=FOLDER"),
        (["--static", "/admin=nowhere"], "nowhere is no folder that can be read"),
        (["--static", "/admin=config.py"], "config.py is no folder that can be read"),
        (["--static", "/a b=www"], "/a b is no URL path"),
        (["--static", "/a/../b=www"], "/a/../b is no URL path"),
        (["--static", "/.x=www"], "/.x is no URL path"),
        (["--static", "/ü=www"], "/ü is no URL path"),
        (["--mount", "/../x"], "/../x is no URL path"),
    ],
)
def test_a_folder_or_path_that_cannot_be_served_is_named_at_start(folder, arguments, sentence):
    assert sentence in run_mailapi(folder, "serve", *arguments, check=2)


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--static", "/=www"], "--static /: the API is there; --mount gives it another path."),
        (
            ["--static", "/api/=www", "--mount", "api"],
            "--static /api: the API is there; --mount gives it another path.",
        ),
        (["--static", "/users=www"], "--static /users: the API answers there; choose another path."),
        (["--static", "/api/users/x=www", "--mount", "/api"], "--static /api/users/x: the API answers there"),
        (["--static", "/index.php=www"], "--static /index.php: the API answers there"),
        (["--static", "/a=www", "--static", "/a/=www/sub"], "--static /a is given twice."),
        (["--static", "/a=."], "is in "),
        (["--static", "/a=/"], "not for everybody to read; serve a folder without it."),
    ],
)
def test_a_path_that_hides_the_api_or_shows_its_files_is_refused(folder, arguments, sentence):
    assert sentence in run_mailapi(folder, "serve", *arguments, check=1)


@pytest.mark.parametrize("secret", ["config.py", "elsewhere/master.db3", "data/sessions"])
def test_config_and_databases_are_never_in_a_folder_that_is_served(tmp_path, secret):
    for name in ("elsewhere", "data"):
        (tmp_path / name).mkdir()
    (tmp_path / "config.py").write_text(
        CONFIG.replace("master.db3", "elsewhere/master.db3") + 'state = "data/sessions"\n'
    )
    folder = (tmp_path / secret).parent
    said = run_mailapi(tmp_path, "serve", "--static", f"/a={folder}", check=1)
    assert f"--static: {tmp_path}/" in said and "is in " + str(folder) in said


def test_a_folder_that_is_gone_is_not_found(folder):
    shutil.copytree(folder / "www/sub", folder / "short-lived")
    with Server(folder, "--static", "/a=short-lived") as server:
        assert fetch(server, "/a/")[0] == 200
        shutil.rmtree(folder / "short-lived")
        assert fetch(server, "/a/")[0] == 404
        code, errors = server.stop()
    assert code == 0 and "Traceback" not in errors


def test_the_recipe_serves_a_client_and_the_api(machine):
    shutil.copytree(ROOT / "tests/client", machine.folder / "var/www/cmail-admin")
    origin = f"http://127.0.0.1:{machine.back}/cmail"
    with machine.backend(recipe("Serve a web client's files beside the API")):
        check_session(f"{origin}/api/")
        with urllib.request.urlopen(f"{origin}/admin") as got:
            assert got.url == f"{origin}/admin/" and b"<title>Users</title>" in got.read()
