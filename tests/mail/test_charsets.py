"""Charsets of mail mean what browsers mean by them.

The right answers are those of the WHATWG encoding standard (https://encoding.spec.whatwg.org): its labels as the package
webencodings has them, and characters of its tables, written here by hand.
"""

import pytest
from mailapi_modules.mail.charsets import codec_of, decode, decode_bytes
from webencodings.labels import LABELS

import mailapi  # noqa: F401 what makes mailapi_modules importable
from support.counting import calls
from support.mails import deliver, multipart, part_of_type

# Names of encodings in the standard → codecs of Python that have at least all their characters.
CODECS = {
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc-kr": "cp949",
    "iso-8859-8-i": "iso8859_8",
    "macintosh": "mac_roman",
    "x-mac-cyrillic": "mac_cyrillic",
    "iso-2022-jp": "iso2022_jp",
    "utf-16be": "utf_16_be",
    "utf-16le": "utf_16_le",
    "windows-874": "cp874",
    "ibm866": "cp866",
}
UNSUPPORTED = {"replacement", "x-user-defined"}  # for these the standard has no characters


def codec_in_the_standard(encoding: str) -> str:
    name = CODECS.get(encoding, encoding)
    return name.replace("windows-", "cp").replace("iso-", "iso").replace("-", "_")


@pytest.mark.parametrize("label", sorted(set(LABELS) - {k for k, v in LABELS.items() if v in UNSUPPORTED}))
def test_every_label_of_the_standard_is_known(label):
    expected = codec_in_the_standard(LABELS[label])
    for written in (label, label.upper(), f'"{label}"', f" {label};", f"'{label}' "):
        assert codec_of(written) == expected


@pytest.mark.parametrize(
    "label, codec",
    [
        ("win-1251", "cp1251"),
        ("windows1251", "cp1251"),
        ("WIN1251", "cp1251"),
        ("iso88591", "cp1252"),
        ("iso8859_1", "cp1252"),
        ("cp-850", "cp850"),
        ("ibm-850", "cp850"),
        ("x-mac-ce", "mac_latin2"),
        ("tis-620", "cp874"),
        ("koi8-ru", "koi8_u"),
        ("utf8", "utf_8"),
        ("cp65001x", None),
        ("unknown-8bit", None),
        ("idna", None),
        ("rot13", None),
        ("", None),
        (None, None),
    ],
)
def test_other_labels_of_mail(label, codec):
    assert codec_of(label) == codec


# Label → bytes and their characters in the standard's table.
CHARACTERS = {
    "gb2312": (b"\xc4\xe3\xba\xc3 \x80 \x82\x35\x8f\x33 \xe9F", "你好 € \u9fa6 镕"),
    "gbk": (b"\x81\x40 \xa2\xe3", "丂 €"),
    "shift_jis": (b"\x87\x40\x81\x60\xb1 \xfa\x40", "①～ｱ ⅰ"),
    "windows-31j": (b"\xed\x40", "纊"),
    "x-sjis": (b"\x93\xfa\x96\x7b", "日本"),
    "euc-jp": (b"\xc6\xfc\xcb\xdc\xad\xa1 \x8e\xb1 \x8f\xb0\xa1 \xa1\xc1", "日本① ｱ 丂 ～"),
    "iso-2022-jp": (b"\x1b$BF|K\\-!\x1b(B a \x1b(I1\x1b(B\x1b(J\\~\x1b(B!A", "日本① a ｱ¥‾!A"),
    "euc-kr": (b"\xb0\xa1 \x81\x41 \xc6\x52", "가 갂 힣"),
    "ks_c_5601-1987": (b"\x8c\x63", "똠"),
    "big5": (b"\xa4\xa4\xa4\xe5 \xf9\xd6 \xa3\xe1 \x88\x56", "中文 碁 € \u0100"),
    "iso-8859-1": (b"\x80 \x93x\x94 \x81\xfc", "€ “x” \x81ü"),
    "us-ascii": (b"\x96\xe9", "–é"),
    "iso-8859-9": (b"\x80\xfd\xf0", "€ığ"),
    "tis-620": (b"\xa1\xd2\x85", "กา…"),
    "windows-874": (b"\x80\xb9", "€น"),
    "iso-8859-8-i": (b"\xf9\xec\xe5\xed", "שלום"),
    "iso-8859-8-e": (b"\xf9\xec\xe5\xed", "שלום"),
    "koi8-ru": (b"\xae\xbe\xa4\xc1", "ўЎєа"),
    "koi8-u": (b"\xf0\xd2\xc9", "При"),
    "x-mac-cyrillic": (b"\xa2\xe0\xff", "Ґа€"),
    "macintosh": (b"\xdb\x8e", "€é"),
    "win-1251": (b"\xcf\xf0\xe8", "При"),
    "cp-850": (b"\x81\xe1", "üß"),
    "utf-16": ("\ufeffgrün".encode("utf-16-be"), "\ufeffgrün"),
    "utf-7": (b"gr+APw-n", "grün"),
    "hz-gb-2312": (b"~{VPND~}", "中文"),
}


@pytest.mark.parametrize("label", CHARACTERS)
def test_characters(label):
    raw, text = CHARACTERS[label]
    assert decode(raw, label) == text


@pytest.mark.parametrize("codec", ["gb18030", "cp932", "cp949", "big5hkscs", "iso2022_jp", "euc_jp"])
def test_what_standard_codecs_write_is_read(codec):
    """Python writes with codecs whose characters are all in the standard's tables."""
    text = {"cp949": "한국어 텍스트", "gb18030": "中文，文本", "big5hkscs": "中文，文本"}.get(
        codec, "日本語、テキスト"
    )
    written = text.encode({"big5hkscs": "big5", "cp949": "euc_kr", "gb18030": "gb2312"}.get(codec, codec))
    assert decode_bytes(written, codec) == text


########## Bytes that do not fit ###################################################################


@pytest.mark.parametrize(
    "raw, label, other, text",
    [
        ("日本語のテキスト".encode() + b"\xff" + "です".encode(), "utf-8", None, "日本語のテキスト�です"),
        (
            "中文文本很长".encode("gb18030") + b"\xff" + "好".encode("gb18030"),
            "gb2312",
            None,
            "中文文本很长�好",
        ),
        ("日本語のテキスト".encode("iso2022_jp") + b" \xff\xfe", "iso-2022-jp", None, None),
        (b"gr\xfcn", "utf-8", None, "grün"),
        (b"gr\xfcn", None, None, "grün"),
        (b"gr\xfcn", "x-nowhere", None, "grün"),
        ("grün".encode(), None, "koi8-r", "grün"),
        ("grün".encode(), "us-ascii", None, "grün"),
        ("grün".encode(), "iso-8859-1", None, "grün"),
        ("Привет".encode("koi8-r"), None, "koi8-r", "Привет"),
        ("Привет".encode("cp1251"), "utf-8", "win-1251", "Привет"),
        ("日本".encode("cp932"), "x-unknown", "shift_jis", "日本"),
        ("Preis 5 €".encode()[:-1], "utf-8", None, "Preis 5 �"),
        (b"\xef\xbb\xbfgr\xc3\xbcn", "iso-8859-1", None, "\ufeffgrün"),
        (b"", "utf-16", None, ""),
    ],
)
def test_what_does_not_fit_spoils_nothing_else(raw, label, other, text):
    decoded = decode(raw, label, other)
    assert decoded == text if text is not None else decoded.startswith("日本語のテキスト")


@pytest.mark.parametrize("label", [*CHARACTERS, "x-nowhere", None])
@pytest.mark.parametrize(
    "unit", [b"\xff", b"\x80", b"\x1b$B", b"\x1b(I", b"\xa4", b"\x8f\xa1", b"\xc3\xbc\xff", b"~{", b"+"]
)
def test_hostile_bytes_are_decoded_in_linear_time(label, unit):
    few, many = (calls(lambda size=size: decode(unit * size, label)) for size in (500, 2000))
    assert many <= 4.4 * few + 200
    text = decode(unit * 2000, label)
    text.encode()  # no lone surrogates
    assert len(text) <= 4 * len(unit) * 2000


def test_no_label_of_a_mail_is_looked_up_in_the_registry_of_python():
    import encodings

    before = len(encodings._cache)
    for number in range(300):
        decode(b"\xff", f"x-made-up-{number}")
        decode(b"\xff", f"windows-9{number:03}")
    assert len(encodings._cache) <= before + 2


########## In mail #################################################################################


def read(site, data: bytes) -> dict:
    return site("mailbox/?read", user="bob", mail_id=deliver(site, data=data))["mail"]


def test_a_raw_header_is_in_utf8_or_in_the_charset_of_the_text(site):
    for charset, written in (("koi8-r", "koi8-r"), ("utf-8", "utf-8"), ("windows-1251", "cp1251")):
        subject = "Привет".encode(written)
        part = part_of_type(f"text/plain; charset={charset}".encode(), "мир".encode(written))
        for mail in (part, multipart(part)):
            assert read(site, b"Subject: " + subject + b"\r\n" + mail)["mail_subject"] == "Привет"
            assert site("mailbox/?get", user="bob")["mails"][0]["mail_subject"] == "Привет"
    assert read(site, b"Subject: gr\xfcn\r\n\r\nx")["mail_subject"] == "grün"


def test_a_raw_name_of_a_file_is_in_the_charset_of_the_text(site):
    text = part_of_type(b"text/plain; charset=koi8-r", "мир".encode("koi8-r"))
    for field in (b"Content-Disposition: attachment; filename=", b"Content-Type: image/png; name="):
        file = field + b'"' + "Привет.png".encode("koi8-r") + b'"\r\n\r\nx'
        mail_id = deliver(site, data=multipart(text, file))
        assert (
            site("mailbox/?parts", user="bob", mail_id=mail_id)["mail_parts"][1]["filename"] == "Привет.png"
        )


@pytest.mark.parametrize("label", CHARACTERS)
def test_a_text_in_each_charset(site, label):
    raw, text = CHARACTERS[label]
    assert read(site, part_of_type(f"text/plain; charset={label}".encode(), raw))["mail_body"] == text
    name = f"=?{label}?Q?{''.join(f'={byte:02X}' for byte in raw)}?=".encode()
    assert read(site, b"Subject: " + name + b"\r\n\r\nx")["mail_subject"] == text.strip()


def test_without_a_label_mail_body_is_utf8_F16(site):
    assert read(site, b"\r\nsch\xf6n")["mail_body"] == "sch�n"
