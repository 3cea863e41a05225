// A convolution, its two gradients and the products of matrices as one tiled product: which element
// of a tensor each element of a tile is. conv/load.cuh fills tiles, conv/store.cuh stores results.
//
//   PASS 0  forward          rows (image, p, q)   columns k   sum over (r, s, c)
//   PASS 1  backward data    rows (image, h, w)   columns c   sum over (r, s, k)
//   PASS 2  backward weights rows (r, s, c)       columns k   sum over (image, p, q)
//
// Images lie in memory as N H W C, filters as K R S C / groups. The first operand, A, is gathered
// from the pixels of an image (x, or dy in PASS 1); B is w, or dy in PASS 2. In PASS 1 with a
// stride, the pixels (h, w) of one phase, those with the same remainders, meet the same taps
// (r, s): each phase is a product of its own.
//
// Tiles in shared memory are lines of 128 bytes, 8 chunks of 16 bytes; chunk c of line l lies at
// place c ^ (l % 8). A line holds STEP elements. LINES_A, LINES_B: line l is row (column) l of the
// tile. Otherwise lines are elements of the sum: line l is element l % STEP, and the rows (columns)
// STEP * (l / STEP) and on. LOADERS threads fill a tile; thread t copies chunk t % 8 of the lines
// t / 8, t / 8 + LOADERS / 8, and so on.
//
// SHARE 3: the three taps of a row of a filter 3 wide share one tile of A. It holds the pixels that
// the first of them meets, and a few more: for the next tap, each row of the product reads one line
// further on. For that a column of zeros lies between the rows of an image, and the rows of the
// product that stand for it are not stored. Wants stride 1, one column of padding on either side,
// and whole steps of channels. Elsewhere SHARE is 1.
//
// Macros: PASS; TURNED: in PASS 1, whether B is the filters turned to C R S K (else as they are);
// BF16: 1, or 0 for float32; TILE_M, TILE_N: rows and columns of a tile; LOADERS; WIDE_A, WIDE_B:
// whether every chunk is 16 aligned bytes of the tensor (else elements are loaded one by one);
// FEW_TAPS: whether filters are at most 15 high and wide; SHARE.
#pragma once

#include "conv/ptx.cuh"

#if BF16
typedef unsigned short Element;
#else
typedef float Element;
#endif

#ifndef SHARE
#define SHARE 1
#endif
#define LINES_A (PASS != 2)
#define LINES_B (PASS == 0 || TURNED)

enum {
    CHUNK = 16 / sizeof(Element),
    STEP = 8 * CHUNK,
    STRIDE = LOADERS / 8,  // lines between a thread's lines
    TURNS_A = TILE_M / STRIDE,  // a thread's lines in a step
    TURNS_B = TILE_N / STRIDE,
    SPANS_A = TILE_M / STEP,  // lines side by side that hold one element of the sum
    SPANS_B = TILE_N / STEP,
    TURNS = STEP / STRIDE,  // a thread's elements of the sum in a step
    BYTES_A = (TILE_M + (SHARE > 1 ? 8 : 0)) * 128,
    BYTES_B = TILE_N * 128,
    BYTES_STAGE = BYTES_A + SHARE * BYTES_B,
};

#if WIDE_A
typedef int Offset;  // in chunks
enum { UNIT = CHUNK };
#else
typedef long long Offset;  // in elements
enum { UNIT = 1 };
#endif

struct Problem {
    const Element* a;
    const Element* b;
    Element* out;
    const float* bias;        // for each column, or null
    const Element* positive;  // shaped like out, zeroed where this is not positive; or null
    float* partial;           // sums of each split, shaped like out; or null
    long long sums;  // elements of each split's
    int images, grid_h, grid_w;  // pixels of out; of dy in PASS 2
    int source_h, source_w;      // pixels that A is gathered from
    int source_c, source_first;  // their channels, and the first one used
    int group_c;                 // their channels in each group
    int size_h, size_w, stride_h, stride_w, pad_h, pad_w;
    int columns;       // in each group
    int first, width;  // first column used, and all of them: channels of out; of dy in PASS 2
    int groups, splits, relu;
};

static_assert(sizeof(Problem) == 136, "as conv.py packs it");

// What is the same for all tiles of a phase.
struct Phase {
    int grid_h, grid_w;      // its pixels in an image
    int first_h, first_w;    // the first of them in out
    int origin_h, origin_w;  // the source's pixel that its first pixel meets by its first tap
    int tap_h, tap_w;        // its first tap
    int taps_h, taps_w;
    int rows, sum;
};

DEVICE int ceil_div(int a, int b) { return (a + b - 1) / b; }

DEVICE Phase phase_of(const Problem& p, int phase) {
    Phase f;
    if (PASS == 1) {
        f.first_h = phase / p.stride_w;
        f.first_w = phase % p.stride_w;
        f.grid_h = p.grid_h > f.first_h ? ceil_div(p.grid_h - f.first_h, p.stride_h) : 0;
        f.grid_w = p.grid_w > f.first_w ? ceil_div(p.grid_w - f.first_w, p.stride_w) : 0;
        f.tap_h = (f.first_h + p.pad_h) % p.stride_h;
        f.tap_w = (f.first_w + p.pad_w) % p.stride_w;
        f.taps_h = p.size_h > f.tap_h ? ceil_div(p.size_h - f.tap_h, p.stride_h) : 0;
        f.taps_w = p.size_w > f.tap_w ? ceil_div(p.size_w - f.tap_w, p.stride_w) : 0;
        f.origin_h = (f.first_h + p.pad_h) / p.stride_h;
        f.origin_w = (f.first_w + p.pad_w) / p.stride_w;
    } else {
        f.first_h = f.first_w = f.tap_h = f.tap_w = 0;
        f.grid_h = p.grid_h;
        f.grid_w = p.grid_w;
        f.taps_h = p.size_h;
        f.taps_w = p.size_w;
        f.origin_h = -p.pad_h;
        f.origin_w = -p.pad_w;
    }
    if (SHARE > 1) {
        f.grid_w += 1;
        f.origin_w = -1;
        f.taps_w = 1;
    }
    const int pixels = p.images * f.grid_h * f.grid_w, taps = f.taps_h * f.taps_w * p.group_c;
    f.rows = PASS == 2 ? taps : pixels;
    f.sum = PASS == 2 ? pixels : taps;
    return f;
}

struct Tile {
    Phase phase;
    int m, n;  // its first row and column
    int group, split;
    int begin, steps;  // its part of the sum: the first element, and how many steps of STEP
};

// All tiles: columns first, then rows, so that tiles computed at the same time share operands; then
// groups, phases and splits.
struct Tiles {
    Phase first;  // the phase with the most rows
    int rows, columns, phases, count;

    DEVICE Tiles(const Problem& p) {
        first = phase_of(p, 0);
        rows = ceil_div(first.rows, TILE_M);
        columns = ceil_div(p.columns, TILE_N);
        phases = PASS == 1 ? p.stride_h * p.stride_w : 1;
        count = rows * columns * p.groups * phases * p.splits;
    }

    DEVICE Tile at(const Problem& p, int index) const {
        Tile t;
        int rest = index / columns;
        t.n = (index - rest * columns) * TILE_N;
        index = rest / rows;
        t.m = (rest - index * rows) * TILE_M;
        rest = index / p.groups;
        t.group = index - rest * p.groups;
        t.split = rest / phases;
        t.phase = phases == 1 ? first : phase_of(p, rest - t.split * phases);
        const int steps = ceil_div(t.phase.sum, STEP), each = ceil_div(steps, p.splits);
        const int begin = min(t.split * each, steps);
        t.begin = begin * STEP;
        t.steps = min(each, steps - begin);
        return t;
    }
};

// Goes through the pixels of a phase.
struct Pixel {
    int image, i, j;

    DEVICE Pixel() {}
    DEVICE Pixel(const Phase& f, int index) {
        const int row = index / max(f.grid_w, 1);
        j = index - row * f.grid_w;
        image = row / max(f.grid_h, 1);
        i = row - image * f.grid_h;
    }
    DEVICE void advance(const Phase& f, int pixels) {
        for (j += pixels; j >= f.grid_w; j -= f.grid_w) {
            if (++i == f.grid_h) {
                i = 0;
                ++image;
            }
        }
    }
};

// Goes through taps and the channels of each: those of A, in A's order.
struct Tap {
    int a, b, c;

    DEVICE Tap() {}
    DEVICE Tap(const Problem& p, const Phase& f, int index) {
        const int tap = index / max(p.group_c, 1);
        c = index - tap * p.group_c;
        a = tap / max(f.taps_w, 1);
        b = tap - a * f.taps_w;
    }
    DEVICE void advance(const Problem& p, const Phase& f, int channels) {
        for (c += channels; c >= p.group_c; c -= p.group_c) {
            if (++b == f.taps_w) {
                b = 0;
                ++a;
            }
        }
    }
};

// The bits of the taps from `low` on, below `high`, of 15.
DEVICE int tap_bits(int low, int high) {
    low = min(max(low, 0), 15);
    high = min(max(high, 0), 15);
    return (1 << high) - 1 & ~((1 << low) - 1);
}

// The taps that lie in the source, of those that begin at `place` and go on by 1 (PASS 1: by -1).
DEVICE int taps_inside(int place, int taps, int source) {
    return PASS == 1 ? tap_bits(place - source + 1, min(place + 1, taps))
                     : tap_bits(-place, min(source - place, taps));
}

enum { NO_TAP = 1 << 15 };

// Where a pixel's first tap lies in the source, and which of its taps do not lie outside.
struct Spot {
    Offset offset;
#if FEW_TAPS && PASS != 2
    int taps;  // bits of rows, and of columns from bit 16 on

    DEVICE void set(const Problem& p, const Phase& f, int h, int w, bool valid) {
        const int rows = taps_inside(h, f.taps_h, p.source_h);
        taps = valid ? rows | taps_inside(w, f.taps_w, p.source_w) << 16 : 0;
    }
#else
    int h, w;

    DEVICE void set(const Problem& p, const Phase& f, int at_h, int at_w, bool valid) {
        h = valid ? at_h : -16384;
        w = at_w;
    }
#endif
    DEVICE Spot() {}
    DEVICE Spot(const Problem& p, const Tile& t, const Pixel& x) {
        const Phase& f = t.phase;
        const int at_h = x.i * (PASS == 1 ? 1 : p.stride_h) + f.origin_h;
        const int at_w = x.j * (PASS == 1 ? 1 : p.stride_w) + f.origin_w;
        const int first = (p.source_first + t.group * p.group_c) / UNIT;
        const int pixel = (x.image * p.source_h + at_h) * p.source_w + at_w;
        offset = (Offset)pixel * (p.source_c / UNIT) + first;
        set(p, f, at_h, at_w, x.image < p.images);
    }
};

// One chunk's tap, as seen from a pixel.
struct Reach {
    Offset offset;
#if FEW_TAPS && PASS != 2
    int taps;

    DEVICE void set(int a, int b, int h, int w, bool valid) {
        taps = valid ? 1 << a | 65536 << b : NO_TAP;
    }
    DEVICE bool meets(const Problem& p, const Spot& spot) const {
        return (spot.taps & taps) == taps;
    }
#else
    int h, w;

    DEVICE void set(int a, int b, int at_h, int at_w, bool valid) {
        h = valid ? at_h : -16384;
        w = at_w;
    }
    DEVICE bool meets(const Problem& p, const Spot& spot) const {
        return (unsigned)(spot.h + h) < (unsigned)p.source_h &&
               (unsigned)(spot.w + w) < (unsigned)p.source_w;
    }
#endif
    DEVICE Reach() {}
    DEVICE Reach(const Problem& p, const Phase& f, const Tap& tap) {
        const int h = PASS == 1 ? -tap.a : tap.a, w = PASS == 1 ? -tap.b : tap.b;
        offset = (Offset)(h * p.source_w + w) * (p.source_c / UNIT) + tap.c / UNIT;
        set(tap.a, tap.b, h, w, tap.a < f.taps_h);
    }
};
