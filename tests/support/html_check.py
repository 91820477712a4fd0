"""Whether HTML can do harm, by html5lib, a parser of the HTML standard, and by lists that are not the sanitizer's."""

import itertools
import re

import html5lib

# What a reader's eye needs, and nothing else: written here once more, so that neither list is held against itself.
ELEMENTS = set(
    """a abbr address b bdi bdo big blockquote br caption center cite code col colgroup dd del dfn div dl dt
    em font h1 h2 h3 h4 h5 h6 hr i img ins kbd li ol p pre q s samp small span strike strong sub sup table tbody td
    tfoot th thead tr tt u ul var wbr""".split()
)
PLAIN = set(
    """align alt bgcolor border cellpadding cellspacing color colspan dir face height lang nowrap rowspan size
    span start type valign width""".split()
)
RULES = {
    "href": r"(?i)(https?://|mailto:)[^\s\\<>\"'`\x00-\x20]+",
    "src": r"data:image/(png|gif|jpeg|webp|bmp);base64,[\w+/=]+",
    "rel": "noopener noreferrer",
    "target": "_blank",
    "title": r"(?s).*",
}
STYLED = re.compile(r"[\w\s.,#%!/:;'\"-]|(?<=rgb|hsl)\([\d\s.,%/]*\)|(?<=rgba|hsla)\([\d\s.,%/]*\)", re.ASCII)
NOT_STYLED = re.compile(
    r"url|position|z-index|expression|import|image|content|cursor|-\s*[\d.]|\\", re.IGNORECASE
)


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
    assert namespace == "{http://www.w3.org/1999/xhtml" and name in ELEMENTS, element.tag
    for attribute, value in element.attrib.items():
        if attribute == "style":
            assert not NOT_STYLED.search(value) and not STYLED.sub("", value), value
        elif attribute in PLAIN:
            assert attribute == "alt" or re.fullmatch(r"[\w #%.,+-]*", value), (attribute, value)
        else:
            assert re.fullmatch(RULES[attribute], value), (attribute, value)
    if name == "a":
        assert element.attrib["target"] == "_blank" and element.attrib["rel"] == "noopener noreferrer"
