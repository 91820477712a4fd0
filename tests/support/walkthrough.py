"""A page of docs/ that a reader works through: its commands on a terminal, its forms in the panel, and what it says comes back.

A block ```sh is run, and the block ```text or ```json after it is what it answers; `…` stands for anything. Between
blocks, a table is what is typed into a form, bold words are clicked, and what is in “quotation marks” must be on the page.
"""

import contextlib
import re
import sys
import types
from pathlib import Path

import webtest

import mailapi
from support.command_line import Server, on_terminal
from support.panel import Panel

STEP = re.compile(
    r"^```(?P<language>\w+)\n(?P<block>.*?)^```$|^\| (?P<label>[^|`]+) \| `?(?P<typed>[^|`]+)`? \|$"
    r"|\*\*(?P<clicked>.+?)\*\*|“(?P<shown>.+?)”",
    re.MULTILINE | re.DOTALL,
)
TICK = "✓"


class Walkthrough:
    """A reader in a folder that takes the place of a clone, with the virtual environment that `make run` makes."""

    def __init__(self, page: Path, folder: Path):
        self.page, self.folder = page, folder
        self.server, self.panel, self.said, self.typed = None, None, "", {}
        (folder / ".venv").symlink_to(sys.prefix)

    def run(self):
        """Do all that the page says; fail where something else comes back."""
        with contextlib.ExitStack() as servers:
            for step in STEP.finditer(self.page.read_text()):
                self.take(step.groupdict(), servers)

    def take(self, step: dict, servers):
        """Take one step of the page."""
        if step["language"] == "sh":
            self.said = self.serve(servers) if step["block"] == "make run\n" else self.command(step["block"])
        elif step["block"]:
            check_answer(self.said, step["block"])
        elif step["label"] and self.panel and step["label"] != "field":
            self.typed[step["label"]] = step["typed"]
        elif step["clicked"] and self.panel:
            self.click(step["clicked"])
        elif step["shown"] and self.panel:
            self.panel.shows(step["shown"])

    def serve(self, servers) -> str:
        """Do what `make run` does, and open the panel; return what it prints, with the page's port."""
        self.server = servers.enter_context(Server(self.folder, "--init"))
        app = mailapi.create_app(str(self.folder / "config.py"))
        browser = webtest.TestApp(app, extra_environ={"HTTP_HOST": "localhost"})
        self.panel = Panel(types.SimpleNamespace(browser=lambda: browser), user=None)
        self.panel.get("log-in")
        return self.server.said.replace(self.server.port, "8080")

    def command(self, block: str) -> str:
        """Run commands as one would paste them into a terminal; the last one must succeed."""
        code, said = run_in_bash(block.replace(":8080/", f":{self.server.port}/"), self.folder)
        assert code == 0, said
        return said

    def click(self, text: str):
        """Follow the link, or press the button, that has this text, after typing what the page said."""
        page = self.panel.page
        links = [link for link in page.html.select("a[href]") if text in shown_parts(link)]
        if links:
            self.panel.page = page.goto(links[0]["href"]).maybe_follow()
            return
        [form] = [form for form in forms(page) if text in button_texts(form)]
        for label, typed in self.typed.items():
            field = labelled(page, form, label)
            if typed == TICK:
                field.checked = True
            else:
                field.value = typed
        self.typed = {}
        self.panel.page = form.submit().maybe_follow()


def check_answer(said: str, sample: str):
    """Check that an answer is the page's sample, in which `…` stands for anything and white space does not count."""
    said, sample = ("".join(text.split()) for text in (said, sample))
    pattern = ".*".join(map(re.escape, sample.split("…")))
    assert re.fullmatch(pattern, said, re.DOTALL), f"{said}\nis not\n{sample}"


def forms(page) -> list:
    return [form for key, form in page.forms.items() if isinstance(key, int)]


def shown_parts(link) -> list[str]:
    """Return the texts of a link and of each element in it, such as the subject of a mail in a list."""
    return [each.get_text().strip() for each in (link, *link.select("*"))]


def button_texts(form) -> list[str]:
    return [button.get_text().strip() for button in form.html.select("button")]


def labelled(page, form, label: str):
    """Return the field of a form that has this label."""
    for found in page.html.select("label"):
        words = next(found.stripped_strings)
        if words == label:
            name = found.get("for") or found.find("input")["id"]
            return next(field for fields in form.fields.values() for field in fields if field.id == name)
    raise AssertionError(f"no field {label} in {page.text}")


def run_in_bash(commands: str, folder: Path) -> tuple[int, str]:
    """Run commands of bash on a wide terminal; return the exit status and what it shows."""
    code, said = on_terminal(folder, ["bash", "-c", commands], size=(50, 132))
    return code, said.decode().replace("\r\n", "\n")
