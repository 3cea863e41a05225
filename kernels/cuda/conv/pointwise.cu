// Convolutions of 1 by 1 pixel, and their images' gradients, in bf16 on Hopper's tensor cores:
// out (rows x columns) = A (rows x terms) B, where a row is a pixel. What else is to be done with
// results is done on their way to memory, most of which such convolutions only wait for: others are
// added, a relu's slope is applied, and sums per column are made for batch normalization.
//
// B lies in memory as columns x terms, with TURNED as terms x columns. A block has COLUMNS columns:
// its B stays in shared memory, and pieces of 128 rows of A stream by. Grid (pieces of columns,
// groups of rows); a group's pieces of rows are gridDim.y apart. Blocks of 384 threads: two
// warpgroups multiply a piece each in turn, so that one stores while the other multiplies; a thread
// of the third has tiles copied. Results go through shared memory, a warp's own 16 rows, so that
// each thread has 8 columns side by side, the same of all rows.
//
// Dynamic shared bytes: B, STAGES pieces of A of 64 terms, 16 rows for each warp that multiplies,
// and 1024 for their alignment. Tiles lie there as conv/tile.cuh tells.
//
// Macros: COLUMNS (64 or 128); TURNED; STAGES; ADDED: whether `added` is; POSITIVE: whether results
// are zeroed where `positive` is not positive; SUMS: 1 of results and of their squares, 2 of results
// times (x - mean) / sqrt(var + eps) and of results, 0 none. Sums are of results as they are stored.

#define BF16 1
#include "conv/ptx_sm90a.cuh"

typedef unsigned short Element;

enum {
    ROWS = 128,  // that a warpgroup has at a time
    STEP = 64,   // terms, a line of 128 bytes
    BYTES_A = ROWS * 128,
    BYTES_B = COLUMNS * 128,
    CHUNKS = COLUMNS / 8,  // of 16 bytes, in a row of results
    AT_ONCE = 32 / CHUNKS,  // rows that a warp stores
    TURNS = 16 / AT_ONCE,
    AHEAD = TURNS < 4 ? TURNS : 4,  // turns whose operands are fetched at once
    BYTES_ROWS = 16 * COLUMNS * 2,  // of a warp's results
    // registers of a thread that has tiles copied and of one that multiplies, where each begins with 168
    COPYING = 40,
    MULTIPLYING = 232,
};

struct alignas(64) Map {
    unsigned char bytes[128];
};

struct Problem {
    Map map_a, map_b;
    Element* out;
    const Element* added;     // shaped like out, as the next two
    const Element* positive;
    const Element* x;
    const float* mean;        // for each column, as the variance
    const float* var;
    float* partial;           // sums: (2, groups of rows, columns)
    int rows, columns, terms;
    float eps;
};

static_assert(sizeof(Problem) == 384, "as pointwise.py packs it");

struct Buffers {
    unsigned b, a, results;  // shared addresses
    // Barriers: a stage is full, is empty; B is there; a warpgroup may take its next piece's stages.
    unsigned full, empty, ready, turns;
};

DEVICE int steps_of(const Problem& p) { return (p.terms + STEP - 1) / STEP; }

DEVICE int pieces_of(const Problem& p) { return (p.rows + ROWS - 1) / ROWS; }

// Has B and all pieces of A copied, by one thread.
DEVICE void copy_tiles(const Problem& p, const Buffers& at) {
    const int steps = steps_of(p), pieces = pieces_of(p), column = blockIdx.x * COLUMNS;
    barrier_expect(at.ready, steps * BYTES_B);
    for (int step = 0; step < steps; ++step) {
        const unsigned to = at.b + step * BYTES_B;
#if TURNED
        for (int i = 0; i < COLUMNS / 64; ++i) {
            copy_tile(to + i * 64 * 128, &p.map_b, column + i * 64, step * STEP, at.ready);
        }
#else
        copy_tile(to, &p.map_b, step * STEP, column, at.ready);
#endif
    }
    int stage = 0, parity = 0;
    for (int piece = blockIdx.y; piece < pieces; piece += gridDim.y) {
        for (int step = 0; step < steps; ++step) {
            const unsigned full = at.full + 8 * stage;
            barrier_wait(at.empty + 8 * stage, parity ^ 1);
            barrier_expect(full, BYTES_A);
            copy_tile(at.a + stage * BYTES_A, &p.map_a, step * STEP, piece * ROWS, full);
            if (++stage == STAGES) {
                stage = 0;
                parity ^= 1;
            }
        }
    }
}

// One stage: 4 products of 16 terms.
DEVICE void multiply_stage(float (&sums)[2][COLUMNS / 2], unsigned a, unsigned b) {
    product_begin();
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const unsigned at_b = b + k * (TURNED ? 16 * 128 : 32);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            multiply<0, TURNED>(sums[i], operand(a + i * 64 * 128 + k * 32, 64 * 128),
                                operand(at_b, 64 * 128));
        }
    }
    product_commit();
}

DEVICE float low_of(unsigned word) { return __uint_as_float(word << 16); }

DEVICE float high_of(unsigned word) { return __uint_as_float(word & 0xffff0000u); }

DEVICE void store_matrices(unsigned to, const unsigned (&v)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};"
                 ::"r"(to), "r"(v[0]), "r"(v[1]), "r"(v[2]), "r"(v[3]) : "memory");
}

// Where chunk c of a warp's row lies among its results.
DEVICE unsigned result_place(int row, int chunk) {
    return row * (COLUMNS * 2) + ((chunk ^ (row & 7)) << 4);
}

// Writes a warp's 16 rows to shared memory.
DEVICE void stage_rows(const float (&sums)[COLUMNS / 2], unsigned to) {
    const int lane = threadIdx.x % 32, row = lane % 16, next = lane / 16;
#pragma unroll
    for (int j = 0; j < CHUNKS; j += 2) {
        unsigned packed[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            packed[i] = pack_bf16(sums[4 * j + 2 * i], sums[4 * j + 2 * i + 1]);
        }
        store_matrices(to + result_place(row, j + next), packed);
    }
    __syncwarp();
}

// What a thread makes of the 8 columns that it has of every row.
struct Columns {
    float first[8], second[8];  // sums
    float mean[8];
    int column;
    bool valid;

    DEVICE Columns(const Problem& p) {
        column = blockIdx.x * COLUMNS + threadIdx.x % CHUNKS * 8;
        valid = column < p.columns;
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            first[i] = second[i] = 0;
            mean[i] = SUMS == 2 && valid ? p.mean[column + i] : 0.0f;
        }
    }

    // Finishes 8 results.
    DEVICE uint4 finish(uint4 value, uint4 added, uint4 positive, uint4 x) {
        unsigned* v = (unsigned*)&value;
        const unsigned *other = (unsigned*)&added, *like = (unsigned*)&positive, *of = (unsigned*)&x;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            if (ADDED) v[i] = pack_bf16(low_of(v[i]) + low_of(other[i]), high_of(v[i]) + high_of(other[i]));
            if (POSITIVE) {
                v[i] &= (low_of(like[i]) > 0 ? 0xffffu : 0u) | (high_of(like[i]) > 0 ? 0xffff0000u : 0u);
            }
            const float low = low_of(v[i]), high = high_of(v[i]);
            if (SUMS == 1) {
                first[2 * i] += low;
                first[2 * i + 1] += high;
                second[2 * i] += low * low;
                second[2 * i + 1] += high * high;
            }
            if (SUMS == 2) {
                first[2 * i] += (low_of(of[i]) - mean[2 * i]) * low;
                first[2 * i + 1] += (high_of(of[i]) - mean[2 * i + 1]) * high;
                second[2 * i] += low;
                second[2 * i + 1] += high;
            }
        }
        return value;
    }
};

// Stores a warp's 16 rows, from `row` on, that lie in shared memory.
DEVICE void store_rows(const Problem& p, Columns& own, int row, unsigned from) {
    const int lane = threadIdx.x % 32, line = lane / CHUNKS, chunk = lane % CHUNKS;
    const int left = own.valid ? p.rows - row - line : 0;
    const long long at = (long long)(row + line) * p.columns + own.column;
#pragma unroll
    for (int turn = 0; turn < TURNS; turn += AHEAD) {
        uint4 added[AHEAD] = {}, positive[AHEAD] = {}, x[AHEAD] = {};
#pragma unroll
        for (int i = 0; i < AHEAD; ++i) {
            const int down = (turn + i) * AT_ONCE;
            const long long there = at + (long long)down * p.columns;
            if (down >= left) continue;
            if (ADDED) added[i] = *(const uint4*)(p.added + there);
            if (POSITIVE) positive[i] = *(const uint4*)(p.positive + there);
            if (SUMS == 2) x[i] = *(const uint4*)(p.x + there);
        }
#pragma unroll
        for (int i = 0; i < AHEAD; ++i) {
            const int down = (turn + i) * AT_ONCE;
            if (down >= left) continue;
            const uint4 value = load_shared4(from + result_place(line + down, chunk));
            *(uint4*)(p.out + at + (long long)down * p.columns) =
                own.finish(value, added[i], positive[i], x[i]);
        }
    }
    __syncwarp();
}

// Adds up the sums of all threads of the block that multiply.
DEVICE void store_sums(const Problem& p, Columns& own, unsigned results) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
#pragma unroll
        for (int apart = CHUNKS; apart < 32; apart *= 2) {
            own.first[i] += __shfl_xor_sync(~0u, own.first[i], apart);
            own.second[i] += __shfl_xor_sync(~0u, own.second[i], apart);
        }
    }
    float* shared = (float*)__cvta_shared_to_generic(results);
    if (lane < CHUNKS) {
        float* to = shared + warp * (BYTES_ROWS / 4) + lane * 8;
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            to[i] = own.first[i];
            to[COLUMNS + i] = own.second[i];
        }
    }
    asm volatile("bar.sync 1, 256;" ::: "memory");
    const int thread = threadIdx.x, column = blockIdx.x * COLUMNS + thread % COLUMNS;
    if (thread >= 2 * COLUMNS || column >= p.columns) return;
    float sum = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) sum += shared[i * (BYTES_ROWS / 4) + thread];
    const int which = thread / COLUMNS;
    if (SUMS == 2 && which == 0) sum *= rsqrtf(p.var[column] + p.eps);
    p.partial[((long long)which * gridDim.y + blockIdx.y) * p.columns + column] = sum;
}

// A warpgroup's pieces. It waits for the other one to have met all stages of the piece before its
// own: a barrier's parity tells only the last two phases apart.
DEVICE void multiply_pieces(const Problem& p, const Buffers& at) {
    const int group = threadIdx.x / 128, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int steps = steps_of(p), pieces = pieces_of(p);
    const unsigned results = at.results + warp * BYTES_ROWS;
    Columns own(p);
    barrier_wait(at.ready, 0);
    int turn = group * steps, parity = group ^ 1;
    for (int piece = blockIdx.y + group * gridDim.y; piece < pieces; piece += 2 * gridDim.y) {
        float sums[2][COLUMNS / 2];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
#pragma unroll
            for (int j = 0; j < COLUMNS / 2; ++j) sums[i][j] = 0;
        }
        barrier_wait(at.turns + 8 * group, parity);
        parity ^= 1;
        unsigned previous = 0;
        for (int step = 0; step < steps; ++step, ++turn) {
            const int stage = turn % STAGES;
            barrier_wait(at.full + 8 * stage, turn / STAGES & 1);
            if (step + 1 == steps && lane == 0) barrier_arrive(at.turns + 8 * (group ^ 1));
            multiply_stage(sums, at.a + stage * BYTES_A, at.b + step * BYTES_B);
            product_wait<1>();
            if (step > 0 && lane == 0) barrier_arrive(previous);
            previous = at.empty + 8 * stage;
        }
        product_wait<0>();
        if (lane == 0) barrier_arrive(previous);
        turn += steps;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            stage_rows(sums[i], results);
            store_rows(p, own, piece * ROWS + i * 64 + warp % 4 * 16, results);
        }
    }
    if (SUMS) store_sums(p, own, at.results);
}

extern "C" __global__ void __launch_bounds__(384, 1) conv_pointwise(const __grid_constant__ Problem p) {
    extern __shared__ __align__(1024) unsigned char shared[];
    __shared__ unsigned long long barriers[2 * STAGES + 3];
    Buffers at;
    at.b = (shared_address(shared) + 1023) & ~1023u;
    at.a = at.b + steps_of(p) * BYTES_B;
    at.results = at.a + STAGES * BYTES_A;
    at.full = shared_address(barriers);
    at.empty = at.full + 8 * STAGES;
    at.ready = at.empty + 8 * STAGES;
    at.turns = at.ready + 8;
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < STAGES; ++stage) {
            barrier_init(at.full + 8 * stage, 1);
            barrier_init(at.empty + 8 * stage, 4);
        }
        barrier_init(at.ready, 1);
        barrier_init(at.turns, 4);
        barrier_init(at.turns + 8, 4);
        barrier_init_fence();
    }
    __syncthreads();
    if (threadIdx.x < 256) {
        registers_up<MULTIPLYING>();
        multiply_pieces(p, at);
    } else {
        registers_down<COPYING>();
        if (threadIdx.x == 256) copy_tiles(p, at);
    }
}
