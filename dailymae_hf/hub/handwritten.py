"""What people wrote into a card outlives the next push: their sections, and their metadata."""

import re
from typing import Any

import yaml

_HEAD = re.compile(r"\A---\n(.*?)\n---\n+", re.S)


def split_card(text: str) -> tuple[dict[str, Any], str]:
    """A card's metadata and its Markdown; no metadata where its head cannot be read."""
    head = _HEAD.match(text)
    if head is None:
        return {}, text
    try:
        metadata = yaml.safe_load(head[1])
    except yaml.YAMLError:
        metadata = None
    return (metadata if isinstance(metadata, dict) else {}), text[head.end() :]


def sections(body: str) -> dict[str, str]:
    """The second-level sections of a Markdown text, heading -> text with the heading; code blocks are no headings."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    fenced = False
    for line in body.splitlines():
        fenced ^= line.startswith("```")
        if line.startswith("## ") and not fenced:
            current = found.setdefault(line[3:].strip(), [])
        elif line.startswith("# ") and not fenced:
            current = None
        if current is not None:
            current.append(line)
    return {heading: "\n".join(lines).strip() for heading, lines in found.items()}


def keep_handwritten(card: str, existing: str, generated: set[str]) -> str:
    """`card` with what `existing` has beyond it: sections with other headings than `generated`, and metadata keys.

    Lists of the metadata (tags, datasets) are united. Where both say something of one key, `card` does.
    """
    metadata, body = split_card(card)
    old_metadata, old_body = split_card(existing)
    for key, value in old_metadata.items():
        if key not in metadata:
            metadata[key] = value
        elif key != "model-index" and isinstance(value, list) and isinstance(metadata[key], list):
            metadata[key] += [entry for entry in value if entry not in metadata[key]]
    present = sections(body)
    kept = [text for heading, text in sections(old_body).items() if heading not in generated | present.keys()]
    return join_card(metadata, "\n\n".join([body.strip(), *kept]))


def join_card(metadata: dict[str, Any], body: str) -> str:
    """The inverse of `split_card`."""
    head = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{head}---\n\n{body.strip()}\n"
