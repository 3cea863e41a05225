// Results of the tiles of conv/tile.cuh: where they go, and what is done to them on the way.
#pragma once

#include "conv/tile.cuh"

// Where row m's results begin in out, or -1 if they are not stored; columns follow each other, in
// PASS 2 `phase.rows` apart.
DEVICE long long out_row(const Problem& p, const Tile& t, int m) {
    const long long first = p.first + t.group * p.columns;
    if (PASS == 2) return first * t.phase.rows + m;
    if (PASS == 0 && SHARE == 1) return (long long)m * p.width + first;
    const Pixel x(t.phase, m);
    if (SHARE > 1 && x.j == p.grid_w) return -1;
    const int h = t.phase.first_h + x.i * p.stride_h, w = t.phase.first_w + x.j * p.stride_w;
    return ((long long)(x.image * p.grid_h + h) * p.grid_w + w) * p.width + first;
}

DEVICE float to_float(Element element) {
#if BF16
    return __uint_as_float((unsigned)element << 16);
#else
    return element;
#endif
}

DEVICE Element to_element(float value) {
#if BF16
    return (Element)pack_bf16(value, 0);
#else
    return value;
#endif
}

// What is added to a lane's 8 columns of 32, and the least that may come out.
struct Finish {
    float bias[8], least;

    DEVICE Finish(const Problem& p, const Tile& t, int column, int lane) {
        least = p.relu ? 0.0f : -__int_as_float(0x7f800000);
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const int at = column + 8 * (i / 2) + 2 * (lane & 3) + i % 2;
            const bool valid = p.bias && at < p.columns;
            bias[i] = valid ? p.bias[p.first + t.group * p.columns + at] : 0.0f;
        }
    }
    DEVICE float apply(float value, int i) const {
        value += bias[i];
        return value < least ? least : value;
    }
};

DEVICE bool kept(const Problem& p, long long at) {
    return !p.positive || to_float(p.positive[at]) > 0;
}

// Stores one result; `row` comes from out_row.
DEVICE void store(const Problem& p, const Tile& t, long long row, int column, float value) {
    if (column >= p.columns) return;
    const long long at = row + (PASS == 2 ? (long long)column * t.phase.rows : column);
    if (p.partial) {
        p.partial[t.split * p.sums + at] = value;
        return;
    }
    if (p.bias) value += p.bias[p.first + t.group * p.columns + column];
    if (p.relu && value < 0) value = 0;
    p.out[at] = to_element(kept(p, at) ? value : 0.0f);
}

// What decides over 8 of a lane's results: those of 8 columns, or of 4 pairs, as they are stored.
#if BF16
typedef uint4 Like;
#else
struct Like {
    float2 pairs[4];
};
#endif

// What decides which of a lane's 8 columns of 32 are kept, if they are `wide`. To be read for several
// rows before the first of them is stored: each takes as long as a tile's step.
DEVICE Like deciding(const Problem& p, bool wide, long long row, int column, int lane) {
    Like like = {};
#if PASS != 2
    if (!p.positive || !wide || row < 0) return like;
#if BF16
    column += 8 * (lane & 3);
    if (column < p.columns) like = *(const uint4*)(p.positive + row + column);
#else
    column += 2 * (lane & 3);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const long long at = row + column + 8 * i;
        if (column + 8 * i < p.columns) like.pairs[i] = *(const float2*)(p.positive + at);
    }
#endif
#endif
    return like;
}

#if BF16 && PASS != 2
// Swaps the quad's elements so that lane q holds what the lanes 0, 1, 2, 3 had at place q.
DEVICE void transpose_quad(unsigned (&v)[4], int lane) {
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
        const unsigned other = __shfl_xor_sync(~0u, lane & 1 ? v[i] : v[i + 1], 1);
        (lane & 1 ? v[i] : v[i + 1]) = other;
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
        const unsigned other = __shfl_xor_sync(~0u, lane & 2 ? v[i] : v[i + 2], 2);
        (lane & 2 ? v[i] : v[i + 2]) = other;
    }
}

DEVICE unsigned keep_positive(unsigned value, unsigned like) {
    const unsigned low = __uint_as_float(like << 16) > 0 ? 0xffffu : 0;
    const unsigned high = __uint_as_float(like & 0xffff0000u) > 0 ? 0xffff0000u : 0;
    return value & (low | high);
}

// Stores 8 columns from a multiple of 8 on; `wide`: they are 16 aligned bytes, and `like` decides.
DEVICE void store_eight(const Problem& p, bool wide, long long row, int column,
                        const unsigned (&packed)[4], const Like& like) {
    if (wide) {
        if (column >= p.columns) return;
        uint4 result = make_uint4(packed[0], packed[1], packed[2], packed[3]);
        if (p.positive) {
            result.x = keep_positive(result.x, like.x);
            result.y = keep_positive(result.y, like.y);
            result.z = keep_positive(result.z, like.z);
            result.w = keep_positive(result.w, like.w);
        }
        *(uint4*)(p.out + row + column) = result;
        return;
    }
#pragma unroll
    for (int e = 0; e < 8; ++e) {
        const long long at = row + column + e;
        const unsigned bits = packed[e / 2] >> (e % 2 * 16);
        if (column + e < p.columns) p.out[at] = (Element)(kept(p, at) ? bits : 0);
    }
}
#endif

// Whether runs of 8 columns from a multiple of 8 on are whole aligned pieces of 16 bytes of out.
DEVICE bool wide_out(const Problem& p) {
    const long long step = sizeof(Element), ends = p.first * step | p.width * step;
    return ((long long)p.out | (long long)p.positive | ends) % 16 == 0 && p.columns % 8 == 0;
}

// Stores 32 columns of one row, from `column` on: lane q of each quad holds the columns
// 8 i + 2 q and the next, i < 4, in `values`. `row` comes from out_row, or is negative for a row
// that is not there; `like` comes from `deciding`. All lanes of a warp call it together.
DEVICE void store_row(const Problem& p, const Tile& t, const Finish& finish, bool wide,
                      long long row, int column, const float (&values)[8], const Like& like,
                      int lane) {
    const int first = column + 2 * (lane & 3);
#if PASS == 2
    const long long apart = t.phase.rows;
#else
    const long long apart = 1;
#endif
    if (p.partial) {
        if (row < 0) return;
        float* to = p.partial + t.split * p.sums + row;
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const int at = first + 8 * (i / 2) + i % 2;
            if (at < p.columns) to[at * apart] = values[i];
        }
        return;
    }
#if PASS != 2 && BF16
    unsigned packed[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const int at = 2 * i;
        packed[i] = pack_bf16(finish.apply(values[at], at), finish.apply(values[at + 1], at + 1));
    }
    transpose_quad(packed, lane);
    if (row >= 0) store_eight(p, wide, row, column + 8 * (lane & 3), packed, like);
#else
    if (row < 0) return;
#if PASS != 2
    if (wide) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            if (first + 8 * i >= p.columns) return;
            const int v = 2 * i;
            float2 pair = {finish.apply(values[v], v), finish.apply(values[v + 1], v + 1)};
            if (p.positive && !(like.pairs[i].x > 0)) pair.x = 0;
            if (p.positive && !(like.pairs[i].y > 0)) pair.y = 0;
            *(float2*)(p.out + row + first + 8 * i) = pair;
        }
        return;
    }
#endif
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const int column_i = first + 8 * (i / 2) + i % 2;
        const long long at = row + column_i * apart;
        if (column_i >= p.columns) continue;
        const float value = PASS == 2 ? values[i] : finish.apply(values[i], i);
        p.out[at] = to_element(PASS == 2 || kept(p, at) ? value : 0.0f);
    }
#endif
}
