"""Make text from outside harmless: names of tests and layers may hold anything."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["code", "command", "command_value", "link", "markdown", "plain", "safe_address"]

LONGEST = 300
"""Characters of one name or sentence that are shown."""

# A colon in front of another is the beginning of a workflow command, should the page be printed to a job's log.
_MARKUP = re.compile(r"[\\`*\[\]<>#|~&$]|(?<!\w)_|_(?!\w)|(?<!\S):(?=:)")
_WORD_JOINER = "\N{WORD JOINER}"
# Each would be turned into a link or a notification by GitHub although it holds no markup.
_LINKS = re.compile(r"@(?=\w)|#(?=\d)|(?<=\w):(?=//)|(?<=www)\.")
_CODE = str.maketrans({"`": "'", "|": "\N{BROKEN BAR}"})


def plain(text: object) -> str:
    """One line without control characters, of at most 300 characters, the middle left out."""
    line = str(text)
    if not line.isprintable():
        line = "".join(map(_visible, line))
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2 - 2]}...{line[-(LONGEST // 2 - 1) :]}"


def markdown(text: object) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no mention, no link."""
    unlinked = _LINKS.sub(lambda match: f"{match.group()}{_WORD_JOINER}", plain(text))
    return _MARKUP.sub(lambda match: f"&#{ord(match.group())};", unlinked)


def code(text: object) -> str:
    """The text as a code span, which is safe from mentions too; backticks and bars are replaced by their likes."""
    return f"`{plain(text).translate(_CODE).replace('##[', '# #[').strip() or ' '}`"


def safe_address(url: str) -> str:
    """An address that can only be an address; empty: it could be something else."""
    return url if re.fullmatch(r"https://[\w./~%-]+(#[\w-]+)?", url, re.ASCII) else ""


def link(text: object, url: str) -> str:
    """Text that leads to an address in Markdown; without one, the text."""
    address = safe_address(url)
    return f"[{markdown(text)}]({address})" if address else markdown(text)


def command(text: str) -> str:
    """The message of a GitHub workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def command_value(text: object) -> str:
    """The value of a GitHub workflow command's property."""
    return command(str(text)).replace(":", "%3A").replace(",", "%2C")


def _visible(character: str) -> str:
    """Nothing that breaks the line, hides or reverses text, or has no glyph."""
    if character in "\n\r\t\v\f\u2028\u2029\x85":
        return " "
    return "\N{REPLACEMENT CHARACTER}" if unicodedata.category(character) in ("Cc", "Cf", "Cs") else character
