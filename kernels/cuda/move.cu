// Copies of parts of tensors, and between the layouts N C H W and N H W C.
//
// Numbers are moved as they are, in units of UNIT bytes.

#ifndef UNIT
#define UNIT 16
#endif

#if UNIT == 16
typedef uint4 Unit;
#elif UNIT == 8
typedef uint2 Unit;
#elif UNIT == 4
typedef unsigned Unit;
#elif UNIT == 2
typedef unsigned short Unit;
#else
typedef unsigned char Unit;
#endif

#define PACKS 4
#define THREADS 256

// Copy `rows` runs of `width` units; runs begin `out_pitch` and `x_pitch` units apart. Block (256),
// grid (tiles of rows * tiles of width): a tile has at most 1024 units.
extern "C" __global__ void rectangle(Unit* __restrict__ out, const Unit* __restrict__ x,
                                     long long rows, long long width, long long out_pitch,
                                     long long x_pitch, int tile_rows, int tile_width,
                                     int tiles_wide) {
    const long long row = (long long)(blockIdx.x / tiles_wide) * tile_rows;
    const long long column = (long long)(blockIdx.x % tiles_wide) * tile_width;
    const unsigned high = rows - row < tile_rows ? (unsigned)(rows - row) : tile_rows;
    const unsigned wide = width - column < tile_width ? (unsigned)(width - column) : tile_width;
    out += row * out_pitch + column;
    x += row * x_pitch + column;
    Unit some[PACKS];
#pragma unroll
    for (int k = 0; k < PACKS; ++k) {
        const unsigned i = k * THREADS + threadIdx.x;
        if (i < high * wide) some[k] = x[i / wide * x_pitch + i % wide];
    }
#pragma unroll
    for (int k = 0; k < PACKS; ++k) {
        const unsigned i = k * THREADS + threadIdx.x;
        if (i < high * wide) out[i / wide * out_pitch + i % wide] = some[k];
    }
}

// Transpose `high` x `wide` matrices, one after the other. Block (32, 8), grid (matrices * tiles of
// rows * tiles of columns), tiles 32 x 32.
extern "C" __global__ void transpose(Unit* __restrict__ out, const Unit* __restrict__ x, int high,
                                     int wide) {
    __shared__ Unit tile[32][33];
    const int tiles_high = (high + 31) / 32, tiles_wide = (wide + 31) / 32;
    const int across = blockIdx.x % tiles_wide, down = blockIdx.x / tiles_wide % tiles_high;
    const long long matrix = (long long)(blockIdx.x / tiles_wide / tiles_high) * high * wide;
    const int tx = threadIdx.x, row = down * 32, column = across * 32;
#pragma unroll
    for (int r = threadIdx.y; r < 32; r += 8) {
        if (row + r < high && column + tx < wide) {
            tile[r][tx] = x[matrix + (long long)(row + r) * wide + column + tx];
        }
    }
    __syncthreads();
#pragma unroll
    for (int r = threadIdx.y; r < 32; r += 8) {
        if (column + r < wide && row + tx < high) {
            out[matrix + (long long)(column + r) * high + row + tx] = tile[tx][r];
        }
    }
}

// The same with two units at once, of 2 bytes each, where both sides are even: tiles 64 x 64.
extern "C" __global__ void transpose_pairs(unsigned* __restrict__ out,
                                           const unsigned* __restrict__ x, int high, int wide) {
    __shared__ unsigned tile[64][33];
    const int tiles_high = (high + 63) / 64, tiles_wide = (wide + 63) / 64;
    const int across = blockIdx.x % tiles_wide, down = blockIdx.x / tiles_wide % tiles_high;
    const long long matrix =
        (long long)(blockIdx.x / tiles_wide / tiles_high) * high * (wide / 2);
    const int tx = threadIdx.x, row = down * 64, column = across * 64;
#pragma unroll
    for (int r = threadIdx.y; r < 64; r += 8) {
        if (row + r < high && column + 2 * tx < wide) {
            tile[r][tx] = x[matrix + (long long)(row + r) * (wide / 2) + column / 2 + tx];
        }
    }
    __syncthreads();
#pragma unroll
    for (int r = 2 * threadIdx.y; r < 64; r += 16) {
        if (column + r >= wide || row + 2 * tx >= high) continue;
        const unsigned first = tile[2 * tx][r / 2], second = tile[2 * tx + 1][r / 2];
        unsigned* to = out + matrix + (long long)(column + r) * (high / 2) + row / 2 + tx;
        to[0] = (first & 0xffffu) | second << 16;
        to[high / 2] = first >> 16 | (second & 0xffff0000u);
    }
}

// The same for matrices of which one side is short: a thread takes the `few` elements that have
// one index along the long side. Steps are between elements of x and of out along both sides.
// Block (256), grid (matrices * tiles of the long side).
extern "C" __global__ void transpose_few(Unit* __restrict__ out, const Unit* __restrict__ x,
                                         int many, int few, int x_many, int x_few, int out_many,
                                         int out_few) {
    const int tiles = (many + THREADS - 1) / THREADS;
    const long long matrix = (long long)(blockIdx.x / tiles) * many * few;
    const int i = blockIdx.x % tiles * THREADS + threadIdx.x;
    if (i >= many) return;
    out += matrix + (long long)i * out_many;
    x += matrix + (long long)i * x_many;
    for (int k = 0; k < few; ++k) out[(long long)k * out_few] = x[(long long)k * x_few];
}
