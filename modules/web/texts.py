"""The texts of the panel in each language, and the choice of a language for a request."""

import re

from .templates import read_file

COOKIE = re.compile(r"(?:^|;)\s*panel_language=([a-z]{2})(?:;|\Z)")
ALREADY_THERE = re.compile("UNIQUE constraint failed|Duplicate entry|columns? .{1,80} (?:is|are) not unique")
UNKNOWN_USER = re.compile("FOREIGN KEY constraint failed|Cannot add or update a child row")


class Texts:
    """The texts of the panel in one language. `texts.log_out` is the text with the key "log_out"."""

    def __init__(self, language: str, own_name: str, texts: dict[str, str], sentences: dict[str, str]):
        self.language, self.own_name, self.texts, self.sentences = language, own_name, texts, sentences

    def __getattr__(self, key: str) -> str:
        return self.texts[key]

    def sentence(self, status: str) -> str:
        """Translate a sentence with which the API refused a request.

        Return it unchanged if there is no translation.
        """
        if ALREADY_THERE.match(status):
            return self.texts["exists_already"]
        if UNKNOWN_USER.match(status):
            return self.texts["no_such_user"]
        if translated := self.sentences.get(status.strip()):
            return translated
        gaps = (
            (filled_in(pattern, status), text) for pattern, text in self.sentences.items() if "{}" in pattern
        )
        return next((text.format(*values) for values, text in gaps if values), status)

    def value(self, prefix: str, value) -> str:
        """Return a value in words: value("state", "failed") returns the text with the key "state_failed".

        If the language has no such text, return the value itself.
        """
        return self.texts.get(f"{prefix}_{value}", value)


def filled_in(pattern: str, sentence: str) -> list[str]:
    """Return what `sentence` has for each {} in `pattern`: filled_in("No user {}.", "No user bob.") returns ["bob"].

    Return [] if the sentence does not match the pattern.
    """
    first, *others, last = pattern.split("{}")
    if len(sentence) < len(first + last) or not (sentence.startswith(first) and sentence.endswith(last)):
        return []
    rest, values = sentence[len(first) : len(sentence) - len(last)], []
    for part in others:
        value, found, rest = rest.partition(part)
        if not found:
            return []
        values.append(value)
    return [*values, rest]


def read_texts(language: str) -> tuple[dict[str, str], dict[str, str]]:
    """Read the file languages/`language`.txt. Return its texts, and its translations of sentences of the API.

    For example ({"log_out": "Abmelden", …}, {"No user {}.": "…", …}).
    """
    texts, _, sentences = read_file(f"languages/{language}.txt").decode().partition("[sentences]\n")
    return lines_of(texts), lines_of(sentences)


def lines_of(source: str) -> dict[str, str]:
    """Parse lines of `key = text`, and return {key: text}. Lines that begin with # are comments."""
    return dict(line.split(" = ", 1) for line in source.split("\n") if line and line[0] != "#")


ENGLISH = read_texts("en")[0]
NAMES = {"en": "English", "de": "Deutsch"}
LANGUAGES = {
    language: Texts(language, name, ENGLISH | read_texts(language)[0], read_texts(language)[1])
    for language, name in NAMES.items()
}


def choose(environ: dict) -> Texts:
    """Return the texts in the language that the cookie `panel_language` names.

    Without the cookie, choose the first language in Accept-Language that the panel has, else English.
    """
    chosen = COOKIE.search(environ.get("HTTP_COOKIE", ""))
    wanted = [chosen[1]] if chosen else []
    wanted += [part.strip()[:2].lower() for part in environ.get("HTTP_ACCEPT_LANGUAGE", "")[:200].split(",")]
    return next((LANGUAGES[language] for language in wanted if language in LANGUAGES), LANGUAGES["en"])
