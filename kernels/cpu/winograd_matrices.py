"""The matrices of Winograd's transforms, as functions of vectors.

A tile of m outputs under a filter of r taps needs m + r - 1 products. All sizes with the sum 6
belong to the points 0, 1, -1, 2, -2 and infinity and share the matrix B of the input (Lavin and
Gray 2015): F(4, 3), F(3, 4) and F(2, 5). A column of A or of G has the powers of the points, so
both evaluate a polynomial; G is scaled too. Upper and lower are halves of the six results.
"""

from typing import Any

from netc_kernels.cpu.vector import inline


@inline
def input_upper(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """Compute the first three of B' times a column."""
    even, odd = e - 4.0 * c, d - 4.0 * b
    return 4.0 * a - 5.0 * c + e, even + odd, even - odd


@inline
def input_lower(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """Compute the last three of B' times a column."""
    half, double = e - c, 2.0 * (d - b)
    return half + double, half - double, 4.0 * b - 5.0 * d + f


@inline
def input_all(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """B' times a column."""
    return input_upper(a, b, c, d, e, f) + input_lower(a, b, c, d, e, f)


@inline
def output_four(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """A' times a column, for 4 outputs."""
    p, q, r, s = b + c, b - c, d + e, d - e
    return a + p + r, q + 2.0 * s, p + 4.0 * r, q + 8.0 * s + f


@inline
def output_three(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """A' times a column, for 3 outputs."""
    p, r = b + c, d + e
    return a + p + r, (b - c) + 2.0 * (d - e), p + 4.0 * r + f


@inline
def output_two(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """A' times a column, for 2 outputs."""
    return a + (b + c) + (d + e), (b - c) + 2.0 * (d - e) + f


@inline
def gradient_four_upper(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Compute the first three of A times a column of 4."""
    even, odd = a + c, b + d
    return a, even + odd, even - odd


@inline
def gradient_four_lower(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Compute the last three of A times a column of 4."""
    far, wide = a + 4.0 * c, 2.0 * b + 8.0 * d
    return far + wide, far - wide, d


@inline
def gradient_four(a: Any, b: Any, c: Any, d: Any) -> Any:
    """A times a column of 4 outputs' gradients."""
    return gradient_four_upper(a, b, c, d) + gradient_four_lower(a, b, c, d)


@inline
def gradient_three_upper(a: Any, b: Any, c: Any) -> Any:
    """Compute the first three of A times a column of 3."""
    even = a + c
    return a, even + b, even - b


@inline
def gradient_three_lower(a: Any, b: Any, c: Any) -> Any:
    """Compute the last three of A times a column of 3."""
    far, wide = a + 4.0 * c, 2.0 * b
    return far + wide, far - wide, c


@inline
def gradient_three(a: Any, b: Any, c: Any) -> Any:
    """A times a column of 3 outputs' gradients."""
    return gradient_three_upper(a, b, c) + gradient_three_lower(a, b, c)


@inline
def gradient_two_upper(a: Any, b: Any) -> Any:
    """Compute the first three of A times a column of 2."""
    return a, a + b, a - b


@inline
def gradient_two_lower(a: Any, b: Any) -> Any:
    """Compute the last three of A times a column of 2."""
    double = 2.0 * b
    return a + double, a - double, b


@inline
def gradient_two(a: Any, b: Any) -> Any:
    """A times a column of 2 outputs' gradients."""
    return gradient_two_upper(a, b) + gradient_two_lower(a, b)


@inline
def filter_three_upper(a: Any, b: Any, c: Any) -> Any:
    """Compute the first three of G times a column of 3."""
    even, odd = (-1 / 6) * (a + c), (1 / 6) * b
    return 0.25 * a, even - odd, even + odd


@inline
def filter_three_lower(a: Any, b: Any, c: Any) -> Any:
    """Compute the last three of G times a column of 3."""
    far, wide = (1 / 24) * a + (1 / 6) * c, (1 / 12) * b
    return far + wide, far - wide, c


@inline
def filter_three(a: Any, b: Any, c: Any) -> Any:
    """G times a column of 3 taps."""
    return filter_three_upper(a, b, c) + filter_three_lower(a, b, c)


@inline
def filter_four_upper(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Compute the first three of G times a column of 4."""
    even, odd = (-1 / 6) * (a + c), (1 / 6) * (b + d)
    return 0.25 * a, even - odd, even + odd


@inline
def filter_four_lower(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Compute the last three of G times a column of 4."""
    far, wide = (1 / 24) * a + (1 / 6) * c, (1 / 12) * b + (1 / 3) * d
    return far + wide, far - wide, d


@inline
def filter_four(a: Any, b: Any, c: Any, d: Any) -> Any:
    """G times a column of 4 taps."""
    return filter_four_upper(a, b, c, d) + filter_four_lower(a, b, c, d)


@inline
def filter_five_upper(a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
    """Compute the first three of G times a column of 5."""
    even, odd = (-1 / 6) * (a + c + e), (1 / 6) * (b + d)
    return 0.25 * a, even - odd, even + odd


@inline
def filter_five_lower(a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
    """Compute the last three of G times a column of 5."""
    far, wide = (1 / 24) * a + (1 / 6) * c + (2 / 3) * e, (1 / 12) * b + (1 / 3) * d
    return far + wide, far - wide, e


@inline
def filter_five(a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
    """G times a column of 5 taps."""
    return filter_five_upper(a, b, c, d, e) + filter_five_lower(a, b, c, d, e)


@inline
def filter_gradient_three(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """G' times a column, for 3 taps."""
    p, q, r, s = b + c, c - b, d + e, d - e
    middle = (1 / 6) * q + (1 / 12) * s
    return 0.25 * a - (1 / 6) * p + (1 / 24) * r, middle, (1 / 6) * (r - p) + f


@inline
def filter_gradient_four(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """G' times a column, for 4 taps."""
    p, q, r, s = b + c, c - b, d + e, d - e
    low, high = (1 / 6) * q + (1 / 12) * s, (1 / 6) * q + (1 / 3) * s
    return 0.25 * a - (1 / 6) * p + (1 / 24) * r, low, (1 / 6) * (r - p), high + f


@inline
def filter_gradient_five(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """G' times a column, for 5 taps."""
    p, q, r, s = b + c, c - b, d + e, d - e
    low, high = (1 / 6) * q + (1 / 12) * s, (1 / 6) * q + (1 / 3) * s
    first, last = 0.25 * a - (1 / 6) * p + (1 / 24) * r, (2 / 3) * r - (1 / 6) * p + f
    return first, low, (1 / 6) * (r - p), high, last
