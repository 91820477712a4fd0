"""The panel as a person without a script sees it: pages, links and forms."""

import re

import html5lib

from support.site import OPTIONAL, Site

PANEL = {"Panel": "modules/panel.py"}
MAIL = (
    "From: Bob Builder <bob@corp.org>\nTo: ann@corp.org\nSubject: Plans\nMessage-ID: <plans@corp.org>\n"
    "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n"
    "<p>Hello <b>Ann</b><script>alert(1)</script></p>\n"
    "--b\nContent-Type: text/plain\n\nHello Ann\n"
    "--b\nContent-Type: text/plain; name=notes.txt\nContent-Disposition: attachment; filename=notes.txt\n\nnotes\n--b--\n"
)


def panel_site(folder, generation: int = 9, **config) -> Site:
    """Return an installation with the panel and all other modules."""
    return Site(folder, generation, PANEL | OPTIONAL, **config)


def add_mail(site, user: str = "ann", message: str = MAIL) -> int:
    """Store a mail in a user's mailbox; return its id."""
    return site.insert(
        "INSERT INTO mailbox (mail_user, mail_envelopeto, mail_envelopefrom, mail_data)"
        " VALUES (?, 'ann@corp.org', 'bob@corp.org', ?)",
        user,
        message.encode(),
    )


def add_queued(site, to: str = "far@example.org", failures: int = 0, fatal: bool = False) -> int:
    """Queue a mail of ann's, with failures; return its id."""
    mail_id = site.insert(
        "INSERT INTO outbox (mail_envelopefrom, mail_envelopeto, mail_submitter, mail_data)"
        " VALUES ('ann@corp.org', ?, 'ann', 'x')",
        to,
    )
    for _ in range(failures):
        site.sql(
            "INSERT INTO faillog (fail_mail, fail_message, fail_fatal) VALUES (?, '450 come back later', ?)",
            mail_id,
            int(fatal),
        )
    return mail_id


class Panel:
    """A browser without a script at the panel of a site; `user` has logged in."""

    def __init__(self, site: Site, user: str | None = "root", password: str = "pw", **environ):
        self.site, self.browser, self.user = site, site.browser(**environ), user
        self.page = None
        if user:
            self.get("log-in")
            self.fill(self.page.forms[0], user_name=user, password=password)
            self.page = self.page.forms[0].submit()
            assert self.page.status_int == 303, self.page.text
            self.page = self.page.maybe_follow()

    def get(self, page: str = "", check: int = 200, **headers):
        """Ask for a page and return the response; check its HTTP status."""
        self.page = self.browser.get("/panel/" + page, status=check, headers=headers)
        return self.page

    def form(self, name: str, **hidden):
        """Return the page's form of this name, the one with these hidden fields."""
        found = [
            form
            for _, form in sorted(
                (key, form) for key, form in self.page.forms.items() if isinstance(key, int)
            )
            if "form" in form.fields and form["form"].value == name
            if all(form[field].value == str(value) for field, value in hidden.items())
        ]
        assert found, f"no form {name} in {self.text()}"
        return found[0]

    def fill(self, form, **fields):
        """Type into fields; choose check boxes by a list of their values."""
        for name, value in fields.items():
            if isinstance(value, list):
                for box in form.fields[name]:
                    box.checked = box._value in value
            else:
                form[name] = value

    def submit(self, name: str, hidden: dict = {}, check: int = 303, **fields):
        """Fill and send a form of the page. After a redirect (check=303) return the page that it leads to."""
        form = self.form(name, **hidden)
        self.fill(form, **fields)
        response = form.submit(status=check)
        self.page = response.maybe_follow() if check == 303 else response
        return self.page

    def text(self) -> str:
        """Return what the page shows, without its markup."""
        return shown_text(self.page.text)

    def shows(self, *texts: str):
        """Check that the page shows these texts."""
        text = self.text()
        for each in texts:
            assert each in text, f"{each!r} is not in {text}"

    def lacks(self, *texts: str):
        """Check that the page shows none of these texts."""
        for each in texts:
            assert each not in self.text()

    def links(self) -> set[str]:
        """Return the pages that the page links to, without their queries."""
        return {link["href"].partition("?")[0] for link in self.page.html.select("a[href]")}

    def errors(self) -> dict[str, str]:
        """Return the errors that stand beside a field, by the field's name."""
        return {
            field["name"]: self.page.html.find(id=f"{field['id']}-error").text
            for field in self.page.html.select("[aria-invalid]")
        }


def shown_text(html: str) -> str:
    """Return the text of a page's body, with single spaces."""
    tree = html5lib.parse(html, namespaceHTMLElements=False)
    return re.sub(r"\s+", " ", "".join(tree.find("body").itertext()))


ELEMENTS = set(
    """html head meta title link script body a header svg path nav ul li form input button span main footer div h1
    h2 h3 p section table thead tbody tr th td bdi small label details summary select option ol dl dt dd fieldset
    legend textarea strong br time pre iframe code""".split()
)


def check_harmless(html: str):
    """Check that a page has only elements and attributes of the panel's own templates."""
    for element in html5lib.parse(html, namespaceHTMLElements=False).iter():
        name = str(element.tag).rpartition("}")[2]
        assert name in ELEMENTS, name
        assert not [key for key in element.attrib if key.startswith("on") or key == "style"], element.attrib
        assert name != "script" or element.attrib["src"].startswith("panel.js?v=") and not element.text
        for key in ("href", "src", "action"):
            address = element.attrib.get(key, "")
            assert re.fullmatch(r"(#|\./|[a-z-]+(\.\w+)?)?(\?.*|main)?", address), address
