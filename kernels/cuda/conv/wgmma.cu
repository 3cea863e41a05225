// Convolution, its gradients and products of matrices on Hopper's tensor cores: out = A B, tiled as
// conv/tile.cuh tells, where all chunks are 16 aligned bytes (WIDE_A and WIDE_B). BF16; or TF32,
// where lines are rows and columns (LINES_A and LINES_B), operands cut off to tf32.
//
// Launch: blocks of 384 threads, as many as fit the device at once (BLOCKS on each multiprocessor);
// each goes through the tiles at its distance. Dynamic shared bytes: STAGES stages, and 1024 for
// their alignment. The first warpgroup copies, the other two multiply: each TILE_M / 2 rows. Two
// barriers for each stage tell that it is full and that it is empty. The copies are ordinary
// asynchronous ones, so that the windows of any convolution are gathered without a matrix of them.
//
// Macros besides conv/tile.cuh's: PRECISION: 1 TF32, 2 BF16; STAGES, BLOCKS.

#define BF16 (PRECISION == 2)
#define LOADERS 128
#define WIDE_A 1
#define WIDE_B 1
#include "conv/load.cuh"
#include "conv/ptx_sm90a.cuh"
#include "conv/store.cuh"

enum {
    TILES = TILE_M / 128,  // tiles of 64 rows that a warpgroup sums
    TURN_A = !LINES_A,
    TURN_B = !LINES_B,
    // registers of a thread that copies and of one that multiplies, where there are 168 for each
    COPYING = 88,
    MULTIPLYING = 208,
};

// Which stage comes next, and the parity of its turn.
struct Turn {
    int stage = 0, parity = 0;

    DEVICE void advance() {
        if (++stage == STAGES) {
            stage = 0;
            parity ^= 1;
        }
    }
};

DEVICE void copy_tiles(const Problem& p, const Tiles& tiles, unsigned buffers, unsigned full,
                       unsigned empty) {
    Turn turn;
    for (int index = blockIdx.x; index < tiles.count; index += gridDim.x) {
        const Tile t = tiles.at(p, index);
        if (t.m >= t.phase.rows) continue;
        Loader loader(p, t, threadIdx.x);
        for (int step = 0; step < t.steps; ++step) {
            barrier_wait(empty + 8 * turn.stage, turn.parity ^ 1);
            loader.load(p, t, buffers + turn.stage * BYTES_STAGE);
            barrier_arrive_after_copies(full + 8 * turn.stage);
            turn.advance();
        }
    }
}

// One stage: for each tap that shares it, 4 products of 32 bytes of the sum.
DEVICE void multiply_stage(float (&sums)[TILES][TILE_N / 2], unsigned a, unsigned b) {
    product_begin();
#pragma unroll
    for (int k = 0; k < 4 * SHARE; ++k) {
        const unsigned at_a = a + k / 4 * 128 + k % 4 * (TURN_A ? 16 * 128 : 32);
        const unsigned at_b = b + k / 4 * BYTES_B + k % 4 * (TURN_B ? 16 * 128 : 32);
#pragma unroll
        for (int i = 0; i < TILES; ++i) {
            multiply<TURN_A, TURN_B>(sums[i], operand(at_a + i * 64 * 128, 64 * 128),
                                     operand(at_b, 64 * 128));
        }
    }
    product_commit();
}

// Where row i, of the 2 TILES of a tile that a lane stores, begins in out, or -1.
DEVICE long long stored_row(const Problem& p, const Tile& t, int i) {
    const int group = threadIdx.x / 128 - 1, warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
    const int m = t.m + (group * TILES + i / 2) * 64 + warp * 16 + i % 2 * 8 + lane / 4;
    return m < t.phase.rows ? out_row(p, t, m) : -1;
}

// Has what decides over the tile's results come near while they are summed.
DEVICE void fetch_deciding(const Problem& p, const Tile& t) {
    const int column = t.n + 8 * (threadIdx.x & 3);
#pragma unroll
    for (int i = 0; i < 2 * TILES; ++i) {
        const long long row = stored_row(p, t, i);
#pragma unroll
        for (int j = 0; j < TILE_N; j += 32) {
            if (row >= 0 && column + j < p.columns) prefetch(p.positive + row + column + j);
        }
    }
}

DEVICE void store_sums(const Problem& p, const Tile& t, const float (&sums)[TILES][TILE_N / 2],
                       bool wide) {
    const int lane = threadIdx.x % 32;
    long long rows[2 * TILES];
#pragma unroll
    for (int i = 0; i < 2 * TILES; ++i) rows[i] = stored_row(p, t, i);
#pragma unroll
    for (int j = 0; j < TILE_N / 32; ++j) {
        const int column = t.n + 32 * j;
        const Finish finish(p, t, column, lane);
        Like like[2 * TILES];
#pragma unroll
        for (int i = 0; i < 2 * TILES; ++i) {
            like[i] = deciding(p, wide, rows[i], column, lane);
        }
#pragma unroll
        for (int i = 0; i < 2 * TILES; ++i) {
            float values[8];
#pragma unroll
            for (int e = 0; e < 8; ++e) {
                values[e] = sums[i / 2][16 * j + e / 2 * 4 + i % 2 * 2 + e % 2];
            }
            store_row(p, t, finish, wide, rows[i], column, values, like[i], lane);
        }
    }
}

DEVICE void multiply_tiles(const Problem& p, const Tiles& tiles, unsigned buffers, unsigned full,
                           unsigned empty) {
    const int group = threadIdx.x / 128 - 1, lane = threadIdx.x % 32;
    const bool wide = wide_out(p);
    Turn turn;
    for (int index = blockIdx.x; index < tiles.count; index += gridDim.x) {
        const Tile t = tiles.at(p, index);
        if (t.m >= t.phase.rows) continue;
        if (PASS == 1 && p.positive) fetch_deciding(p, t);
        float sums[TILES][TILE_N / 2];
#pragma unroll
        for (int i = 0; i < TILES; ++i) {
#pragma unroll
            for (int j = 0; j < TILE_N / 2; ++j) sums[i][j] = 0;
        }
        unsigned previous = 0;
        for (int step = 0; step < t.steps; ++step) {
            const unsigned from = buffers + turn.stage * BYTES_STAGE;
            barrier_wait(full + 8 * turn.stage, turn.parity);
            proxy_fence();
            multiply_stage(sums, from + group * TILES * 64 * 128, from + BYTES_A);
            product_wait<1>();
            if (step > 0 && lane == 0) barrier_arrive(previous);
            previous = empty + 8 * turn.stage;
            turn.advance();
        }
        product_wait<0>();
        if (t.steps > 0 && lane == 0) barrier_arrive(previous);
        store_sums(p, t, sums, wide);
    }
}

extern "C" __global__ void __launch_bounds__(384, BLOCKS) conv_wgmma(const Problem p) {
    extern __shared__ __align__(1024) unsigned char shared[];
    __shared__ unsigned long long barriers[2 * STAGES];
    const unsigned buffers = (shared_address(shared) + 1023) & ~1023u;
    const unsigned full = shared_address(barriers), empty = full + 8 * STAGES;
    const Tiles tiles(p);
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < STAGES; ++stage) {
            barrier_init(full + 8 * stage, 128);
            barrier_init(empty + 8 * stage, 8);
        }
        barrier_init_fence();
    }
    __syncthreads();
    if (threadIdx.x < 128) {
        if (BLOCKS == 1) registers_down<COPYING>();
        copy_tiles(p, tiles, buffers, full, empty);
    } else {
        if (BLOCKS == 1) registers_up<MULTIPLYING>();
        multiply_tiles(p, tiles, buffers, full, empty);
    }
}
