"""A check whether HTML can do harm, by html5lib, a parser of the HTML standard, and by lists that are not the sanitizer's."""

import itertools
import re

import html5lib

# What a reader's eye needs, and nothing else: written here once more, so that neither list is held against itself.
ELEMENTS = set(
    """a abbr address b bdi bdo big blockquote br caption center cite code col colgroup dd del dfn div dl dt
    em font h1 h2 h3 h4 h5 h6 hr i img ins kbd li ol p pre q s samp small span strike strong sub sup table tbody td
    tfoot th thead tr tt u ul var wbr article aside figcaption figure footer header main nav section""".split()
)
PLAIN = set(
    """align alt bgcolor border cellpadding cellspacing color colspan dir face height lang nowrap rowspan size
    span start type valign width""".split()
)
RULES = {
    "href": r"(?i)(https?://|mailto:)[^\s\\<>\"'`\x00-\x20]+|#mail-[\w-]+",
    "class": r"mail-[\w-]+( mail-[\w-]+)*",
    "id": r"mail-[\w-]+",
    "name": r"mail-[\w-]+",
    "src": r"data:image/(png|gif|jpeg|webp|bmp);base64,[\w+/=]+",
    "rel": "noopener noreferrer",
    "target": "_blank",
    "title": r"(?s).*",
}
STYLED = re.compile(r"[\w\s.,#%!/:;'\"-]|(?<=rgb|hsl)\([\d\s.,%/]*\)|(?<=rgba|hsla)\([\d\s.,%/]*\)", re.ASCII)
NOT_STYLED = re.compile(
    r"url\s*\(|image|expression|@|\\|-\s*[\d.]|(?:^|;)\s*(?:position|z-index|content|cursor|behavior|transform|contain)\s*:",
    re.IGNORECASE,
)
FRAME = "contain:layout paint;overflow:auto"  # what the sanitizer itself puts around style sheets


def check_harmless(fragment: str):
    """Check that every element and attribute of a fragment is harmless, in whatever element it is shown."""
    for scripting, container in itertools.product((True, False), ("div", "td", "template")):
        parser = html5lib.HTMLParser(namespaceHTMLElements=True)
        tree = parser.parseFragment(fragment, container=container, scripting=scripting)
        for element in tree.iter():
            check_element(element)


def check_element(element):
    """Check one element and its attributes."""
    assert isinstance(element.tag, str), f"a comment: {element}"
    if element.tag == "DOCUMENT_FRAGMENT":
        return
    namespace, _, name = element.tag.rpartition("}")
    assert namespace == "{http://www.w3.org/1999/xhtml" and name in ELEMENTS | {"style"}, element.tag
    if name == "style":
        assert not element.attrib
        check_sheet(element.text or "")
    for attribute, value in element.attrib.items():
        if attribute == "style" and value != FRAME:
            assert not NOT_STYLED.search(value) and not STYLED.sub("", value), value
        elif attribute == "style":
            assert name == "div"
        elif attribute in PLAIN:
            assert attribute == "alt" or re.fullmatch(r"[\w #%.,+-]*", value), (attribute, value)
        else:
            assert re.fullmatch(RULES[attribute], value), (attribute, value)
    if element.attrib.get("href", "").startswith("#"):
        assert "target" not in element.attrib
    elif name == "a":
        assert element.attrib["target"] == "_blank" and element.attrib["rel"] == "noopener noreferrer"


RULE = re.compile(r"\s*(?:@media ([a-z0-9 (),:./%-]+)\{|([^{}@]+)\{([^{}]*)\}|(\}))")
SELECTOR = re.compile(
    r"\.mail-frame-[0-9a-f]{32}(?:[.#]mail-[\w-]+|:[a-z-]+)*(?:[ >][\w.#:>+~*-][\w.#:>+~* -]*)?", re.ASCII
)


def check_sheet(sheet: str):
    """Check that a style sheet has only harmless rules, and only for elements inside of the mail's own frame."""
    position = depth = 0
    while sheet[position:].strip():
        rule = RULE.match(sheet, position)
        assert rule, sheet[position:]
        query, selectors, body, end = rule.groups()
        depth += bool(query) - bool(end)
        assert depth >= 0
        if selectors:
            assert not NOT_STYLED.search(body) and not STYLED.sub("", body), body
            for selector in selectors.split(","):
                assert SELECTOR.fullmatch(selector), selector
                assert all(name.startswith("mail-") for name in re.findall(r"[.#]([\w-]+)", selector))
        position = rule.end()
    assert depth == 0
