"""CSS declarations in received mail that are harmless, since they only change the look of text and boxes."""

import re

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
# Of `background` the picture is left out, and the colour stays. What comes after a semicolon in a URL is no declaration.
PICTURE = re.compile(r"""url\((?>(?:[^()"']|"[^"]*"|'[^']*')*)\)?""", re.IGNORECASE)
MAX_STYLE = 4096  # characters of a style attribute
MAX_VALUE = 200
COLOUR = re.compile(r"#[0-9a-f]{3,8}|[a-z]{3,25}", re.IGNORECASE)
BARE_COLOUR = re.compile(r"[0-9a-f]{6}", re.IGNORECASE)


def filter_style(value: str) -> str | None:
    """Return the harmless declarations of a `style` attribute, such as `color:red;margin:0`; None if there are none."""
    pairs = (declaration.partition(":")[::2] for declaration in value[:MAX_STYLE].split(";"))
    return ";".join(filter(None, (declaration(name, setting) for name, setting in pairs))) or None


def declaration(name: str, value: str) -> str:
    """Return a CSS declaration such as `color:red`, or "" if it is not known to be harmless."""
    name, value = name.strip().lower(), value.strip()
    if name == "background":
        value = PICTURE.sub(" ", value).strip()
    if not (PROPERTIES.fullmatch(name) and 0 < len(value) < MAX_VALUE and VALUE.fullmatch(value)):
        return ""
    return f"{name}:{value}"


def colour(value: str) -> str:
    """Convert a colour in an HTML attribute, such as bgcolor, to CSS. Return "" if it is invalid."""
    value = value.strip()
    if BARE_COLOUR.fullmatch(value):
        return f"#{value}"
    return value if COLOUR.fullmatch(value) else ""
