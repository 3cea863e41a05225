// Where the elements of an image (N, rows, columns, channels), or of filters, lie when it is folded:
// blocks of down x across pixels are pixels of (N, deep_rows, deep_columns, depth).

struct Places {
    int rows, columns, channels, down, across, deep_rows, deep_columns, depth;
};

// The place in the folded tensor of element i of the other.
__device__ inline long long place_of(long long i, const Places& p) {
    const long long pixel = i / p.channels, line = pixel / p.columns, image = line / p.rows;
    const int row = (int)(line - image * p.rows), column = (int)(pixel - line * p.columns);
    const int inside = row % p.down * p.across + column % p.across;
    const long long deep_line = image * p.deep_rows + row / p.down;
    return (deep_line * p.deep_columns + column / p.across) * p.depth + inside * p.channels +
           (i - pixel * p.channels);
}
