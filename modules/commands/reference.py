"""Write the reference of mailapi's modules as Markdown pages. They are the files in docs/reference/.

Each module gets a page, made from its declarations. The page has a sample answer of each action, obtained by a real
request. Another page lists the sentences with which mailapi refuses requests.
"""

import json
import re
import textwrap
from pathlib import Path

import mailapi

from ..openapi.codes import CODES
from ..openapi.document import Document, tag_of
from ..openapi.schemas import type_name
from .package_files import installed_modules
from .reference_refusals import all_refusals
from .reference_samples import LEFT_OUT, Samples

GENERATED = "<!-- Written by `mailapi reference`; the declarations in modules/ are its source. -->"
LONGEST_LINE = 118
# The pages of docs/reference/ that people write, which stay as they are, and what each is about.
WRITTEN_BY_HAND = {
    "requests.md": "how to send a request, who asks, what an answer has; pages of lists; more about some actions",
    "mail.md": "reading and sending mail: sources, parts, HTML, searches, threads, messages",
    "status-codes.md": "each HTTP status, and when",
    "configuration.md": "config.py, key by key",
    "command-line.md": "each command and option of `mailapi`, and what `mailapi check` reports",
    "database.md": "the tables of the master and the state database",
    "limits.md": "sizes, numbers and times, and what happens beyond them",
    "compatibility.md": "what equals the PHP API, and what differs on purpose",
    "asvs.md": "the items of OWASP ASVS 4.0.3, and how each is met",
}


def options(parser):
    parser.add_argument("folder", metavar="FOLDER", help="where to write the pages")


def run(args):
    folder = Path(args.folder)
    folder.mkdir(exist_ok=True)
    for name, page in pages().items():
        (folder / name).write_text(page, encoding="utf-8")


def pages() -> dict[str, str]:
    """Make the pages of docs/reference/, and return their texts by file name: {"users.md": "…", …}."""
    modulelist = installed_modules()
    made = {}
    with Samples(modulelist) as samples:
        document = Document(samples.app, mailapi.GENERATIONS[9])
        # msa/ belongs to generation 8, and serves generation 9, too.
        whole = document.whole()
        for module in filter(lambda each: each.endpoints, document.modules.values()):
            made[f"{tag_of(module)}.md"] = module_page(samples, module, whole)
        titles = {t["name"]: t["description"] for t in whole["tags"] if f"{t['name']}.md" in made}
    return made | {"README.md": index(titles), "refusals.md": refusals_page()}


def index(titles: dict[str, str]) -> str:
    lines = [
        GENERATED,
        "# Reference",
        "",
        "You need this page if you look something up. It lists the actions of the API by module, and the other",
        "pages to look things up in. [The tutorial](../tutorial.md) is where to begin.",
        "",
        "## Actions",
        "",
        "| module | what it is for |",
        "|---|---|",
    ]
    lines += [f"| [{name}]({name}.md) | {title} |" for name, title in titles.items()]
    lines += ["", "[refusals.md](refusals.md) has every sentence with which a request can be refused.", ""]
    lines += ["## Everything else", "", "| page | what it has |", "|---|---|"]
    lines += [f"| [{name}]({name}) | {title} |" for name, title in WRITTEN_BY_HAND.items()]
    lines += [
        "",
        "## Next",
        "",
        "Read on: [how requests and answers look](requests.md), [the glossary](../glossary.md).",
        "",
    ]
    return "\n".join(lines)


def module_page(samples: Samples, module: mailapi.Module, document: dict) -> str:
    """Return the Markdown page about a module. `samples` makes sample answers. `document` is the OpenAPI document."""
    title = next(tag["description"] for tag in document["tags"] if tag["name"] == tag_of(module))
    name = f"# {module.path}/ — {module.name}" if module.path else "# / — the API itself"
    called = f"{module.path}/" if module.path else "the API itself"
    parts = [GENERATED, name, "", f"You need this page to call the actions of {called}.", "", title, ""]
    for endpoint in module.endpoints.values():  # a request that names several runs the first
        path = "/".join(filter(None, [module.path, endpoint.name]))
        parts += action_lines(samples, path, endpoint, document["paths"][f"/{path}"])
    parts += [
        "## Next",
        "",
        "Read on: [requests](requests.md), [HTTP statuses](status-codes.md), [every refusal](refusals.md).",
        "",
    ]
    return "\n".join(parts)


def action_lines(samples: Samples, path: str, endpoint: mailapi.Endpoint, item: dict) -> list[str]:
    """Return the section about one action, as lines of Markdown.

    `samples` makes the sample answer. `path` is the action's URL path. `item` is the part of the OpenAPI document that
    is about the action.
    """
    operation, body = item["post"], item["post"]["requestBody"]["content"]["application/json"]
    methods = "GET or POST" if "get" in item else "POST"
    lines = [f"## {path}", "", operation["summary"], "", wrapped(operation["description"]), ""]
    old = f"{path.rpartition('/')[0]}/?{endpoint.name}".lstrip("/")
    lines += [f"{methods} `{path}`; for PHP's clients `{old}`.", ""]
    lines += field_lines(body["schema"]) + refusal_lines(endpoint)
    example = body["example"]
    sent = f" --json '{json.dumps(example)}'" if example else ""
    method = "" if example or "get" in item else " -X POST"
    lines += [f"    curl -su USER{method} http://127.0.0.1:8080/{path}{sent}", ""]
    if endpoint.download:
        return [*lines, "The answer is the file.", ""]
    answer, words = samples.answer(path, example), "The answer adds:"
    if answer is None:  # it needs servers that a sample does not have
        words = "An answer adds, for example:"
        sample = operation["responses"]["200"]["content"]["application/json"]["example"]
        answer = {name: each for name, each in sample.items() if name not in LEFT_OUT}
    return lines + answer_lines(answer, words)


def field_lines(schema: dict) -> list[str]:
    """Return a table of an action's fields, as lines of Markdown. `schema` is the JSON Schema of the request."""
    if not schema["properties"]:
        return []
    needed = schema.get("required", ())
    rows = [
        f"| `{name}` | {type_name(each)} | {'needed' if name in needed else ''} | {cell(each['description'])} |"
        for name, each in schema["properties"].items()
    ]
    return ["| field | type | | |", "|---|---|---|---|", *rows, ""]


def refusal_lines(endpoint: mailapi.Endpoint) -> list[str]:
    """Return lines of Markdown with the error messages of an action, in the order of its checks; [] if it has none."""
    needed = list(endpoint.needed(mailapi.GENERATIONS[9]).values())
    rules = [rule.refusal for rule in endpoint.allow if rule.description != "anyone logged in"]
    sentences = [each.replace("{permission}", "permission") for each in dict.fromkeys(needed + rules)]
    return [wrapped("Refused with " + ", ".join(f"`{each}`" for each in sentences)), ""] if sentences else []


def wrapped(text: str) -> str:
    """Wrap the lines of a Markdown text at LONGEST_LINE characters, but do not break `code`."""
    unbroken = re.sub("`[^`]*`", lambda code: code[0].replace(" ", "\0"), text)
    lines = [
        textwrap.fill(line, LONGEST_LINE, break_long_words=False, break_on_hyphens=False)
        for line in unbroken.split("\n")
    ]
    return "\n".join(lines).replace("\0", " ")


def answer_lines(answer: dict, words: str) -> list[str]:
    if not answer:
        return ["The answer adds nothing.", ""]
    return [words, "", "```json", json.dumps(answer, indent=1, ensure_ascii=False), "```", ""]


def refusals_page() -> str:
    """Return the Markdown page that lists all sentences with which mailapi refuses requests, sorted by HTTP status."""
    lines = [
        GENERATED,
        "# Refusals",
        "",
        "You need this page if you look for the code or the cause of a sentence. On the first wire nearly all of",
        "these are HTTP 200. Words in capitals stand for what the request was about. The database's own sentences",
        "are passed on.",
        "",
    ]
    lines += ["| HTTP | `code` | when |", "|---|---|---|"]
    lines += [
        f"| {http} | `{code}` | {when} |" for http, codes in CODES.items() for code, when in codes.items()
    ]
    lines += ["", "| HTTP | `code` | `field` | `status` |", "|---|---|---|---|"]
    for each in all_refusals():
        field = f"`{each.field}`" if each.field else ""
        lines.append(f"| {each.http} | `{each.code}` | {field} | `{cell(each.sentence)}` |")
    lines += ["", "## Next", "", "Read on: [HTTP statuses](status-codes.md), [requests](requests.md).", ""]
    return "\n".join(lines)


def cell(text: str) -> str:
    return text.replace("|", "\\|")
