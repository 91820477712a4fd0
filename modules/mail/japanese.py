"""Decoders for Japanese charsets in mail, including the characters that NEC, IBM and Microsoft added to JIS X 0208.

Python's codecs for these charsets lack the additional characters, but its codec cp932 has them. So JIS X 0208 is
converted to cp932 first.
"""

import re

REPLACEMENT = "\ufffd"  # in the place of invalid bytes
ESCAPES = re.compile(rb"\x1b(?:\$[@B]|\$\(D|\([BJIH])")
# Runs of one kind in EUC-JP: ASCII, JIS X 0208, half-width kana, JIS X 0212, and bytes that are none of these.
EUC_RUNS = re.compile(
    rb"([\0-\x7f]+)|((?:[\xa1-\xfe][\xa1-\xfe])+)|((?:\x8e[\xa1-\xdf])+)|((?:\x8f[\xa1-\xfe][\xa1-\xfe])+)|[\x80-\xff]"
)
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
    texts, mode, position = [], b"\x1b(B", 0
    for escape in ESCAPES.finditer(raw):
        texts.append(decode_segment(raw[position : escape.start()], mode))
        mode, position = escape[0], escape.end()
    texts.append(decode_segment(raw[position:], mode))
    return "".join(texts)


def decode_segment(raw: bytes, mode: bytes) -> str:
    """Decode bytes by the character set that `mode`, the escape sequence before them, selects.

    Bytes after a line break are decoded as ASCII if the set has two bytes a character (RFC 1468).
    """
    if mode.startswith(b"\x1b$"):
        line, rest = re.fullmatch(rb"(?s)([^\r\n]*)(.*)", raw).groups()  # type: ignore[union-attr]  # it always matches
        wide = jis_x_0212(line) if mode == b"\x1b$(D" else jis_x_0208(line)
        return wide + rest.decode("ascii", "replace")
    if mode == b"\x1b(I":
        return "".join(
            run.translate(HIGH_BITS).decode("cp932", "replace") if kana else run.decode("ascii", "replace")
            for kana, run in (
                (run[:1] > b"\x20", run) for run in re.findall(rb"[\x21-\x5f]+|[^\x21-\x5f]+", raw)
            )
        )
    text = raw.decode(
        "cp932" if mode == b"\x1b(B" else "ascii", "replace"
    )  # some send half-width kana as they are
    return text.translate(YEN_AND_OVERLINE) if mode == b"\x1b(J" else text


def decode_euc_jp(raw: bytes) -> str:
    """Decode EUC-JP. Invalid bytes become U+FFFD."""
    texts = []
    for run in EUC_RUNS.finditer(raw):
        if run[1]:
            texts.append(run[1].decode("ascii"))
        elif run[2]:
            texts.append(jis_x_0208(run[2].translate(LOW_BITS)))
        elif run[3]:
            texts.append(run[3].replace(b"\x8e", b"").decode("cp932"))
        elif run[4]:
            texts.append(run[4].decode("euc_jp", "replace"))
        else:
            texts.append(REPLACEMENT)
    return "".join(texts)


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
