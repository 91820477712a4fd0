"""The recipes of docs/how-to/, run as they stand there, in a folder that takes the place of the machine."""

import contextlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from support.dovecot import make_certificate
from support.instances import SBIN, free_port, require_program, running_instance, skip_without
from support.site import ROOT, Site

# Servers do not run as root, or only to become somebody else.
USER = pwd.getpwnam("www-data") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
AS_USER = {"user": USER.pw_uid, "group": USER.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
ENVIRON = {"PATH": SBIN, "LANG": "C.UTF-8"}
HOW_TO = ROOT / "docs/how-to"
PATHS = re.compile(r"(?<![\w/.])/(?:opt|etc|run|var)/[\w./-]+")
BLOCKS = re.compile(r"^(?:[^\n`]*`(/[^\n`]+)`[^\n`]*:\n\n)?```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def recipe(title: str, page: str = "*.md") -> dict[str, str]:
    """Return the code blocks under a heading of docs/how-to/: the file that the line before names, or the language → block.

    Without a page the heading must be in one page only.
    """
    heading = re.compile(rf"^#+ {re.escape(title)}\n(.*?)(?=^##+ |\Z)", re.MULTILINE | re.DOTALL)
    [section] = filter(None, (heading.search(each.read_text()) for each in HOW_TO.glob(page)))
    return {path or language: block for path, language, block in BLOCKS.findall(section[1])}


@contextlib.contextmanager
def folder_for(what: str):
    """Yield a folder that other users can enter, with a short path: a socket's may have 107 characters."""
    with tempfile.TemporaryDirectory(prefix=f"mailapi-{what}-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def installed():
    """The folder with mailapi in opt/mailapi, as docs/how-to/install.md installs it."""
    if not os.path.exists("/usr/bin/python3"):
        skip_without("Debian's Python")
    with folder_for("installed") as folder:
        checkout = folder / "checkout"
        shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(".*", "build", "tests", "*.egg-info"))
        commands = PATHS.sub(lambda path: f"{folder}{path[0]}", recipe("Install it")["sh"])
        quiet = {"PIP_QUIET": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        subprocess.run(["bash", "-ec", commands], cwd=checkout, check=True, env=os.environ | ENVIRON | quiet)
        yield folder


@pytest.fixture
def machine(installed):
    """A folder with a machine as docs/how-to/install.md has it."""
    with folder_for("machine") as folder:
        yield Machine(folder, installed)


class Machine:
    """A machine as the recipes have it: mailapi installed, its config, a master database, a web server at `url`.

    nginx and Apache answer https, too, at `tls_url`.
    """

    def __init__(self, folder: Path, installed: Path):
        self.folder, self.front, self.back = folder, free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.front}/cmail/api/"
        self.tls = free_port()
        self.tls_url = f"https://127.0.0.1:{self.tls}/cmail/api/"
        for name in ("opt", "etc", "run/mailapi", "var/lib/cmail"):
            (folder / name).mkdir(parents=True)
        for name in ("etc/mailapi", "var/lib/mailapi"):
            shutil.copytree(installed / name, folder / name)
        (folder / "opt/mailapi").symlink_to(installed / "opt/mailapi")
        self.site = Site(folder / "var/lib/cmail")
        sample = (folder / "etc/mailapi/config.py").read_text()
        self.write("/etc/mailapi/config.py", sample + recipe("Install it")["/etc/mailapi/config.py"])

    def here(self, text: str) -> str:
        """Return a text of a recipe with the paths, ports and users of the test."""
        text = PATHS.sub(lambda path: f"{self.folder}{path[0]}", text)
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{self.back}")
        return text.replace("user=mailapi group=cmail", f"user={USER.pw_name} group=#{USER.pw_gid}")

    def write(self, path: str, text: str) -> Path:
        """Write a file where a recipe has it; scripts are executable."""
        file = Path(f"{self.folder}{path}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self.here(text))
        file.chmod(0o755 if text.startswith("#!") else 0o644)
        return file

    def files(self, blocks: dict[str, str]):
        """Write the files that a recipe names."""
        for path in blocks:
            if path.startswith("/"):
                self.write(path, blocks[path])

    @contextlib.contextmanager
    def running(self, command: list, ready):
        """Run a server as the user that the recipes' servers run as."""
        logs = self.folder / "run" / Path(command[0]).name
        logs.mkdir(exist_ok=True)
        (logs / "log").touch()
        if AS_USER:
            subprocess.run(["chown", "-R", f"{USER.pw_uid}:{USER.pw_gid}", self.folder], check=True)
        with running_instance(command, logs, ready, env=ENVIRON, **AS_USER):
            yield

    def certificate(self) -> tuple[Path, Path]:
        """Make a certificate; return its file and that of its key."""
        folder = self.folder / "etc/tls"
        folder.mkdir()
        make_certificate(folder)
        return folder / "cert.pem", folder / "key.pem"

    def backend(self, blocks: dict[str, str]):
        """Run the command of a recipe."""
        command = self.here(blocks["sh"])
        socket = re.search(r"\S+\.sock\b", command)
        return self.running(
            [require_program("bash"), "-c", command], Path(socket[0]) if socket else self.back
        )

    def nginx(self, configuration: str):
        """Run nginx with a configuration of a recipe."""
        file = self.write("/etc/nginx/nginx.conf", "")
        shutil.copy("/etc/nginx/uwsgi_params", file.parent)
        temporary = "".join(
            f"{kind}_temp_path {self.folder}/run/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        certificate, key = self.certificate()
        frame = (
            f"daemon off; pid {self.folder}/run/nginx.pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{self.front};\n"
            f"listen 127.0.0.1:{self.tls} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};\n"
        )
        file.write_text(frame + self.here(configuration) + "} }\n")
        return self.running([require_program("nginx"), "-e", "stderr", "-c", file], self.front)

    def apache(self, configuration: str, *further: str):
        """Run Apache with a configuration of a recipe, and further modules that it needs."""
        loaded = "".join(
            f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
            for name in ("mpm_event", "authz_core", "alias", "env", "cgid", "wsgi", *further, "ssl")
        )
        certificate, key = self.certificate()
        frame = (
            f"ServerRoot {self.folder}\nServerName localhost\nListen 127.0.0.1:{self.front}\n{loaded}"
            f"PidFile run/apache.pid\nErrorLog run/apache2/log\nDefaultRuntimeDir run\n"
            f"ScriptSock {self.folder}/run/cgid\n"
            f"WSGISocketPrefix {self.folder}/run/wsgi\nDocumentRoot {self.folder}/var/www/html\n"
            f"<Directory {self.folder}/var/www/html>\nAllowOverride All\nRequire all granted\n</Directory>\n"
        )
        self.write("/var/www/html/index.html", "other")
        file = self.folder / "etc/apache.conf"
        secure = (
            f"Listen 127.0.0.1:{self.tls}\n<VirtualHost 127.0.0.1:{self.tls}>\nSSLEngine on\n"
            f"SSLCertificateFile {certificate}\nSSLCertificateKeyFile {key}\n</VirtualHost>\n"
        )
        file.write_text(frame + self.here(configuration) + secure)
        return self.running([require_program("apache2"), "-DFOREGROUND", "-f", file], self.front)

    def lighttpd(self, configuration: str):
        """Run lighttpd with a configuration of a recipe."""
        self.write("/var/www/html/index.html", "other")
        frame = (
            f'server.port = {self.front}\nserver.bind = "127.0.0.1"\n'
            f'server.document-root = "{self.folder}/var/www/html"\nserver.upload-dirs = ("{self.folder}/run")\n'
        )
        file = self.folder / "etc/lighttpd.conf"
        file.write_text(frame + self.here(configuration))
        return self.running([require_program("lighttpd"), "-D", "-f", file], self.front)
