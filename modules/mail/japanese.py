"""Decoders for Japanese charsets in mail, including the characters that NEC, IBM and Microsoft added to JIS X 0208.

Python's codecs for these charsets lack the additional characters, but its codec cp932 has them. So JIS X 0208 is
converted to cp932 first.
"""

import re
from io import StringIO

REPLACEMENT = "\ufffd"  # in the place of invalid bytes
ESCAPES = re.compile(rb"\x1b(?:\$[@B]|\$\(D|\([BJIH])")
# Runs of one kind in EUC-JP: ASCII, JIS X 0208, half-width kana, JIS X 0212, and bytes that are none of these.
EUC_RUNS = re.compile(
    rb"([\0-\x7f]+)|((?:[\xa1-\xfe][\xa1-\xfe])+)|((?:\x8e[\xa1-\xdf])+)|((?:\x8f[\xa1-\xfe][\xa1-\xfe])+)|[\x80-\xff]"
)
KANA_RUNS = re.compile(rb"[\x21-\x5f]+|[^\x21-\x5f]+")
YEN_AND_OVERLINE = str.maketrans("\\~", "\xa5\u203e")  # JIS X 0201
LOW_BITS = bytes(byte & 0x7F for byte in range(256))
HIGH_BITS = bytes(byte | 0x80 for byte in range(256))
# Of Shift_JIS: the first byte by the row, and the second byte by the cell in odd and in even rows (0x21 to 0x7E).
LEADS = bytes(
    (row + 1) // 2 + (0x70 if row < 0x5F else 0xB0) if 0x21 <= row <= 0x7E else 0 for row in range(256)
)
ODD = bytes(cell + 0x1F + (cell >= 0x60) if 0x21 <= cell <= 0x7E else 0 for cell in range(256))
EVEN = bytes(cell + 0x7E if 0x21 <= cell <= 0x7E else 0 for cell in range(256))


def decode_iso_2022_jp(raw: bytes) -> str:
    """Decode ISO-2022-JP, including half-width kana and JIS X 0212. Invalid bytes become U+FFFD."""
    text, mode, position = StringIO(), b"\x1b(B", 0  # a list of short texts would take 40 times their memory
    for escape in ESCAPES.finditer(raw):
        text.write(decode_segment(raw[position : escape.start()], mode))
        mode, position = escape[0], escape.end()
    text.write(decode_segment(raw[position:], mode))
    return text.getvalue()


def decode_segment(raw: bytes, mode: bytes) -> str:
    """Decode bytes by the character set that `mode`, the escape sequence before them, selects.

    Bytes after a line break are decoded as ASCII if the set has two bytes a character (RFC 1468).
    """
    if mode.startswith(b"\x1b$"):
        line, rest = re.fullmatch(rb"(?s)([^\r\n]*)(.*)", raw).groups()  # type: ignore[union-attr]  # it always matches
        wide = jis_x_0212(line) if mode == b"\x1b$(D" else jis_x_0208(line)
        return wide + rest.decode("ascii", "replace")
    if mode == b"\x1b(I":
        kana = StringIO()
        for match in KANA_RUNS.finditer(raw):
            run, codec = (
                (match[0].translate(HIGH_BITS), "cp932") if match[0][0] > 0x20 else (match[0], "ascii")
            )
            kana.write(run.decode(codec, "replace"))
        return kana.getvalue()
    text = raw.decode(
        "cp932" if mode == b"\x1b(B" else "ascii", "replace"
    )  # some send half-width kana as they are
    return text.translate(YEN_AND_OVERLINE) if mode == b"\x1b(J" else text


def decode_euc_jp(raw: bytes) -> str:
    """Decode EUC-JP. Invalid bytes become U+FFFD."""
    text = StringIO()
    for run in EUC_RUNS.finditer(raw):
        if run[1]:
            text.write(run[1].decode("ascii"))
        elif run[2]:
            text.write(jis_x_0208(run[2].translate(LOW_BITS)))
        elif run[3]:
            text.write(run[3].replace(b"\x8e", b"").decode("cp932"))
        elif run[4]:
            text.write(run[4].decode("euc_jp", "replace"))
        else:
            text.write(REPLACEMENT)
    return text.getvalue()


def jis_x_0208(raw: bytes) -> str:
    """Decode JIS X 0208, in which a character has two bytes from 0x21 to 0x7E. Invalid bytes become U+FFFD."""
    pairs = bytearray(len(raw) // 2 * 2)
    rows, cells = raw[: len(pairs) : 2], raw[1::2]
    pairs[0::2] = rows.translate(LEADS)
    pairs[1::2] = bytes(ODD[cell] if row & 1 else EVEN[cell] for row, cell in zip(rows, cells))
    return pairs.decode("cp932", "replace") + REPLACEMENT * (len(raw) % 2)


def jis_x_0212(raw: bytes) -> str:
    triples = bytearray(len(raw) // 2 * 3)
    triples[0::3] = b"\x8f" * (len(raw) // 2)
    triples[1::3], triples[2::3] = (
        part[: len(raw) // 2].translate(HIGH_BITS) for part in (raw[0::2], raw[1::2])
    )
    return triples.decode("euc_jp", "replace") + REPLACEMENT * (len(raw) % 2)
