"""The picture of a plan in Graphviz's language."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from netc.export.picture import Badge, Card, Frame, Item, Picture, PictureLink, cards_of
from netc.export.style import EXCHANGE, FRAME, tints
from netc.export.words import MEANINGS, letter, split_text

Attributes = Mapping[str, str]
Look = Callable[[Card | Frame | PictureLink], Attributes]
"""What Graphviz is told about a card, a frame, or the badges of a link."""

_FONT = "Helvetica,Arial,sans-serif"


def dot_text(picture: Picture, title: str, header: str) -> str:
    """The picture as a graph that Graphviz draws; `header` stands above it."""
    used = {letter(label) for card in picture.cards for label in card.split}
    legend = ", ".join(f"[{label}] {MEANINGS[label]}" for label in MEANINGS if label in used)
    text = f"{title}\n{header}\n{legend}"
    graph = {"label": text, "labelloc": "t", "fontname": _FONT, "fontsize": "12"}
    node = {"shape": "box", "style": "filled", "fontname": _FONT, "fontsize": "10"}
    return digraph(picture, title, _label, {"graph": graph, "node": node})


def digraph(picture: Picture, name: str, look: Look, defaults: Mapping[str, Attributes]) -> str:
    """Cards, frames as clusters, and links; the badges of a link are a node on its way."""
    lines = [f"digraph {_quoted(name)} {{"]
    lines += [f"  {kind}{_list(values)};" for kind, values in defaults.items()]
    lines += _nodes(picture.items, picture.links, look, "  ", "cluster")
    lines += _edges(picture)
    return "\n".join([*lines, "}", ""])


def _nodes(
    items: Iterable[Item], links: Iterable[PictureLink], look: Look, indent: str, cluster: str
) -> Iterator[str]:
    """Cards, frames with what is in them, and the badges of links that lead into no frame."""
    left = [link for link in links if link.badges]
    for i, item in enumerate(items):
        if isinstance(item, Card):
            yield f"{indent}{_quoted(item.name)}{_list(look(item))};"
            continue
        names = {card.name for card in cards_of(item.items)}
        inside = [link for link in left if names.issuperset((link.source, *link.targets))]
        left = [link for link in left if link not in inside]
        inner = f"{cluster}_{i}"
        yield f"{indent}subgraph {inner} {{"
        yield f"{indent}  graph{_list(look(item))};"
        yield from _nodes(item.items, inside, look, f"{indent}  ", inner)
        yield f"{indent}}}"
    yield from (f"{indent}{_quoted(link.name)}{_list(look(link))};" for link in left)


def _edges(picture: Picture) -> Iterator[str]:
    """Links, by way of their badges."""
    for link in picture.links:
        source = _quoted(link.source)
        if link.badges:
            yield f"  {source} -> {_quoted(link.name)} [arrowhead=none];"
            source = _quoted(link.name)
        yield from (f"  {source} -> {_quoted(target)};" for target in link.targets)


def _label(item: Card | Frame | PictureLink) -> Attributes:
    """How the picture looks where Graphviz draws it."""
    if isinstance(item, Frame):
        look = {"labeljust": "l", "style": "rounded,dashed", "color": FRAME, "fontsize": "10"}
        return {"label": item.title, **look}
    if isinstance(item, PictureLink):
        lines = (f"{badge.way}: {_badge(badge)}" for badge in item.badges)
        strong, faint = EXCHANGE
        look = {"style": "filled,rounded", "color": strong, "fillcolor": faint}
        return {"label": "\n".join(lines), **look}
    strong, faint = tints(item.split[0])
    count = f"   {item.count} x" if item.count > 1 else ""
    first = f"{item.title}   [{split_text(item.split)}]{count}"
    label = "\n".join((first, *item.lines, *map(_badge, item.badges)))
    return {"label": label, "color": strong, "fillcolor": faint}


def _badge(badge: Badge) -> str:
    return f"{badge.text}, {badge.figures}"


def _list(attributes: Attributes) -> str:
    inner = ", ".join(f"{name}={_quoted(value)}" for name, value in attributes.items())
    return f" [{inner}]"


def _quoted(text: str) -> str:
    """A text as Graphviz reads it; one in angle brackets is HTML-like already."""
    if text.startswith("<<"):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
