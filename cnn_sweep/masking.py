"""Masks what looks secret (passwords, tokens, webhooks) in texts that are recorded or passed on."""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "***"
_NAME: Final = r"(?:token|secret|passw(?:or)?d|passphrase|api_?-?key|access_?-?key|credentials?|authorization)"
_SECRET: Final = rf"(?:\w*[_-])?{_NAME}(?:[_-]\w*)?"
_NO_VALUE: Final = r"(?!(?:str|bytes|none|null|true|false|\d{1,5})\b|[$*])"  # a type, a number, a variable
_WEBHOOKS: Final = r"hooks?\.|webhook|/hooks?/|/services/|hc-ping|api\.telegram|ntfy|googleapis|ifttt|pushover|gotify"
_SAYS: Final = rf"(?<![\w$])-{{0,2}}{_SECRET}['\"]?\s*[=:]\s*"  # NAME=, NAME: and 'NAME':
_RULES: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), into)
    for pattern, into in (
        # --notify 'https://…' and notify = ["…"]: the whole address, or the whole command, may be secret
        (r"('--notify=)(?:[^']|'\"'\"')*(?=')", rf"\1{MASK}"),
        (r"(--notify[= ])(?!\*{3})('(?:[^']|'\"'\"')*'|\S+)", rf"\1{MASK}"),
        (r"(\bnotify\s*=\s*)(\[[^\]]*\]|\".*\"|'.*')", rf"\1{MASK}"),
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", MASK),
        (r"\b((?:https?|ftp|s3|\w+sql)://)[^\s/@'\"]+@", rf"\1{MASK}@"),  # user:password@
        (rf"\b(https?://(?=[^\s'\"]*(?:{_WEBHOOKS}))[^\s/'\"]+/)[^\s'\"]+", rf"\1{MASK}"),
        (r"\b((?:bearer|basic)\s+)[\w.~+/=-]{8,}", rf"\1{MASK}"),
        (rf"([?&;]{_SECRET}=|[?&;](?:key|sig|signature)=)[^&\s'\"]+", rf"\1{MASK}"),
        (rf"({_SAYS})(['\"]){_NO_VALUE}[^'\"\n]+\2", rf"\1{MASK}"),
        (
            rf"((?<![\w$])-{{0,2}}{_SECRET}['\"]?\s*[=:]\s*){_NO_VALUE}[^\s'\",;&(){{}}\[\].]+(?=[\s,;&)'\"]|$)",
            rf"\1{MASK}",
        ),
        (rf"(--{_SECRET}\s+)('[^']*'|[^\s-]\S*)", rf"\1{MASK}"),
        # Tokens that say themselves what they are: GitHub, GitLab, Slack, AWS, OpenAI, Hugging Face, JSON web tokens
        (r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|hf_|sk-)[\w-]{10,}", MASK),
        (r"\bA(?:KI|SI)A[0-9A-Z]{16}\b", MASK),
        (r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*", MASK),
    )
)


def masked(text: str) -> str:
    """Return a text with ``***`` in place of what looks secret.

    >>> masked("run a.yaml --notify https://hooks.example.org/T0/abc --set model.units=8")
    'run a.yaml --notify *** --set model.units=8'
    >>> masked("curl -H 'Authorization: Bearer abcdef123456' https://user:pw@example.org/x?token=1&n=2")
    "curl -H 'Authorization: *** ***' https://***@example.org/x?token=***&n=2"
    """
    for pattern, into in _RULES:
        text = pattern.sub(into, text)
    return text
