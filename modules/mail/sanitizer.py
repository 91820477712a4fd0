"""Makes the HTML of received mails harmless: no scripts, and nothing is loaded from other servers."""

import re
from collections import Counter
from collections.abc import Callable

from mailapi import ApiError

from .html_frame import Frame, prefixed_classes, prefixed_name
from .styles import filter_style

TAGS = {"a", "abbr", "address", "article", "aside", "b", "bdi", "bdo", "big", "blockquote", "br"}
TAGS |= {"caption", "center", "cite", "code", "col", "colgroup", "dd", "del", "dfn", "div", "dl"}
TAGS |= {"dt", "em", "figcaption", "figure", "font", "footer", "h1", "h2", "h3", "h4", "h5", "h6"}
TAGS |= {"header", "hr", "i", "img", "ins", "kbd", "li", "main", "nav", "ol", "p", "pre", "q", "s"}
TAGS |= {"samp", "section", "small", "span", "strike", "strong", "sub", "sup", "table", "tbody"}
TAGS |= {"td", "tfoot", "th", "thead", "tr", "tt", "u", "ul", "var", "wbr"}
# Elements that are removed with everything inside them.
REMOVED_WITH_CONTENT = {"applet", "audio", "canvas", "embed", "frameset", "head", "iframe", "math"}
REMOVED_WITH_CONTENT |= {"noembed", "noframes", "object", "plaintext", "script", "style", "svg"}
REMOVED_WITH_CONTENT |= {"template", "textarea", "title", "video", "xmp"}
# Block elements that are shown as <div>, so that their words stay apart.
BLOCKS = re.compile(
    r"(?i)<(/?)(?:body|form|fieldset|legend|details|summary|dialog|dir|menu|option|hgroup)(?=[\s/>])"
)
GLOBAL_ATTRIBUTES = {"align", "bgcolor", "class", "dir", "height", "id", "lang", "style", "title", "valign"}
GLOBAL_ATTRIBUTES |= {"width"}
ATTRIBUTES = dict.fromkeys(TAGS, GLOBAL_ATTRIBUTES) | {
    "a": GLOBAL_ATTRIBUTES | {"href", "name"},
    "img": GLOBAL_ATTRIBUTES | {"src", "alt", "border"},
    "font": {"color", "face", "size", "style"},
    "table": GLOBAL_ATTRIBUTES | {"border", "cellpadding", "cellspacing"},
    "ol": GLOBAL_ATTRIBUTES | {"start", "type"},
    "td": GLOBAL_ATTRIBUTES | {"colspan", "rowspan", "nowrap"},
    "th": GLOBAL_ATTRIBUTES | {"colspan", "rowspan", "nowrap"},
    "col": GLOBAL_ATTRIBUTES | {"span"},
    "colgroup": GLOBAL_ATTRIBUTES | {"span"},
}
PLAIN_VALUE = re.compile(r"[\w #%.,+-]{0,100}")  # of attributes that have no rule of their own
LINK = re.compile(r"(?:https?://|mailto:)[^\s\\<>\"'`\x00-\x20\x7f]{1,2000}", re.IGNORECASE)
IMAGE_DATA = r"data:image/(?:png|jpe?g|gif|webp|bmp);base64,[A-Za-z0-9+/]+={0,2}"
START_OF_LINK = re.compile("<a [^<>]*>")  # as nh3 writes it
REMOTE_URL = re.compile(r"\s*(?:https?:|ftp:|//)", re.IGNORECASE)

# The time to parse HTML can grow with the square of its length and of the number of its tags.
MAX_LENGTH = 128 * 1024  # characters without images
MAX_TAGS = 10_000
MAX_INLINE = 8 * 1024 * 1024  # characters of all images together

# Elements that HTML opens again in each later block if they were not closed. 5,000 of them and 5,000 blocks would be
# 25 million elements. Under other names, they are elements like all others.
FORMATTING = "a|b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u"
FORMATTING_TAG = re.compile(rf"(?ai)<(/?)(?=(?:{FORMATTING})[\s/>])")
RENAMED_TAG = re.compile(rf"<(/?)mailapi-(?=(?:{FORMATTING})[ >])")
RENAMED_LINK = re.compile('<mailapi-(a [^<>]*target="_blank")>')  # quotation marks in values are escaped
RENAMED_ATTRIBUTES = {
    f"mailapi-{name}": ATTRIBUTES[name] for name in FORMATTING.split("|") if name in ATTRIBUTES
}
# A start tag whose end is the same to every parser.
PLAIN_TAG = re.compile(
    r"""(?ai)<([a-z]+)(?>(?:\s+[\w:-]+(?:\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=`]+))?)*)\s*/?>"""
)
MOST_REPEATED = 64 * 1024 * 1024  # bytes of elements that are opened again
ELEMENT_BYTES = 300  # of an element while it is parsed and written, and four times the length of its tag


Finder = Callable[[str], str | None]


class SanitizedHTML:
    """Harmless HTML of a mail in the attribute `html`: no scripts, and nothing is loaded from other servers.

    `complete` is False if the HTML was cut off. `blocked` is the number of remote images that were removed.
    """

    def __init__(self, source: str, image_of: Finder, image_at: Finder = lambda url: None):
        """Sanitize the HTML text `source`.

        `image_of` and `image_at`: functions that return an image of the mail as a data: URL, or None. `image_of` finds
        it by Content-ID, `image_at` by Content-Location.
        """
        self.image_of, self.image_at, self.inline, self.blocked = image_of, image_at, 0, 0
        self.images: list[str] = []
        # Images inside the HTML are replaced by numbers, so that their length does not count.
        source = re.sub(rf"(?<=[\"']){IMAGE_DATA}(?=[\"'])", self.number_image, source)
        frame = Frame(source)
        shortened = "<".join(frame.source[:MAX_LENGTH].split("<", MAX_TAGS + 1)[: MAX_TAGS + 1])
        self.complete = shortened == frame.source and frame.complete
        clean_it = clean_renamed if repeated_bytes(shortened) > MOST_REPEATED else clean
        cleaned = clean_it(BLOCKS.sub(r"<\1div", shortened), self.filter_attribute)
        self.html = frame.wrap(START_OF_LINK.sub(without_target, cleaned))

    def number_image(self, match: re.Match) -> str:
        self.images.append(match[0])
        return f"data:{len(self.images)}"

    def filter_attribute(self, tag: str, name: str, value: str) -> str | None:
        """Return the harmless value for the HTML attribute `name`, or None to remove it. Never raise an exception."""
        # After an exception, nh3 would keep the attribute unchanged.
        try:
            return self.allowed_value(name, value)
        except Exception:
            return None

    def allowed_value(self, name: str, value: str) -> str | None:
        if name == "src":
            return self.image(value)
        if name == "href":
            return self.link(value.strip())
        if name in ("id", "name"):
            return prefixed_name(value)
        if name == "class":
            return prefixed_classes(value)
        if name == "style":
            return filter_style(value)
        if name in ("alt", "title", "rel", "target"):  # rel and target are set by nh3 itself
            return value
        return value if PLAIN_VALUE.fullmatch(value) else None

    def link(self, value: str) -> str | None:
        """Return the URL of a web or mailto: link, else None. A link within the mail, `#a`, becomes `#mail-a`."""
        if value.startswith("#"):
            name = prefixed_name(value[1:])
            return name and f"#{name}"
        return value if LINK.fullmatch(value) else None

    def image(self, value: str) -> str | None:
        """Return the mail's image with this URL as a data: URL, or None. Count remote images in `blocked`."""
        scheme, _, name = value.strip().partition(":")
        if scheme.lower() == "cid":
            uri = self.image_of(name)
        else:
            uri = self.numbered_image(name) if scheme == "data" else self.image_at(value.strip())
        self.blocked += uri is None and bool(REMOTE_URL.match(value))
        self.inline += len(uri or "")
        return uri if self.inline <= MAX_INLINE else None

    def numbered_image(self, number: str) -> str | None:
        return self.images[int(number) - 1] if re.fullmatch("[1-9][0-9]{0,5}", number) else None


def without_target(match: re.Match) -> str:
    """Return a start tag `<a …>`, without its `target` if it links to an element of the same mail.

    `match`: the match of the tag.
    """
    return match[0].replace(' target="_blank"', "") if ' href="#' in match[0] else match[0]


def repeated_bytes(source: str) -> int:
    """Return the most memory that elements can take which HTML opens again in later blocks.

    Of equal elements, three are opened again, and one link.
    """
    sizes, counts, link = dict[str, int](), Counter[str](), 0
    for tag in FORMATTING_TAG.finditer(source):
        if tag[1]:
            continue
        plain = PLAIN_TAG.match(source, tag.start())
        size = ELEMENT_BYTES + 4 * (len(plain[0]) if plain else len(source) - tag.start())
        if plain and plain[1] in "aA":
            link = max(link, size)
        else:
            text = plain[0] if plain else str(tag.start())
            sizes[text], counts[text] = size, min(counts[text] + 1, 3)
    return source.count("<") * (link + sum(size * counts[text] for text, size in sizes.items()))


def clean_renamed(source: str, attribute_filter: Callable[[str, str, str], str | None]) -> str:
    """Return HTML as clean() does, but open no element again that was not closed in its block."""
    source = FORMATTING_TAG.sub(r"<\1mailapi-", source)
    attributes = {
        name: values for name, values in ATTRIBUTES.items() if f"mailapi-{name}" not in RENAMED_ATTRIBUTES
    }
    cleaned = clean(source, attribute_filter, attributes | RENAMED_ATTRIBUTES)
    cleaned = RENAMED_LINK.sub(r'<\1 rel="noopener noreferrer">', cleaned)
    return RENAMED_TAG.sub(r"<\1", cleaned)


def clean(
    source: str,
    attribute_filter: Callable[[str, str, str], str | None],
    attributes: dict[str, set[str]] = ATTRIBUTES,
) -> str:
    """Return HTML with allowed elements and attributes only. ApiError if the package nh3 is not installed.

    `attributes`: the allowed elements, and those of each. attribute_filter(tag, name, value) returns the harmless
    value of an allowed attribute, or None to remove it.
    """
    try:
        import nh3
    except ImportError as error:
        raise ApiError(
            f"The HTML of mail needs the package nh3 of mailapi[mail]: {error}.", http=500
        ) from None
    return nh3.clean(
        source,
        tags=set(attributes),
        clean_content_tags=REMOVED_WITH_CONTENT,
        attributes=attributes,
        attribute_filter=attribute_filter,
        url_schemes={"http", "https", "mailto", "cid", "data"},
        link_rel="noopener noreferrer",
        set_tag_attribute_values={
            name: {"target": "_blank"} for name in ("a", "mailapi-a") if name in attributes
        },
    )
