// Copies of operands into the tiles of conv/tile.cuh, one step of the sum after the other.
#pragma once

#include "conv/tile.cuh"

DEVICE unsigned place_of(int line, int chunk) { return line * 128 + ((chunk ^ (line & 7)) << 4); }

union Chunk {
    Element elements[CHUNK];
    uint4 bits;
};

// Copies the chunk that `spot` and `tap` meet in.
DEVICE void gather(const Problem& p, const Phase& f, const Spot& spot, const Tap& tap,
                   const Reach& reach, unsigned to) {
#if WIDE_A
    copy_async(to, (const uint4*)p.a + (spot.offset + reach.offset), reach.meets(p, spot));
#else
    Chunk chunk;
    Tap each = tap;
#pragma unroll
    for (int e = 0; e < CHUNK; ++e) {
        const Reach there(p, f, each);
        chunk.elements[e] = there.meets(p, spot) ? p.a[spot.offset + there.offset] : Element(0);
        each.advance(p, f, 1);
    }
    store_shared(to, chunk.bits);
#endif
}

// Copies the chunk at `from`: its first `count` elements, none if it is not positive.
DEVICE void copy_b(const Element* from, int count, unsigned to) {
#if WIDE_B
    copy_async(to, from, count > 0);
#else
    Chunk fetched;
#pragma unroll
    for (int e = 0; e < CHUNK; ++e) fetched.elements[e] = e < count ? from[e] : Element(0);
    store_shared(to, fetched.bits);
#endif
}

// Fills a thread's part of the tiles, one step of the sum after the other.
struct Loader {
    int chunk, line;
#if PASS == 2
    Tap taps[SPANS_A];
    Reach reaches[SPANS_A];
    Pixel pixel;
    const Element* from;
    int index;  // of the first of the thread's elements of the sum
#else
    Spot spots[TURNS_A + (SHARE > 1)];
    Tap tap;
    const Element* from;  // the thread's first column of B
#if !LINES_B
    Tap tap_b;
#endif
#endif

    DEVICE Loader(const Problem& p, const Tile& t, int thread) {
        chunk = thread % 8;
        line = thread / 8;
#if PASS == 2
#pragma unroll
        for (int i = 0; i < SPANS_A; ++i) {
            taps[i] = Tap(p, t.phase, t.m + i * STEP + chunk * CHUNK);
            reaches[i] = Reach(p, t.phase, taps[i]);
        }
        index = t.begin + line;
        pixel = Pixel(t.phase, index);
        from = p.b + (long long)index * p.width + first_column(p, t) + t.n + chunk * CHUNK;
#else
        Pixel pixel(t.phase, t.m + line);
#pragma unroll
        for (int i = 0; i < TURNS_A + (SHARE > 1); ++i) {
            spots[i] = Spot(p, t, pixel);
            pixel.advance(t.phase, STRIDE);
        }
        tap = Tap(p, t.phase, t.begin + chunk * CHUNK);
#if LINES_B
        const int column = (PASS == 0 ? p.first : 0) + t.group * p.columns + t.n + line;
        from = p.b + (long long)column * filter_elements(p);
#else
        tap_b = Tap(p, t.phase, t.begin + line);
        from = p.b + t.n + chunk * CHUNK;
#endif
#endif
    }

    DEVICE static int first_column(const Problem& p, const Tile& t) {
        return p.first + t.group * p.columns;
    }

    DEVICE static int filter_elements(const Problem& p) { return p.size_h * p.size_w * p.group_c; }

    // Fills the next step's tiles.
    DEVICE void load(const Problem& p, const Tile& t, unsigned to) {
        load_a(p, t, to);
#pragma unroll
        for (int i = 0; i < SHARE; ++i) load_b(p, t, i, to + BYTES_A + i * BYTES_B);
#if PASS == 2
        index += STEP;
#else
        tap.advance(p, t.phase, STEP);
#endif
    }

#if PASS == 2
    DEVICE void load_a(const Problem& p, const Tile& t, unsigned to) {
#pragma unroll
        for (int turn = 0; turn < TURNS; ++turn) {
            const Spot spot(p, t, pixel);
#pragma unroll
            for (int i = 0; i < SPANS_A; ++i) {
                const int at = i * STEP + turn * STRIDE + line;
                gather(p, t.phase, spot, taps[i], reaches[i], to + place_of(at, chunk));
            }
            pixel.advance(t.phase, STRIDE);
        }
    }
#else
    DEVICE void load_a(const Problem& p, const Tile& t, unsigned to) {
        const Reach reach(p, t.phase, tap);
#pragma unroll
        for (int i = 0; i < TURNS_A; ++i) {
            gather(p, t.phase, spots[i], tap, reach, to + place_of(i * STRIDE + line, chunk));
        }
#if SHARE > 1
        if (line >= 8) return;
        gather(p, t.phase, spots[TURNS_A], tap, reach, to + place_of(TILE_M + line, chunk));
#endif
    }
#endif

#if LINES_B
    DEVICE static int filter_offset(const Problem& p, const Tile& t, const Tap& tap) {
        const int r = t.phase.tap_h + tap.a * (PASS == 1 ? p.stride_h : 1);
        const int s = t.phase.tap_w + tap.b * (PASS == 1 ? p.stride_w : 1);
        return (r * p.size_w + s) * p.group_c + tap.c;
    }

    // The chunk of one filter that begins at `tap`, element by element.
    DEVICE uint4 fetch_taps(const Problem& p, const Tile& t, const Element* filter, bool valid) {
        Chunk fetched;
        Tap each = tap;
#pragma unroll
        for (int e = 0; e < CHUNK; ++e) {
            const bool there = valid && each.a < t.phase.taps_h;
            fetched.elements[e] = there ? filter[filter_offset(p, t, each)] : Element(0);
            each.advance(p, t.phase, 1);
        }
        return fetched.bits;
    }

    DEVICE void load_b(const Problem& p, const Tile& t, int shared, unsigned to) {
        const int column = PASS == 1 ? SHARE - 1 - shared : shared;
        const Element* at = from + filter_offset(p, t, tap) + column * p.group_c;
        const int columns = tap.a < t.phase.taps_h ? p.columns - t.n - line : 0;
        const long long apart = (long long)STRIDE * filter_elements(p);
#pragma unroll
        for (int i = 0; i < TURNS_B; ++i) {
            const unsigned there = to + place_of(i * STRIDE + line, chunk);
#if WIDE_B
            copy_async(there, at, i * STRIDE < columns);
            at += apart;
#else
            store_shared(there, fetch_taps(p, t, from + i * apart, i * STRIDE < columns));
#endif
        }
    }
#else
    DEVICE void load_b(const Problem& p, const Tile& t, int shared, unsigned to) {
        const int columns = p.columns - t.n - chunk * CHUNK;
#pragma unroll
        for (int turn = 0; turn < TURNS; ++turn) {
#if PASS == 1
            const int filter = p.source_first + t.group * p.group_c + tap_b.c;
            const int r = t.phase.tap_h + tap_b.a * p.stride_h;
            const int s = t.phase.tap_w + tap_b.b * p.stride_w;
            const long long row = ((long long)filter * p.size_h + r) * p.size_w + s;
            const Element* at = from + row * p.columns;
            const bool valid = tap_b.a < t.phase.taps_h;
            tap_b.advance(p, t.phase, STRIDE);
#else
            const Element* at = from;
            const bool valid = index + turn * STRIDE < t.phase.sum;
            from += (long long)STRIDE * p.width;
#endif
#pragma unroll
            for (int i = 0; i < SPANS_B; ++i) {
                const int line_i = i * STEP + turn * STRIDE + line;
                copy_b(at + i * STEP, valid ? columns - i * STEP : 0, to + place_of(line_i, chunk));
            }
        }
    }
#endif
};
