"""HTML that anybody may have sent, made safe to show: nothing runs, and nothing is loaded from anywhere."""

import re
from collections.abc import Callable

from mailapi import ApiError

TAGS = {
    "a",
    "abbr",
    "address",
    "b",
    "bdi",
    "bdo",
    "big",
    "blockquote",
    "br",
    "caption",
    "center",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "del",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "font",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "ins",
    "kbd",
    "li",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "samp",
    "small",
    "span",
    "strike",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "tt",
    "u",
    "ul",
    "var",
    "wbr",
}
WITH_CONTENT = {
    "applet",
    "audio",
    "canvas",
    "embed",
    "frameset",
    "head",
    "iframe",
    "math",
    "noembed",
    "noframes",
    "object",
    "plaintext",
    "script",
    "style",
    "svg",
    "template",
    "textarea",
    "title",
    "video",
    "xmp",
}  # gone with all that is in them
EVERYWHERE = {"align", "bgcolor", "dir", "height", "lang", "style", "title", "valign", "width"}
ATTRIBUTES = dict.fromkeys(TAGS, EVERYWHERE) | {
    "a": EVERYWHERE | {"href"},
    "img": EVERYWHERE | {"src", "alt", "border"},
    "font": {"color", "face", "size", "style"},
    "table": EVERYWHERE | {"border", "cellpadding", "cellspacing"},
    "ol": EVERYWHERE | {"start", "type"},
    "td": EVERYWHERE | {"colspan", "rowspan", "nowrap"},
    "th": EVERYWHERE | {"colspan", "rowspan", "nowrap"},
    "col": EVERYWHERE | {"span"},
    "colgroup": EVERYWHERE | {"span"},
}
WORDS = re.compile(r"[\w #%.,+-]{0,100}")  # what the attributes not named here may be
LINK = re.compile(r"(?:https?://|mailto:)[^\s\\<>\"'`\x00-\x20\x7f]{1,2000}", re.IGNORECASE)
IMAGE = r"data:image/(?:png|jpe?g|gif|webp|bmp);base64,[A-Za-z0-9+/]+={0,2}"
REMOTE = re.compile(r"\s*(?:https?:|ftp:|//)", re.IGNORECASE)

PROPERTIES = re.compile(
    r"""(?:background-|border-(?:(?:top|right|bottom|left)-)?|text-decoration-)?color|background
    |border(?:-(?:top|right|bottom|left))?(?:-(?:style|width))?|border-(?:collapse|radius|spacing)|clear|direction
    |display|float|font(?:-(?:family|size|style|variant|weight))?|(?:max-|min-)?(?:height|width)|letter-spacing
    |line-height|list-style-type|(?:margin|padding)(?:-(?:top|right|bottom|left))?|overflow|table-layout
    |text-(?:align|decoration|indent|transform)|vertical-align|white-space|word-(?:break|spacing|wrap)""",
    re.VERBOSE,
)
# No function but a colour's, so no url(); no escapes; no number below 0, which could cover the page around it.
VALUE = re.compile(
    r"""(?:[\w\s.,\#%!/]|-(?=[a-z])|"[\w\s.-]*"|'[\w\s.-]*'|\b(?:rgb|hsl)a?\([\d\s.,%/]*\))*""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)

LONGEST = 128 * 1024  # characters without images, and
MOST_TAGS = 10_000  # so many: the time to take HTML apart can grow with the square of either
MOST_INLINE = 8 * 1024 * 1024  # characters of images together


class Safe:
    """What is left of some HTML, and what is to be said of the rest."""

    def __init__(self, source: str, find: Callable[[str], str | None]):
        """`find` gives the data: URI of the mail's own part that has a Content-ID, or None."""
        self.find, self.images, self.inline, self.blocked = find, [], 0, 0
        # Images that are in the HTML itself are taken out meanwhile: they are long, and cost nothing.
        source = re.sub(rf"(?<=[\"']){IMAGE}(?=[\"'])", self.keep, source)
        shortened = "<".join(source[:LONGEST].split("<", MOST_TAGS + 1)[: MOST_TAGS + 1])
        self.complete = shortened == source
        self.html = cleaner()(shortened, self.value)

    def keep(self, found: re.Match) -> str:
        self.images.append(found[0])
        return f"data:{len(self.images)}"

    def value(self, tag: str, name: str, value: str) -> str | None:
        """What an attribute may be; None takes it away. It must not raise: the value would stay."""
        try:
            return self.allowed(name, value)
        except Exception:
            return None

    def allowed(self, name: str, value: str) -> str | None:
        if name == "src":
            return self.image(value)
        if name == "href":
            return value.strip() if LINK.fullmatch(value.strip()) else None
        if name == "style":
            return style(value)
        if name in ("alt", "title", "rel", "target"):  # the last two are our own
            return value
        return value if WORDS.fullmatch(value) else None

    def image(self, value: str) -> str | None:
        """A picture of the mail itself, in the HTML; no other."""
        if REMOTE.match(value):
            self.blocked += 1
            return None
        scheme, _, name = value.partition(":")
        found = self.find(name) if scheme.lower() == "cid" else self.kept(name) if scheme == "data" else None
        self.inline += len(found or "")
        return found if self.inline <= MOST_INLINE else None

    def kept(self, number: str) -> str | None:
        return self.images[int(number) - 1] if re.fullmatch("[1-9][0-9]{0,5}", number) else None


def style(value: str) -> str | None:
    """The declarations that can only change how text and boxes look."""
    kept = []
    for declaration in value[:4096].split(";"):
        name, _, said = (word.strip() for word in declaration.partition(":"))
        if PROPERTIES.fullmatch(name.lower()) and len(said) < 200 and VALUE.fullmatch(said):
            kept.append(f"{name.lower()}:{said}")
    return ";".join(kept) or None


def cleaner() -> Callable:
    try:
        import nh3
    except ImportError as error:
        raise ApiError(
            f"The HTML of mail needs the package nh3 of mailapi[mail]: {error}.", http=500
        ) from None
    return lambda source, value: nh3.clean(
        source,
        tags=TAGS,
        clean_content_tags=WITH_CONTENT,
        attributes=ATTRIBUTES,
        attribute_filter=value,
        url_schemes={"http", "https", "mailto", "cid", "data"},
        link_rel="noopener noreferrer",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
