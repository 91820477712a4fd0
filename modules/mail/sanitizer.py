"""Makes the HTML of received mails harmless: no scripts, and nothing is loaded from other servers."""

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
# Elements that are removed with everything inside them.
REMOVED_WITH_CONTENT = {
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
}
GLOBAL_ATTRIBUTES = {"align", "bgcolor", "dir", "height", "lang", "style", "title", "valign", "width"}
ATTRIBUTES = dict.fromkeys(TAGS, GLOBAL_ATTRIBUTES) | {
    "a": GLOBAL_ATTRIBUTES | {"href"},
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
REMOTE_URL = re.compile(r"\s*(?:https?:|ftp:|//)", re.IGNORECASE)

PROPERTIES = re.compile(
    r"""(?:background-|border-(?:(?:top|right|bottom|left)-)?|text-decoration-)?color|background
    |border(?:-(?:top|right|bottom|left))?(?:-(?:style|width))?|border-(?:collapse|radius|spacing)|clear|direction
    |display|float|font(?:-(?:family|size|style|variant|weight))?|(?:max-|min-)?(?:height|width)|letter-spacing
    |line-height|list-style-type|(?:margin|padding)(?:-(?:top|right|bottom|left))?|overflow|table-layout
    |text-(?:align|decoration|indent|transform)|vertical-align|white-space|word-(?:break|spacing|wrap)""",
    re.VERBOSE,
)
# Excluded: functions other than colours, such as url(); escapes; negative numbers, by which a mail could cover the
# page around it.
VALUE = re.compile(
    r"""(?:[\w\s.,\#%!/]|-(?=[a-z])|"[\w\s.-]*"|'[\w\s.-]*'|\b(?:rgb|hsl)a?\([\d\s.,%/]*\))*""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)

# The time to parse HTML can grow with the square of its length and of the number of its tags.
MAX_LENGTH = 128 * 1024  # characters without images
MAX_TAGS = 10_000
MAX_INLINE = 8 * 1024 * 1024  # characters of all images together


class SanitizedHTML:
    """HTML of a mail without scripts and remote content, in `html`.

    `complete` is False if it was cut off. `blocked` is the number of remote images that were removed.
    """

    def __init__(self, source: str, image_of: Callable[[str], str | None]):
        """Sanitize the HTML text `source`. `image_of` maps a Content-ID to a data: URL of that image, or None."""
        self.image_of, self.inline, self.blocked = image_of, 0, 0
        self.images: list[str] = []
        # Images inside the HTML are replaced by numbers, so that their length does not count.
        source = re.sub(rf"(?<=[\"']){IMAGE_DATA}(?=[\"'])", self.number_image, source)
        shortened = "<".join(source[:MAX_LENGTH].split("<", MAX_TAGS + 1)[: MAX_TAGS + 1])
        self.complete = shortened == source
        self.html = cleaner()(shortened, self.filter_attribute)

    def number_image(self, match: re.Match) -> str:
        self.images.append(match[0])
        return f"data:{len(self.images)}"

    def filter_attribute(self, tag: str, name: str, value: str) -> str | None:
        """Return the value that an attribute may have, or None to remove the attribute.

        Never raises an exception, after which the library nh3 would leave the attribute as it is.
        """
        try:
            return self.allowed_value(name, value)
        except Exception:
            return None

    def allowed_value(self, name: str, value: str) -> str | None:
        if name == "src":
            return self.image(value)
        if name == "href":
            return value.strip() if LINK.fullmatch(value.strip()) else None
        if name == "style":
            return filter_style(value)
        if name in ("alt", "title", "rel", "target"):  # rel and target are set by nh3 itself
            return value
        return value if PLAIN_VALUE.fullmatch(value) else None

    def image(self, value: str) -> str | None:
        """Return a data: URL for an image that is part of the mail, else None. Counts remote images in `blocked`."""
        if REMOTE_URL.match(value):
            self.blocked += 1
            return None
        scheme, _, name = value.partition(":")
        is_cid = scheme.lower() == "cid"
        uri = self.image_of(name) if is_cid else self.numbered_image(name) if scheme == "data" else None
        self.inline += len(uri or "")
        return uri if self.inline <= MAX_INLINE else None

    def numbered_image(self, number: str) -> str | None:
        return self.images[int(number) - 1] if re.fullmatch("[1-9][0-9]{0,5}", number) else None


def filter_style(value: str) -> str | None:
    """Return those CSS declarations that only change the look of text and boxes; None if there are none."""
    declarations = []
    for declaration in value[:4096].split(";"):
        name, _, setting = (part.strip() for part in declaration.partition(":"))
        if PROPERTIES.fullmatch(name.lower()) and len(setting) < 200 and VALUE.fullmatch(setting):
            declarations.append(f"{name.lower()}:{setting}")
    return ";".join(declarations) or None


def cleaner() -> Callable:
    """Return a function that makes HTML harmless, by the package nh3. ApiError if nh3 is not installed."""
    try:
        import nh3
    except ImportError as error:
        raise ApiError(
            f"The HTML of mail needs the package nh3 of mailapi[mail]: {error}.", http=500
        ) from None
    return lambda source, attribute_filter: nh3.clean(
        source,
        tags=TAGS,
        clean_content_tags=REMOVED_WITH_CONTENT,
        attributes=ATTRIBUTES,
        attribute_filter=attribute_filter,
        url_schemes={"http", "https", "mailto", "cid", "data"},
        link_rel="noopener noreferrer",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
