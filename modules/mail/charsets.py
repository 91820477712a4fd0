"""Decoding of text in received mail, by the charsets of the WHATWG encoding standard, which browsers use.

The standard reads some labels as a larger charset, such as gb2312 as gb18030, and iso-8859-1 as windows-1252. Python's
codecs decode charsets that only mail uses, such as utf-7 and iso-2022-kr.
"""

import codecs
import functools
import re
from collections.abc import Callable
from encodings.aliases import aliases

from .japanese import REPLACEMENT, decode_euc_jp, decode_iso_2022_jp

SURROGATES = re.compile("[\ud800-\udfff]")
NOT_ALPHANUMERIC = re.compile("[^a-z0-9]+")
LONGEST_LABEL = 100  # characters
# Codecs of Python that are no charsets: they take quadratic time, or return surrogates or bytes.
NO_CHARSETS = {
    "base64_codec",
    "bz2_codec",
    "hex_codec",
    "idna",
    "mbcs",
    "punycode",
    "quopri_codec",
    "raw_unicode_escape",
}
NO_CHARSETS |= {"rot_13", "undefined", "unicode_escape", "uu_codec", "zlib_codec"}
# Codecs that have no other name in Python.
MORE_CODECS = (
    "cp720 cp737 cp856 cp874 cp1006 koi8_r koi8_t koi8_u mac_arabic mac_croatian mac_farsi mac_romanian"
)
# The codec for a charset in mail, by Python's codec of that name. Those with several bytes a character fail as a whole.
MEANT = {
    "ascii": "cp1252",
    "latin_1": "cp1252",
    "iso8859_9": "cp1254",
    "iso8859_11": "cp874",
    "tis_620": "cp874",
}
MEANT |= {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "big5hkscs"}
MEANT |= {
    "cp950": "big5hkscs",
    "iso2022_jp_ext": "iso2022_jp",
    "iso2022_jp_1": "iso2022_jp",
    "utf_8_sig": "utf_8",
}
# Labels that Python does not know, without their punctuation.
LABELS = {
    "utf_8": "unicode11utf8 unicode20utf8 xunicode20utf8 utf8mb4 utf8mb3",
    "cp1252": "xansi ansi xunknown8bit",
    "iso8859_6": "csiso88596e csiso88596i iso88596e iso88596i",
    "iso8859_7": "suneugreek",
    "iso8859_8": "csiso88598e iso88598e visual csiso88598i iso88598i logical",
    "iso8859_15": "csisolatin9",
    "koi8_r": "koi koi8",
    "koi8_u": "koi8ru",
    "mac_roman": "mac macintosh csmacintosh xmacroman",
    "mac_cyrillic": "xmaccyrillic xmacukrainian",
    "mac_latin2": "xmacce xmaccentraleurroman",
    "mac_turkish": "xmacturkish",
    "mac_greek": "xmacgreek",
    "cp874": "dos874 windows874",
    "gb18030": "csgb2312 gb231280 xgbk",
    "big5hkscs": "cnbig5 xxbig5",
    "euc_jp": "cseucpkdfmtjapanese xeucjp",
    "cp932": "windows31j xsjis xshiftjis cswindows31j",
    "cp949": "cseuckr csksc56011987 isoir149 ksc56011989 ksc5601 windows949",
    "utf_16_be": "unicodefffe",
    "utf_16_le": "csunicode iso10646ucs2 ucs2 unicode unicodefeff utf16",
}
# win-1251, windows1251, x-cp1251, cp-850, ibm-850, iso88591
NUMBERED = re.compile(r"x?(?:win|windows|cp|ibm|ms|msdos|dos|ansi|iso)?([0-9]{3,6})")
JAPANESE: dict[str, Callable[[bytes], str]] = {"iso2022_jp": decode_iso_2022_jp, "euc_jp": decode_euc_jp}
WIDE = {
    "utf_8",
    "utf_7",
    "utf_16",
    "utf_16_be",
    "utf_16_le",
    "utf_32",
    "utf_32_be",
    "utf_32_le",
    "gb18030",
    "cp932",
}
WIDE |= {
    "cp949",
    "big5hkscs",
    "johab",
    "hz",
    "iso2022_kr",
    "shift_jis_2004",
    "shift_jisx0213",
    "euc_jis_2004",
}
WIDE |= {"euc_jisx0213", "iso2022_jp_2", "iso2022_jp_2004", "iso2022_jp_3"}


def known_labels() -> dict[str, str]:
    """Return the name of Python's codec for each label of a charset, such as {"latin1": "cp1252"}.

    The labels are in lower case and without punctuation.
    """
    python = aliases | dict.fromkeys(aliases.values()) | dict.fromkeys(MORE_CODECS.split())
    labels = {squeezed(label): codec or label for label, codec in python.items()}
    labels = {label: MEANT.get(codec, codec) for label, codec in labels.items() if codec not in NO_CHARSETS}
    return labels | {label: codec for codec, names in LABELS.items() for label in names.split()}


def squeezed(label: str) -> str:
    return NOT_ALPHANUMERIC.sub("", label.lower())


CODECS = known_labels()


def codec_of(label: str | None) -> str | None:
    """Return the name of Python's codec for a charset's label, such as "cp1252" for "ISO-8859-1"; None if unknown.

    Case and punctuation of the label do not matter.
    """
    # Python's registry of codecs would store forever each name that a mail makes up.
    key = squeezed((label or "")[:LONGEST_LABEL])
    if key in CODECS or not (number := NUMBERED.fullmatch(key)):
        return CODECS.get(key)
    return CODECS.get("iso" + number[1]) or CODECS.get("cp" + number[1])


def decode(raw: bytes, label: str | None, other: str | None = None, guess: bool = True) -> str:
    """Decode bytes by the charset with this `label`, or by another charset if they do not fit it.

    The others are UTF-8, then the charset with the label `other`, then windows-1252. A charset fits if at most half of
    the characters beyond ASCII are invalid; those become U+FFFD. Valid UTF-8 is recognized even if `label` is Latin-1.

    With guess=False, the label Latin-1 is obeyed, and the only other charset is UTF-8 (docs/wire.md F16).
    """
    if not label and raw.isascii():
        return raw.decode("ascii")
    codec = marked_codec(raw, codec_of(label))
    if raw.isascii() and codec in (None, "utf_8", "cp1252"):
        return raw.decode("ascii")
    utf_8 = decode_strictly(raw)
    unmarked = codec is None or squeezed(label or "") in ("ascii", "usascii")
    if utf_8 is not None and (unmarked or guess and codec == "cp1252"):
        return utf_8
    if codec:
        text = decode_bytes(raw, codec)
        if raw.isascii() or is_plausible(text, raw, codec):
            return text
    if utf_8 is not None:
        return utf_8
    if not guess:
        return raw.decode("utf-8", "replace")
    codec = codec_of(other)
    if codec and not codec.startswith("utf_") and is_plausible(text := decode_bytes(raw, codec), raw, codec):
        return text
    text = raw.decode("utf-8", "replace")
    return text if is_plausible(text, raw, "utf_8") else decode_bytes(raw, "cp1252")


def marked_codec(raw: bytes, codec: str | None) -> str | None:
    """Return the codec that the byte order mark of a text stands for, such as "utf_8". Without a mark, return `codec`.

    A mark of UTF-16 is ignored if `codec` is a codec other than UTF-16.
    """
    if raw.startswith(codecs.BOM_UTF8):
        return "utf_8"
    if codec in (None, "utf_16_le", "utf_16_be") and raw.startswith(
        (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    ):
        return "utf_16_le" if raw.startswith(codecs.BOM_UTF16_LE) else "utf_16_be"
    return codec


def decode_strictly(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def is_plausible(text: str, raw: bytes, codec: str) -> bool:
    """Return whether a charset fits the bytes `raw`. `codec` is Python's name for it, and `text` the decoded bytes.

    At most half of the characters beyond ASCII may be U+FFFD, for invalid bytes. A single U+FFFD at the end is
    allowed. A charset of one byte a character always fits, since hardly any byte is invalid in it.
    """
    if codec not in WIDE and codec not in JAPANESE:
        return True
    replaced = text.count(REPLACEMENT)
    beyond_ascii = len(text) - len(text.encode("ascii", "ignore"))
    return replaced * 2 <= beyond_ascii or replaced == 1 and len(raw) > 3 and text.endswith(REPLACEMENT)


def decode_bytes(raw: bytes, codec: str) -> str:
    """Decode bytes by the codec with this name. Invalid bytes become U+FFFD."""
    if codec in JAPANESE:
        return JAPANESE[codec](raw)
    if codec in WIDE:
        return SURROGATES.sub(REPLACEMENT, raw.decode(codec, HANDLER if codec in LACKING else "replace"))
    return codecs.charmap_decode(raw, "replace", one_byte_table(codec))[0]


@functools.cache
def one_byte_table(codec: str) -> str:
    """Return a text of 256 characters: those for the bytes 0 to 255 in a charset of one byte a character.

    Undefined bytes from 0x80 to 0x9F become control characters, as in the WHATWG encoding standard.
    """
    table = [bytes([byte]).decode(codec, "replace") for byte in range(256)]
    for byte in range(0x80, 0xA0):
        table[byte] = chr(byte) if table[byte] == REPLACEMENT else table[byte]
    if codec == "koi8_u":
        table[0xAE], table[0xBE] = "\u045e", "\u040e"  # as in KOI8-RU
    return "".join(table).replace(REPLACEMENT, "\ufffe")  # which charmap_decode takes for undefined


########## Bytes that Python's codecs of several bytes lack ########################################

HANDLER = "mailapi_replace"
LACKING = ("gb18030", "big5hkscs")  # to call the handler takes a microsecond, as each invalid byte needs


def replace_error(error) -> tuple[str, int]:
    """Return the text for bytes that a codec cannot decode, and the position after them, such as ("€", 3).

    This is an error handler for codecs.register_error(). It knows characters that browsers decode and Python does not,
    such as the euro sign in GBK. The text for others is U+FFFD.
    """
    pair = error.object[error.start : error.start + 2]
    if error.encoding == "gb18030" and pair[:1] == b"\x80":
        return "\u20ac", error.start + 1
    if error.encoding == "big5hkscs" and len(pair) == 2 and pair[0] > 0x80:
        try:
            return pair.decode("cp950"), error.start + 2
        except UnicodeDecodeError:
            pass
    return codecs.replace_errors(error)  # type: ignore[return-value]  # typeshed allows bytes


codecs.register_error(HANDLER, replace_error)
