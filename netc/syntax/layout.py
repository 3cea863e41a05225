"""The layout rules that the grammar does not know: newlines, strides, `add {`, `train=`."""

from __future__ import annotations

from netc.syntax.tokens import Lexeme


def lay_out(text: str, lexemes: list[Lexeme]) -> list[Lexeme]:
    """Drop separators that end nothing; tell strides from divisions, `add {` from a name, and an
    option `train=` in a recipe from a recipe.
    """
    closed = _closed_parentheses(lexemes)
    laid: list[Lexeme] = []
    inside, recipe = 0, False
    for index, lexeme in enumerate(lexemes):
        following = lexemes[min(index + 1, len(lexemes) - 1)]
        if index in closed:
            inside += 1 if lexeme.kind == "LPAR" else -1
        if lexeme.kind in ("TRAIN", "RBRACE"):
            recipe = lexeme.kind == "TRAIN" and (recipe or following.kind == "LBRACE")
        if lexeme.kind == "_SEP":
            _separate(laid, lexeme, inside)
        elif lexeme.kind == "DIVIDE" and not inside and _is_stride(text, lexeme):
            laid.append(lexeme._replace(kind="_STRIDE"))
        elif recipe and lexeme.kind == "TRAIN" and following.kind == "EQUAL":
            laid.append(lexeme._replace(kind="NAME"))
        elif lexeme.text in ("add", "concat") and following.kind == "LBRACE":
            laid.append(lexeme._replace(kind="COMBINE"))
        else:
            _drop_before(laid, lexeme)
            laid.append(lexeme)
    return laid


def _separate(laid: list[Lexeme], lexeme: Lexeme, inside: int) -> None:
    """Add a separator where a statement has just ended."""
    before = laid[-1].kind if laid else "_SEP"
    newline = lexeme.text == "\n"
    if before in ("_SEP", "LBRACE") or (newline and (inside or before == "VBAR")):
        return
    laid.append(lexeme)


def _drop_before(laid: list[Lexeme], lexeme: Lexeme) -> None:
    """Drop a separator before the end of a body, and a newline before what continues a line."""
    if not laid or laid[-1].kind != "_SEP":
        return
    continues = lexeme.kind in ("VBAR", "ELSE") and laid[-1].text == "\n"
    if continues or lexeme.kind in ("RBRACE", "$END"):
        laid.pop()


def _is_stride(text: str, lexeme: Lexeme) -> bool:
    """Whether a slash has a space before it and none after: `/2`, unlike `a / 2` and `a/2`."""
    before, after = text[lexeme.start - 1 : lexeme.start], text[lexeme.end : lexeme.end + 1]
    return before.isspace() and not after.isspace()


def _closed_parentheses(lexemes: list[Lexeme]) -> set[int]:
    """Find the parentheses that match before a brace or a definition.

    Only within those do newlines end nothing, so that one never closed costs one line.
    """
    closed: set[int] = set()
    stack: list[int] = []
    for index, lexeme in enumerate(lexemes):
        if lexeme.kind == "LPAR":
            stack.append(index)
        elif lexeme.kind == "RPAR" and stack:
            closed |= {stack.pop(), index}
        elif lexeme.kind in ("LBRACE", "RBRACE", "_DEFINE"):
            stack.clear()
    return closed
