"""mailapi.pyz: run by Debian's own Python as docs/how-to/one-file.md has it, with nothing installed."""

import importlib.util
import os
import re
import shutil
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from support import deployment
from support.deployment import AS_USER, PATHS, USER, Machine, folder_for
from support.instances import free_port, running_instance, skip_without
from support.pyz import BARE_ENVIRON, PACKAGES, PYTHON, build_pyz, recipe, run_command
from support.session import Client, check_session
from support.site import ROOT, Site
from support.waiting import wait_until

SERVERS = ["waitress", "gunicorn", "uWSGI", "mod_wsgi"]
CGI = ["Apache and mailapi.pyz", "Apache and mailapi.pyz by .htaccess", "lighttpd and mailapi.pyz"]
CGI_REQUEST = {
    "GATEWAY_INTERFACE": "CGI/1.1",
    "REQUEST_METHOD": "GET",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.0",
    "QUERY_STRING": "login",
    "REMOTE_ADDR": "127.0.0.1",
}
GREETING = '''
from mailapi import Module, anyone, endpoint

class Greeting(Module):
    @endpoint(allow=anyone, read_only=True)
    def hello(self, call):
        """Greet."""
        return {"hello": "world"}
'''


@pytest.fixture(scope="session")
def prepared():
    """The folder of a machine after the first commands of docs/how-to/one-file.md."""
    if not os.path.exists(PYTHON):
        skip_without("Debian's Python")
    with folder_for("pyz") as folder:
        build_pyz(folder / "checkout")
        commands = PATHS.sub(lambda path: f"{folder}{path[0]}", recipe("Put it in its place")["sh"])
        (folder / "opt").mkdir()
        run_command("bash", "-ec", commands, cwd=folder / "checkout")
        yield folder


@pytest.fixture(scope="session")
def pyz(prepared) -> Path:
    return prepared / "opt/mailapi.pyz"


@pytest.fixture(scope="session")
def gunicorn(prepared) -> Path:
    """A folder with the command gunicorn for Debian's Python, which is the tests' own without other packages."""
    packages = prepared / "gunicorn"
    for name in ("gunicorn", "packaging"):
        if not (found := importlib.util.find_spec(name)):
            skip_without(name)
        shutil.copytree(Path(found.origin).parent, packages / name)
    command = packages / "bin/gunicorn"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{packages}" exec {PYTHON} -m gunicorn "$@"\n')
    command.chmod(0o755)
    return command.parent


@pytest.fixture
def machine(prepared, monkeypatch):
    """A machine with mailapi.pyz in place of an installation, and no other Python than Debian's."""
    monkeypatch.setattr(deployment, "ENVIRON", BARE_ENVIRON)
    with folder_for("machine") as folder:
        machine = Machine(folder, prepared)
        (folder / "opt/mailapi").unlink()  # the link to an installation
        shutil.copy(prepared / "opt/mailapi.pyz", folder / "opt")
        yield machine


def prepare(machine: Machine, blocks: dict[str, str]):
    """Write a recipe's files and run its commands."""
    machine.files(blocks)
    if "sh" in blocks:
        (machine.folder / "var/www/html/cmail").mkdir(parents=True, exist_ok=True)
        run_command("bash", "-ec", machine.here(blocks["sh"]))


########## What is in it ###########################################################################


def test_it_has_sources_licences_and_the_versions_of_the_packages(pyz):
    with zipfile.ZipFile(pyz) as archive:
        names, pinned = archive.namelist(), archive.read(named(archive, r"mailapi-.*/METADATA")).decode()
        assert names == sorted(names) and len(set(names)) == len(names)
        files = [name for name in names if not name.endswith("/")]
        allowed = r".*\.(py|sql)|mailapi_modules/web/\w+/[\w-]+\.(html|css|js|svg|txt)|[^/]+\.dist-info/(METADATA|licenses/LICENSE(\.txt)?)"
        assert not [name for name in files if not re.fullmatch(allowed, name)]
        for name in (*PACKAGES, "mailapi"):
            assert archive.read(named(archive, rf"(?i){name}-.*/licenses/.*"))
            assert name == "mailapi" or f"=={metadata.version(name)}\n" in pinned


def named(archive: zipfile.ZipFile, pattern: str) -> str:
    """Return the one entry, no folder, whose name fits."""
    [name] = [name for name in archive.namelist() if re.fullmatch(pattern, name) and name[-1] != "/"]
    return name


def test_on_sys_path_it_is_all_that_mailapi_needs(pyz):
    ask = f"import mailapi, {', '.join(PACKAGES)}; print(*(m.__file__ for m in (mailapi, {', '.join(PACKAGES)})))"
    files = run_command(PYTHON, "-c", ask, env=BARE_ENVIRON | {"PYTHONPATH": str(pyz)}).split()
    assert len(files) == 5 and all(file.startswith(f"{pyz}/") for file in files)


def test_the_panel_is_in_it(pyz, tmp_path):
    ask = (
        "import io, mailapi; app = mailapi.create_app({'dbpath': 'data/master.db3', 'modulelist': {'Panel': 'modules/panel.py'}});"
        "environ = {'REQUEST_METHOD': 'GET', 'SERVER_NAME': 'x', 'SERVER_PORT': '80', 'wsgi.input': io.BytesIO()};"
        "files = ['log-in', 'panel.css', 'panel.js', 'icon.svg'];"
        "print(*(app(environ | {'PATH_INFO': f'/panel/{f}'}, lambda status, *_: print(status)) and f for f in files))"
    )
    run_command(PYTHON, pyz, "init", cwd=tmp_path)
    said = run_command(PYTHON, "-c", ask, env=BARE_ENVIRON | {"PYTHONPATH": str(pyz)}, cwd=tmp_path)
    assert said == "200 OK\n" * 4 + "log-in panel.css panel.js icon.svg\n"


########## The command line ########################################################################


@pytest.fixture
def folder(pyz, tmp_path):
    """A working folder after `python3 mailapi.pyz init`."""
    said = run_command(PYTHON, pyz, "init", cwd=tmp_path)
    assert "Created data/master.db3" in said and "Wrote config.py" in said and "Password" in said
    return tmp_path


def test_init_check_and_call(pyz, folder):
    said = run_command(PYTHON, pyz, "check", cwd=folder)
    assert "ok    modules: Address, User, SMTPD" in said and "FAIL" not in said
    run_command(PYTHON, pyz, "call", "users", "add", "user_name=ann", cwd=folder)
    assert '"user_name": "ann"' in run_command(pyz, "call", "users", "get", cwd=folder)
    assert "exists; it was not touched" in run_command(PYTHON, pyz, "init", cwd=folder, check=1)
    assert not list(pyz.parent.glob("*pycache*"))


def test_every_command_is_there(pyz, tmp_path):
    commands = "backup call check compile completion copy import-config init man migrate reference serve"
    found = re.findall(r"^    ([a-z-]+)", run_command(PYTHON, pyz, "--help"), re.MULTILINE)
    assert set(found) == set(commands.split())
    (tmp_path / "config.php").write_text('<?php $dbpath = "/x"; $modulelist = array("User" => "user.php");')
    assert '"User": "modules/users.py"' in run_command(PYTHON, pyz, "import-config", tmp_path / "config.php")


def test_the_reference_is_that_of_the_documents(pyz, tmp_path):
    run_command(PYTHON, pyz, "reference", tmp_path)
    for name in ("README.md", "users.md", "refusals.md"):  # mailbox.md has samples that need nh3
        assert (tmp_path / name).read_text() == (ROOT / "docs/reference" / name).read_text()


def test_migrate_knows_the_schema(pyz, folder, tmp_path):
    (tmp_path / "old").mkdir()
    Site(tmp_path / "old", generation=8)
    shutil.copy(tmp_path / "old/master.db3", folder / "data/master.db3")
    run_command(PYTHON, pyz, "migrate", cwd=folder)
    assert "generation 9" in run_command(PYTHON, pyz, "check", cwd=folder)


def test_modules_beside_the_config_are_loaded_too(pyz, folder):
    (folder / "modules").mkdir()
    (folder / "modules/greeting.py").write_text(GREETING)
    with open(folder / "config.py", "a") as config:
        config.write('modulelist["Greeting"] = "modules/greeting.py"\n')
    assert '"hello": "world"' in run_command(PYTHON, pyz, "call", "greeting", "hello", cwd=folder)
    with open(folder / "config.py", "a") as config:
        config.write('modulelist["Other"] = "modules/other.py"\n')
    said = run_command(PYTHON, pyz, "call", "greeting", "hello", cwd=folder, check=1)
    assert said == f"mailapi: modulelist: the file of Other is missing: {folder}/modules/other.py.\n"


def test_check_looks_whether_the_service_can_read_the_file(pyz):
    with folder_for("service") as folder:
        own = shutil.copy(pyz, folder / "own.pyz")
        run_command(PYTHON, own, "init", cwd=folder)
        if AS_USER:
            run_command("chown", "-R", USER.pw_name, folder / "data")
        service = [PYTHON, own, "check", "--service", USER.pw_name]
        assert f"service {USER.pw_name}: config and modules can be read" in run_command(*service, cwd=folder)
        if AS_USER:
            os.chmod(own, 0o600)
            said = run_command(*service, cwd=folder, check=1)
            assert f"FAIL  service {USER.pw_name}: {own} cannot be read: owner root" in said


def test_serve_names_the_command_that_runs(pyz, folder):
    """Python stands before a file that is not executable."""
    shutil.copy(pyz, folder / "a file.py")
    os.chmod(folder / "a file.py", 0o644)
    port = free_port()
    command = [PYTHON, folder / "a file.py", "serve", "--init", "--config", folder / "config.py"]
    with running_instance(
        [*command, "--listen", f"127.0.0.1:{port}"], folder / "log", port, env=BARE_ENVIRON
    ):
        log, command_line = folder / "log/log", re.compile("^  (.*) users get$", re.MULTILINE)
        wait_until(lambda: command_line.search(log.read_text()))  # it listens before it prints
        hint = command_line.search(log.read_text())[0]
    assert '"user_name": "admin"' in run_command("bash", "-c", hint, cwd="/")


########## Servers #################################################################################


def at(machine: Machine, port: int) -> str:
    return machine.url.replace(str(machine.front), str(port))


def test_waitress(machine):
    with machine.backend(recipe("waitress")):
        check_session(at(machine, machine.back))


def test_gunicorn(machine, gunicorn, monkeypatch):
    monkeypatch.setattr(deployment, "ENVIRON", BARE_ENVIRON | {"PATH": f"{gunicorn}:{BARE_ENVIRON['PATH']}"})
    with machine.backend(recipe("gunicorn")):
        check_session(at(machine, machine.back))


def test_uwsgi(machine):
    nginx = deployment.recipe("nginx and uWSGI")["nginx"]
    with machine.backend(recipe("uWSGI")), machine.nginx(nginx):
        check_session(machine.url)


def test_mod_wsgi(machine):
    blocks = recipe("mod_wsgi")
    machine.files(blocks)
    with machine.apache(blocks["apache"]):
        check_session(machine.url)


########## CGI #####################################################################################


def web_server(machine: Machine, blocks: dict[str, str]):
    if "lighttpd" in blocks:
        return machine.lighttpd(blocks["lighttpd"])
    return machine.apache(blocks.get("apache", ""))


@pytest.mark.parametrize("title", CGI)
def test_cgi(machine, title):
    prepare(machine, recipe(title))
    with web_server(machine, recipe(title)):
        check_session(machine.url)


@pytest.mark.parametrize("title", [CGI[0], CGI[2]])
def test_cgi_by_a_copy_that_is_not_compiled(machine, title):
    prepare(machine, recipe(title) | {"sh": "cp /opt/mailapi.pyz /etc/mailapi/mailapi.cgi"})
    with web_server(machine, recipe(title)):
        short_session(machine.url)


def short_session(url: str):
    with Client(url) as root:
        root.log_in("root")
        assert root("users/?add", user_name="carol")["user"] is True
        assert root("users/?get", username="carol")["users"][0]["user_name"] == "carol"
        assert root("?logout")["status"] == "Successfully logged out."


@pytest.mark.parametrize("title", CGI)
def test_a_query_is_no_command(machine, title):
    """Apache makes arguments of a query without "="."""
    prepare(machine, recipe(title))
    with web_server(machine, recipe(title)), Client(machine.url) as client:
        for query in ("?init", "?serve", "?--help", "?check+--repair"):
            assert client(query, method="GET")["login"] is False


def test_in_a_folder_of_scripts_it_reads_the_config_beside_it(machine):
    scripts = machine.folder / "usr/lib/cgi-bin"
    scripts.mkdir(parents=True)
    shutil.copy(machine.folder / "opt/mailapi.pyz", scripts)
    shutil.move(machine.folder / "etc/mailapi/config.py", scripts)
    alias = f"ScriptAlias /cgi-bin/ {scripts}/\n<Directory {scripts}>\nCGIPassAuth On\nRequire all granted\n</Directory>\n"
    with machine.apache(alias):
        url = f"http://127.0.0.1:{machine.front}/cgi-bin/"
        short_session(f"{url}mailapi.pyz/")
        with Client(url) as client:
            response, content = client.send("config.py", method="GET")
            assert response.status >= 400 and b"master.db3" not in content


def test_in_the_web_space_it_takes_no_config_beside_it(machine):
    """Everybody could download that."""
    blocks = recipe(CGI[1])
    access = "/var/www/html/cmail/.htaccess"
    prepare(machine, blocks | {access: re.sub("SetEnv .*", "", blocks[access])})
    shutil.copy(machine.folder / "etc/mailapi/config.py", machine.folder / "var/www/html/cmail/config.py")
    with machine.apache(""), Client(machine.url) as client:
        answer = client("?login", check=500)
    assert answer == {"status": "mailapi is not configured. The log has the cause."}
    assert "MAILAPI_CONFIG must name one" in (machine.folder / "run/apache2/log").read_text()


########## Bytecode ################################################################################


@pytest.fixture(scope="session")
def compiled(pyz) -> Path:
    target = pyz.with_name("compiled.pyz")
    run_command(PYTHON, pyz, "compile", target)
    return target


def test_a_compiled_copy_has_the_bytecode_of_its_python(compiled):
    """Of every module, so that nothing is compiled when a script starts."""
    with zipfile.ZipFile(compiled) as archive:
        names = set(archive.namelist())
        magic = run_command(PYTHON, "-c", "import importlib.util as u; print(u.MAGIC_NUMBER.hex())").strip()
        assert {archive.read(name)[:4].hex() for name in names if name.endswith(".pyc")} == {magic}
    assert all(f"{name}c" in names for name in names if name.endswith(".py"))
    ask = "import mailapi, peewee; print(mailapi.__file__, peewee.__file__)"
    files = run_command(PYTHON, "-c", ask, env=BARE_ENVIRON | {"PYTHONPATH": str(compiled)})
    assert files == f"{compiled}/mailapi.pyc {compiled}/peewee.pyc\n"
    assert compiled.read_bytes().startswith(f"#!{PYTHON}\n".encode())


def test_another_python_runs_the_sources_of_a_compiled_copy(compiled, folder):
    other = folder / "other.pyz"
    with zipfile.ZipFile(compiled) as archive, zipfile.ZipFile(other, "w") as copy:
        for entry in archive.infolist():
            content = archive.read(entry)
            copy.writestr(entry, b"????" + content[4:] if entry.filename.endswith(".pyc") else content)
    config = BARE_ENVIRON | CGI_REQUEST | {"MAILAPI_CONFIG": str(folder / "config.py")}
    for file in (compiled, other):
        assert '"login":false' in run_command(PYTHON, file, env=config)
        assert '"user_name": "admin"' in run_command(PYTHON, file, "call", "users", "get", cwd=folder)
    run_command(PYTHON, other, "compile", other)  # replaces itself
    assert run_command(other, "--version") == run_command(compiled, "--version")


def test_only_the_file_can_be_compiled(tmp_path):
    said = run_command(sys.executable, ROOT / "mailapi.py", "compile", tmp_path / "x", check=1)
    assert said == "mailapi: Only mailapi.pyz can be compiled; `make pyz` makes one.\n"
    assert not list(tmp_path.iterdir())


def test_a_compiled_copy_that_cannot_be_written_leaves_what_was_there(pyz, tmp_path):
    said = run_command(PYTHON, pyz, "compile", tmp_path / "nowhere/x", check=1)
    assert said.startswith("mailapi: ") and "Traceback" not in said
    (tmp_path / "folder").mkdir()
    said = run_command(PYTHON, pyz, "compile", tmp_path / "folder", check=1)
    assert said.startswith("mailapi: ") and "Traceback" not in said
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


########## The page ################################################################################


def test_every_recipe_is_run_and_has_at_most_ten_lines():
    titles = re.findall("^### (.*)$", (ROOT / "docs/how-to/one-file.md").read_text(), re.MULTILINE)
    assert titles == SERVERS + CGI
    for title in titles:
        assert sum(text.count("\n") for text in recipe(title).values()) <= 10, title


def test_its_config_is_that_of_an_installation(machine):
    path = "/etc/mailapi/config.py"
    assert recipe("Put it in its place")[path] == deployment.recipe("Install it", "install.md")[path]
    check = machine.here(recipe("Put it in its place")["bash"])
    assert "FAIL" not in run_command("bash", "-c", check)
