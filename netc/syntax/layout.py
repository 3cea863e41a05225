"""The layout rules that the grammar does not know: newlines, strides, `add {`."""

from __future__ import annotations

from netc.syntax.tokens import Token


def lay_out(text: str, tokens: list[Token]) -> list[Token]:
    """Drop separators that end nothing; tell strides from divisions, `add {` from a name."""
    closed = _closed_parentheses(tokens)
    laid: list[Token] = []
    inside = 0
    for index, token in enumerate(tokens):
        following = tokens[min(index + 1, len(tokens) - 1)]
        if index in closed:
            inside += 1 if token.kind == "LPAR" else -1
        if token.kind == "_SEP":
            _separate(laid, token, inside)
        elif token.kind == "DIVIDE" and not inside and _is_stride(text, token):
            laid.append(token._replace(kind="_STRIDE"))
        elif token.text in ("add", "concat") and following.kind == "LBRACE":
            laid.append(token._replace(kind="COMBINE"))
        else:
            _drop_before(laid, token)
            laid.append(token)
    return laid


def _separate(laid: list[Token], token: Token, inside: int) -> None:
    """Add a separator where a statement has just ended."""
    before = laid[-1].kind if laid else "_SEP"
    newline = token.text == "\n"
    if before in ("_SEP", "LBRACE") or (newline and (inside or before == "VBAR")):
        return
    laid.append(token)


def _drop_before(laid: list[Token], token: Token) -> None:
    """Drop a separator before the end of a body, and a newline before what continues a line."""
    if not laid or laid[-1].kind != "_SEP":
        return
    continues = token.kind in ("VBAR", "ELSE") and laid[-1].text == "\n"
    if continues or token.kind in ("RBRACE", "$END"):
        laid.pop()


def _is_stride(text: str, token: Token) -> bool:
    """Whether a slash has a space before it and none after: `/2`, unlike `a / 2` and `a/2`."""
    before, after = text[token.start - 1 : token.start], text[token.end : token.end + 1]
    return before.isspace() and not after.isspace()


def _closed_parentheses(tokens: list[Token]) -> set[int]:
    """Find the parentheses that match before a brace or a definition.

    Only within those do newlines end nothing, so that one never closed costs one line.
    """
    closed: set[int] = set()
    stack: list[int] = []
    for index, token in enumerate(tokens):
        if token.kind == "LPAR":
            stack.append(index)
        elif token.kind == "RPAR" and stack:
            closed |= {stack.pop(), index}
        elif token.kind in ("LBRACE", "RBRACE", "_DEFINE"):
            stack.clear()
    return closed
