"""A person's visit to the panel over HTTP, without a script, the same behind every web server."""

import http.cookiejar
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request

from support.site import ROOT

TOKEN = re.compile(r'name="token" value="(\w+)"')
FILES = re.compile(r'(?:href|src)="((panel\.css|panel\.js)\?v=\w+)"')


class Visit:
    """A browser that keeps cookies and follows redirects, at the panel below `url`. `page` is the page it has.

    It asks for another host name than the one that it connects to, as if the web server had that name.
    """

    def __init__(self, url: str):
        parts = urllib.parse.urlsplit(url)
        self.url, self.host = url + "panel/", f"mail.example:{parts.port}"
        self.origin = f"{parts.scheme}://{self.host}"
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=trusting),
            urllib.request.HTTPCookieProcessor(self.cookies),
        )
        self.page = ""

    def get(self, page: str = ""):
        return self.send(page)

    def post(self, page: str, origin: str = "", check: int = 200, **fields):
        """Send a form, with the token of the page that is shown if `fields` has none, from a page at `origin`."""
        if found := TOKEN.search(self.page):
            fields = {"token": found[1]} | fields
        body = urllib.parse.urlencode(fields).encode()
        return self.send(page, body, check, {"Origin": origin or self.origin})

    def send(self, page: str, body: bytes | None = None, check: int = 200, headers: dict = {}):
        """Send a request, and return the response that the redirects lead to; check its HTTP status."""
        request = urllib.request.Request(self.url + page, body, {"Host": self.host} | headers)
        try:
            response = self.opener.open(request, timeout=60)
        except urllib.error.HTTPError as error:
            response = error
        content = response.read().decode()
        assert response.status == check, content
        if body is None or check == 200:
            self.page = content
        return response

    def shows(self, text: str):
        assert text in self.page, self.page


def check_panel(url: str):
    """Check log-in, a page with its style and script, a form, refused forms, and log-out."""
    visit = Visit(url)
    assert visit.get().url == visit.url + "log-in"
    check_files(visit)
    visit.post("log-in", user_name="root", password="pw")
    visit.shows("Overview")
    (session,) = [cookie for cookie in visit.cookies if cookie.name == "PHPSESSID"]
    assert session.path == urllib.parse.urlsplit(url).path and session.secure == url.startswith("https:")
    name = f"dora{urllib.parse.urlsplit(url).port}"
    visit.get("person-add")
    form = {"form": "add-person", "user_name": name}
    visit.post("person-add", check=403, origin="https://evil.example", **form)
    visit.post("person-add", check=403, token="x", **form)
    visit.post("person-add", **form)
    visit.shows("The person was added.")
    visit.post("log-out")
    visit.shows("You have logged out.")
    assert visit.get("people").url == visit.url + "log-in?next=people"


def check_files(visit: Visit):
    """Check that the files which the page names are there as they are in modules/web/static."""
    named = dict(FILES.findall(visit.page))
    assert sorted(named.values()) == ["panel.css", "panel.js"]
    for address, name in named.items():
        response = visit.opener.open(
            urllib.request.Request(visit.url + address, headers={"Host": visit.host}), timeout=60
        )
        assert response.read() == (ROOT / "modules/web/static" / name).read_bytes()
        assert "immutable" in response.headers["Cache-Control"]
