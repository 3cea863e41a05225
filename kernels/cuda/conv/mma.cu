// Convolution, its gradients and products of matrices: out = A B, tiled as conv/tile.cuh tells, for
// any shape. FP32: on the ordinary units, in float32. TF32: on tensor cores, operands rounded to
// tf32. BF16: on tensor cores. Sums are float32 in all three.
//
// Launch: a block of 256 threads for each tile, BYTES shared bytes. Copies into STAGES buffers run
// ahead of the products. Where there is `partial`, each split's sums go there, for conv/sum.cu.
//
// Macros besides conv/tile.cuh's: PRECISION: 0 FP32, 1 TF32, 2 BF16; STAGES.

#define BF16 (PRECISION == 2)
#define LOADERS 256
#include "conv/load.cuh"
#include "conv/store.cuh"

#if PRECISION == 0

// Each thread sums 8 rows by COLUMNS columns. Which ones depends on how the operand lies: element i
// of thread t of 16 is row t + 16 i where lines are rows, so that 8 threads read 8 lines in 8
// different places; else 4 rows from 4 t on, one chunk of a line.
enum { COLUMNS = TILE_N / 16 };

DEVICE int index_of(int t, int i, bool lines) {
    return lines ? t + 16 * i : 4 * t + i % 4 + i / 4 * 64;
}

template <int count>
DEVICE void read(float (&to)[4][count], unsigned from, int t, int quarter, bool lines) {
#pragma unroll
    for (int i = 0; i < (lines ? count : 4); ++i) {
#pragma unroll
        for (int j = 0; j < (lines ? 1 : count / 4); ++j) {
            const int row = index_of(t, 4 * j, false);
            const int line = lines ? index_of(t, i, true) : row / STEP * STEP + 4 * quarter + i;
            const uint4 v = load_shared4(from + place_of(line, lines ? quarter : row % STEP / 4));
            const unsigned words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                (lines ? to[e][i] : to[i][4 * j + e]) = __uint_as_float(words[e]);
            }
        }
    }
}

struct Sums {
    float sums[8][COLUMNS];
    int row, column;  // 0 .. 15

    DEVICE Sums(int thread) {
        const int warp = thread / 32, lane = thread % 32;
        row = warp / 4 * 8 + lane / 4;
        column = warp % 4 * 4 + lane % 4;
#pragma unroll
        for (int i = 0; i < 8; ++i) {
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j) sums[i][j] = 0;
        }
    }

    DEVICE void add(unsigned a, unsigned b) {
#pragma unroll
        for (int quarter = 0; quarter < 8; ++quarter) {
            float rows[4][8], columns[4][COLUMNS];
            read(rows, a, row, quarter, LINES_A);
            read(columns, b, column, quarter, LINES_B);
#pragma unroll
            for (int k = 0; k < 4; ++k) {
#pragma unroll
                for (int i = 0; i < 8; ++i) {
#pragma unroll
                    for (int j = 0; j < COLUMNS; ++j) sums[i][j] += rows[k][i] * columns[k][j];
                }
            }
        }
    }

    DEVICE void store_all(const Problem& p, const Tile& t) {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const int m = t.m + index_of(row, i, LINES_A);
            if (m >= t.phase.rows) continue;
            const long long at = out_row(p, t, m);
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j) {
                store(p, t, at, t.n + index_of(column, j, LINES_B), sums[i][j]);
            }
        }
    }
};

#else

// A warp sums ROWS rows by 32 columns, as tiles of 16 by 8.
enum { WARPS_N = TILE_N / 32, WARPS_M = 8 / WARPS_N, ROWS = TILE_M / WARPS_M, TILES = ROWS / 16 };

// Reads fragments of a warp's rows (columns) from `row` on, a multiple of 32: of the 16 in `block`,
// and of two chunks of the sum, 2 pair and 2 pair + 1, as four quarters: the first 8 rows, the last
// 8, then the same of the second chunk. What depends on block and pair is a constant, added or,
// where it meets the place of a chunk, joined by exclusive or.
template <bool lines>
struct Fragments {
    unsigned at;

    DEVICE Fragments(int row, int lane) {
        if (lines) {
            at = (row + lane % 16) * 128 + ((lane / 16 ^ lane % 8) << 4);
        } else if (BF16) {
            const int chunk = row % 64 / 8 ^ lane / 8 % 2 ^ lane % 8;
            at = row / 64 * 64 * 128 + (lane % 8 + lane / 16 * 8) * 128 + (chunk << 4);
        } else {
            const int chunk = lane / 16 ^ lane % 4;
            at = row * 128 + lane % 4 * 128 + (chunk << 4) + lane / 4 % 4 * 4;
        }
    }

    DEVICE void read(unsigned (&to)[4], unsigned from, int block, int pair) const {
        const unsigned base = from + at;
        if (lines) {
            load_matrices(to, (base ^ pair << 5) + block * 16 * 128);
        } else if (BF16) {
            load_matrices_transposed(to, (base ^ block << 5) + pair * 16 * 128);
        } else {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const unsigned place = base ^ i % 2 << 5 ^ (i / 2 ^ block % 2) << 6;
                to[i] = load_shared(place + (block / 2 * 32 + pair * 8 + i / 2 * 4) * 128);
            }
        }
        if (!BF16) {
#pragma unroll
            for (int i = 0; i < 4; ++i) to[i] = round_tf32(to[i]);
        }
    }
};

struct Sums {
    float sums[TILES][4][4];
    int row, column, lane;
    Fragments<LINES_A> of_a;
    Fragments<LINES_B> of_b;

    DEVICE Sums(int thread)
        : row(thread / 32 / WARPS_N * ROWS),
          column(thread / 32 % WARPS_N * 32),
          lane(thread % 32),
          of_a(row, lane),
          of_b(column, lane) {
#pragma unroll
        for (int i = 0; i < TILES * 16; ++i) sums[i / 16][i / 4 % 4][i % 4] = 0;
    }

    DEVICE void add(unsigned a, unsigned b) {
#pragma unroll
        for (int pair = 0; pair < 4; ++pair) {
            unsigned rows[TILES][4], columns[2][4];
#pragma unroll
            for (int i = 0; i < TILES; ++i) of_a.read(rows[i], a, i, pair);
#pragma unroll
            for (int j = 0; j < 2; ++j) of_b.read(columns[j], b, j, pair);
#pragma unroll
            for (int i = 0; i < TILES; ++i) {
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    const unsigned b0 = columns[j / 2][j % 2], b1 = columns[j / 2][j % 2 + 2];
#if BF16
                    multiply_bf16(sums[i][j], rows[i], b0, b1);
#else
                    multiply_tf32(sums[i][j], rows[i], b0, b1);
#endif
                }
            }
        }
    }

    DEVICE void store_all(const Problem& p, const Tile& t) {
        const bool wide = wide_out(p);
        const Finish finish(p, t, t.n + column, lane);
#pragma unroll
        for (int i = 0; i < 2 * TILES; ++i) {
            const int m = t.m + row + 8 * i + lane / 4;
            const long long at = m < t.phase.rows ? out_row(p, t, m) : -1;
            float values[8];
#pragma unroll
            for (int e = 0; e < 8; ++e) values[e] = sums[i / 2][e / 2][i % 2 * 2 + e % 2];
            const Like like = deciding(p, wide, at, t.n + column, lane);
            store_row(p, t, finish, wide, at, t.n + column, values, like, lane);
        }
    }
};

#endif

extern "C" __global__ void __launch_bounds__(256, 2) conv_mma(const Problem p) {
    extern __shared__ __align__(128) unsigned char shared[];
    const Tile t = Tiles(p).at(p, blockIdx.x);
    if (t.m >= t.phase.rows) return;
    const unsigned buffers = shared_address(shared);
    Loader loader(p, t, threadIdx.x);
    Sums sums(threadIdx.x);
    for (int step = 0; step < STAGES - 1; ++step) {
        if (step < t.steps) loader.load(p, t, buffers + step * BYTES_STAGE);
        copy_commit();
    }
    for (int step = 0; step < t.steps; ++step) {
        copy_wait<STAGES - 2>();
        __syncthreads();
        if (step + STAGES - 1 < t.steps) {
            loader.load(p, t, buffers + (step + STAGES - 1) % STAGES * BYTES_STAGE);
        }
        copy_commit();
        const unsigned from = buffers + step % STAGES * BYTES_STAGE;
        sums.add(from, from + BYTES_A);
    }
    sums.store_all(p, t);
}
