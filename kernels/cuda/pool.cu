// Maximum and average over windows of images stored N H W C, and their gradients.
//
// The macros SIZE_Y, SIZE_X, STEP_Y, STEP_X are the windows' size and stride. Window (p, q) covers
// rows p * STEP_Y - top ... + SIZE_Y - 1 of the image, cut at its edges, and so for columns.
// Results have `rows` x `columns` windows. Except where said otherwise: block (packs of channels,
// columns), at most 256 threads; grid (images * rows, tiles of columns, tiles of channels).

#include "vector.cuh"

#ifndef SIZE_Y
#define SIZE_Y 3
#define SIZE_X 3
#define STEP_Y 2
#define STEP_X 2
#endif

#define NONE 0xffffu

typedef Pack<T, LANES> Some;
typedef Pack<bf16, LANES> Places;  // two bytes each, whole numbers

constexpr int UNROLL_Y = SIZE_Y <= 4 ? SIZE_Y : 1;
constexpr int UNROLL_X = SIZE_X <= 4 ? SIZE_X : 4;

__device__ inline int inside(int i, int size) { return i < 0 ? 0 : i < size ? i : size - 1; }
__device__ inline bool within(int i, int size) { return i >= 0 && i < size; }

// Whether no element of a window is in the image.
__device__ inline bool outside(int row, int column, int height, int width) {
    return row + SIZE_Y <= 0 || row >= height || column + SIZE_X <= 0 || column >= width;
}

// The first window of a row or column of the image, and the last.
__device__ inline int first_window(int i, int size, int step) {
    return i < size ? 0 : (i - size) / step + 1;
}
__device__ inline int last_window(int i, int step, int windows) {
    return i / step < windows ? i / step : windows - 1;
}

// The maximum of every window; -infinity for one that lies outside.
extern "C" __global__ void maxpool(T* __restrict__ y, const T* __restrict__ x, int height,
                                   int width, int channels, int rows, int columns, int top,
                                   int left) {
    const int c = (blockIdx.z * blockDim.x + threadIdx.x) * LANES;
    const int q = blockIdx.y * blockDim.y + threadIdx.y;
    if (c >= channels || q >= columns) return;
    const int n = blockIdx.x / rows, p = blockIdx.x % rows;
    const int row = p * STEP_Y - top, column = q * STEP_X - left;
    Some best = filled<T, LANES>(-infinity());
    // Outside, the nearest pixel is read again: it is in the window too, and changes nothing.
#pragma unroll UNROLL_Y
    for (int r = 0; r < SIZE_Y; ++r) {
        const T* line =
            x + ((long long)n * height + inside(row + r, height)) * width * channels + c;
#pragma unroll UNROLL_X
        for (int s = 0; s < SIZE_X; ++s) {
            best = larger(best, load<T, LANES>(line + inside(column + s, width) * channels));
        }
    }
    if (outside(row, column, height, width)) best = filled<T, LANES>(-infinity());
    put(y + ((long long)blockIdx.x * columns + q) * channels + c, best);
}

// Elements of a window cut at the padded image, which ends at row `bottom`, column `right`.
__device__ inline float area(int row, int column, int bottom, int right) {
    const int height = (row + SIZE_Y < bottom ? row + SIZE_Y : bottom) - row;
    const int width = (column + SIZE_X < right ? column + SIZE_X : right) - column;
    return (float)(height * width);
}

// The mean of every window, zeros of the padding included.
extern "C" __global__ void avgpool(T* __restrict__ y, const T* __restrict__ x, int height,
                                   int width, int channels, int rows, int columns, int top,
                                   int left, int bottom, int right) {
    const int c = (blockIdx.z * blockDim.x + threadIdx.x) * LANES;
    const int q = blockIdx.y * blockDim.y + threadIdx.y;
    if (c >= channels || q >= columns) return;
    const int n = blockIdx.x / rows, p = blockIdx.x % rows;
    const int row = p * STEP_Y - top, column = q * STEP_X - left;
    float total[LANES] = {};
#pragma unroll UNROLL_Y
    for (int r = 0; r < SIZE_Y; ++r) {
        const T* line =
            x + ((long long)n * height + inside(row + r, height)) * width * channels + c;
#pragma unroll UNROLL_X
        for (int s = 0; s < SIZE_X; ++s) {
            const bool real = within(row + r, height) && within(column + s, width);
            const Some some = load<T, LANES>(line + inside(column + s, width) * channels);
#pragma unroll
            for (int i = 0; i < LANES; ++i) total[i] += real ? some[i] : 0.0f;
        }
    }
    const float share = 1.0f / area(row, column, bottom, right);
#pragma unroll
    for (int i = 0; i < LANES; ++i) total[i] *= share;
    store<T, LANES>(y + ((long long)blockIdx.x * columns + q) * channels + c, total);
}

// Means over windows with their padding become those over the pixels of the image alone. The rows
// and columns of windows are those from `first_row` and `first_column` up. `y` may be x.
extern "C" __global__ void inside_mean(T* y, const T* x, int height, int width, int channels,
                                       int rows, int columns, int first_row, int first_column,
                                       int top, int left, int bottom, int right) {
    const int c = (blockIdx.z * blockDim.x + threadIdx.x) * LANES;
    const int q = blockIdx.y * blockDim.y + threadIdx.y;
    if (c >= channels || q >= columns) return;
    const int row = (first_row + (int)blockIdx.x % rows) * STEP_Y - top;
    const int column = (first_column + q) * STEP_X - left;
    const int high = min(row + SIZE_Y, height) - max(row, 0);
    const int wide = min(column + SIZE_X, width) - max(column, 0);
    const float share = area(row, column, bottom, right) / (float)(high * wide);
    const long long at = ((long long)blockIdx.x * columns + q) * channels + c;
    const Some some = load<T, LANES>(x + at);
    float v[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) v[i] = some[i] * share;
    store<T, LANES>(y + at, v);
}

// Every window shares its dy equally. A thread writes one pixel: grid (images * height, tiles of
// width, tiles of channels).
extern "C" __global__ void avgpool_dx(T* __restrict__ dx, const T* __restrict__ dy, int height,
                                      int width, int channels, int rows, int columns, int top,
                                      int left, int bottom, int right) {
    const int c = (blockIdx.z * blockDim.x + threadIdx.x) * LANES;
    const int w = blockIdx.y * blockDim.y + threadIdx.y;
    if (c >= channels || w >= width) return;
    const int n = blockIdx.x / height, h = blockIdx.x % height;
    const int last_p = last_window(h + top, STEP_Y, rows);
    const int last_q = last_window(w + left, STEP_X, columns);
    float total[LANES] = {};
    for (int p = first_window(h + top, SIZE_Y, STEP_Y); p <= last_p; ++p) {
        const T* line = dy + ((long long)n * rows + p) * columns * channels + c;
        for (int q = first_window(w + left, SIZE_X, STEP_X); q <= last_q; ++q) {
            const float share =
                __fdividef(1.0f, area(p * STEP_Y - top, q * STEP_X - left, bottom, right));
            const Some some = load<T, LANES>(line + q * channels);
#pragma unroll
            for (int i = 0; i < LANES; ++i) total[i] += some[i] * share;
        }
    }
    store<T, LANES>(dx + ((long long)blockIdx.x * width + w) * channels + c, total);
}

// Take the elements of `some` that are greater, and note their place.
__device__ inline void take_greater(Some& best, Places& at, const Some& some, unsigned place) {
#if BF16
    const unsigned both = place * 0x10001u;
#pragma unroll
    for (int i = 0; i < (LANES + 1) / 2; ++i) {
        const unsigned mask = greater_pair(some.words[i], best.words[i]);
        best.words[i] = (some.words[i] & mask) | (best.words[i] & ~mask);
        at.words[i] = (both & mask) | (at.words[i] & ~mask);
    }
#else
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        if (some[i] > best[i]) {
            const int shift = i % 2 * 16;
            best.words[i] = some.words[i];
            at.words[i / 2] = (at.words[i / 2] & ~(0xffffu << shift)) | place << shift;
        }
    }
#endif
}

__device__ inline int place_of(const Places& places, int i) {
    return places.words[i / 2] >> i % 2 * 16 & 0xffffu;
}

__device__ inline Places all_at(unsigned place) {
    Places places;
#pragma unroll
    for (unsigned& word : places.words) word = place * 0x10001u;
    return places;
}

// The place r * SIZE_X + s of a window's first maximum, row by row; NONE for a window outside the
// image, and with relu for a maximum of zero or less.
__device__ inline Places first_maximum(const T* image, int height, int width, int channels, int row,
                                       int column, int relu) {
    if (outside(row, column, height, width)) return all_at(NONE);
    Some best = filled<T, LANES>(-infinity());
    Places at = all_at((inside(row, height) - row) * SIZE_X + inside(column, width) - column);
    // Outside, the nearest pixel is read again, under its own place.
#pragma unroll UNROLL_Y
    for (int r = 0; r < SIZE_Y; ++r) {
        const int h = inside(row + r, height);
        const T* line = image + (long long)h * width * channels;
#pragma unroll UNROLL_X
        for (int s = 0; s < SIZE_X; ++s) {
            const int w = inside(column + s, width);
            take_greater(best, at, load<T, LANES>(line + w * channels),
                         (h - row) * SIZE_X + w - column);
        }
    }
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        if (relu && !(best[i] > 0.0f)) at.words[i / 2] |= NONE << i % 2 * 16;
    }
    return at;
}

// The place of every window's first maximum, in a byte; the number of its pixels where it has none.
extern "C" __global__ void maxpool_places(unsigned char* __restrict__ places,
                                          const T* __restrict__ x, int height, int width,
                                          int channels, int rows, int columns, int top, int left,
                                          int relu) {
    const int c = (blockIdx.z * blockDim.x + threadIdx.x) * LANES;
    const int q = blockIdx.y * blockDim.y + threadIdx.y;
    if (c >= channels || q >= columns) return;
    const int n = blockIdx.x / rows, p = blockIdx.x % rows;
    const Places at = first_maximum(x + (long long)n * height * width * channels + c, height, width,
                                    channels, p * STEP_Y - top, q * STEP_X - left, relu);
    unsigned char* to = places + ((long long)blockIdx.x * columns + q) * channels + c;
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        const int place = place_of(at, i);
        to[i] = (unsigned char)(place < SIZE_Y * SIZE_X ? place : SIZE_Y * SIZE_X);
    }
}

// A window's dy goes to the pixel that was noted, if that is here. A thread writes one pixel: grid
// (images * height, tiles of width, tiles of channels).
extern "C" __global__ void maxpool_places_dx(T* __restrict__ dx,
                                             const unsigned char* __restrict__ places,
                                             const T* __restrict__ dy, int height, int width,
                                             int channels, int rows, int columns, int top,
                                             int left) {
    const int c = (blockIdx.z * blockDim.x + threadIdx.x) * LANES;
    const int w = blockIdx.y * blockDim.y + threadIdx.y;
    if (c >= channels || w >= width) return;
    const int n = blockIdx.x / height, h = blockIdx.x % height;
    const int last_p = last_window(h + top, STEP_Y, rows);
    const int last_q = last_window(w + left, STEP_X, columns);
    float total[LANES] = {};
    for (int p = first_window(h + top, SIZE_Y, STEP_Y); p <= last_p; ++p) {
        const long long line = ((long long)n * rows + p) * columns * channels + c;
        for (int q = first_window(w + left, SIZE_X, STEP_X); q <= last_q; ++q) {
            const int here = (h + top - p * STEP_Y) * SIZE_X + w + left - q * STEP_X;
            const long long at = line + q * channels;
            const Some some = load<T, LANES>(dy + at);
#pragma unroll
            for (int i = 0; i < LANES; ++i) total[i] += places[at + i] == here ? some[i] : 0.0f;
        }
    }
    store<T, LANES>(dx + ((long long)blockIdx.x * width + w) * channels + c, total);
}

// A window's dy goes to its first maximum, where windows do not overlap: STEP >= SIZE. A thread
// writes the pixels from one window to the next: columns and rows count those, `cells_y` rows of
// them, also where no window is.
extern "C" __global__ void maxpool_dx_apart(T* __restrict__ dx, const T* __restrict__ x,
                                            const T* __restrict__ dy, int height, int width,
                                            int channels, int rows, int columns, int top,
                                            int left, int cells_y, int relu) {
    const int c = (blockIdx.z * blockDim.x + threadIdx.x) * LANES;
    const int q = blockIdx.y * blockDim.y + threadIdx.y;
    const int n = blockIdx.x / cells_y, p = blockIdx.x % cells_y;
    const int row = p * STEP_Y - top, column = q * STEP_X - left;
    if (c >= channels || column >= width) return;
    const long long image = (long long)n * height * width * channels + c;
    Places at = all_at(NONE);
    Some share = {};
    if (p < rows && q < columns) {
        share = load<T, LANES>(dy + (((long long)n * rows + p) * columns + q) * channels + c);
        at = first_maximum(x + image, height, width, channels, row, column, relu);
    }
#pragma unroll UNROLL_Y
    for (int r = 0; r < STEP_Y; ++r) {
        T* line = dx + image + (long long)(row + r) * width * channels;
#pragma unroll UNROLL_X
        for (int s = 0; s < STEP_X; ++s) {
            const int here = r < SIZE_Y && s < SIZE_X ? r * SIZE_X + s : -1;
            float v[LANES];
#pragma unroll
            for (int i = 0; i < LANES; ++i) v[i] = place_of(at, i) == here ? share[i] : 0.0f;
            if (within(row + r, height) && within(column + s, width)) {
                store<T, LANES>(line + (column + s) * channels, v);
            }
        }
    }
}

// The same for windows that overlap. A block writes `tile_y` x `tile_x` pixels of some packs of
// channels: it notes the first maximum of every window that reaches them, then adds up. Block
// (packs, tile_x), tile_x a multiple of STEP_X; grid (images * tiles of rows, tiles of columns,
// tiles of channels). Shared memory holds LANES 2-byte places for every pack of the windows that
// may reach a tile, `windows_x` in a row.
extern __shared__ uint4 shared_memory[];

extern "C" __global__ void __launch_bounds__(256, 4)
    maxpool_dx_overlap(T* __restrict__ dx, const T* __restrict__ x, const T* __restrict__ dy,
                       int height, int width, int channels, int rows, int columns, int top,
                       int left, int tile_y, int tile_x, int windows_x, int relu) {
    bf16* noted = reinterpret_cast<bf16*>(shared_memory) + threadIdx.x * LANES;
    const int stride = blockDim.x * LANES, c = blockIdx.z * stride + threadIdx.x * LANES;
    const int tiles = (height + tile_y - 1) / tile_y;
    const int n = blockIdx.x / tiles, h0 = blockIdx.x % tiles * tile_y, w0 = blockIdx.y * tile_x;
    const int h1 = h0 + tile_y < height ? h0 + tile_y : height;
    const int w1 = w0 + tile_x < width ? w0 + tile_x : width;
    const int p0 = first_window(h0 + top, SIZE_Y, STEP_Y);
    const int q0 = first_window(w0 + left, SIZE_X, STEP_X);
    const int high = last_window(h1 - 1 + top, STEP_Y, rows) - p0 + 1;
    const int wide = last_window(w1 - 1 + left, STEP_X, columns) - q0 + 1;
    const long long image = (long long)n * height * width * channels + c;
    for (int i = threadIdx.y; i < high * wide && c < channels; i += blockDim.y) {
        const int p = i / wide, q = i % wide;
        const int row = (p0 + p) * STEP_Y - top, column = (q0 + q) * STEP_X - left;
        put(noted + (p * windows_x + q) * stride,
            first_maximum(x + image, height, width, channels, row, column, relu));
    }
    __syncthreads();
    // Threads of a warp take columns STEP_X apart: those are in equally many windows.
    const int group = tile_x / STEP_X, y = threadIdx.y;
    const int w = w0 + y % group * STEP_X + y / group;
    if (c >= channels || w >= w1) return;
    const int first_q = first_window(w + left, SIZE_X, STEP_X);
    const int last_q = last_window(w + left, STEP_X, columns);
    for (int h = h0; h < h1; ++h) {
        const int last_p = last_window(h + top, STEP_Y, rows);
        float total[LANES] = {};
        for (int p = first_window(h + top, SIZE_Y, STEP_Y); p <= last_p; ++p) {
            const T* line = dy + ((long long)n * rows + p) * columns * channels + c;
            for (int q = first_q; q <= last_q; ++q) {
                const Some some = load<T, LANES>(line + q * channels);
                const Places places =
                    load<bf16, LANES>(noted + ((p - p0) * windows_x + q - q0) * stride);
                const unsigned here = (h + top - p * STEP_Y) * SIZE_X + w + left - q * STEP_X;
#pragma unroll
                for (int k = 0; k < LANES; ++k) {
                    const unsigned differ = places.words[k / 2] ^ here * 0x10001u;
                    if ((differ & (k % 2 ? 0xffff0000u : 0xffffu)) == 0) total[k] += some[k];
                }
            }
        }
        store<T, LANES>(dx + image + ((long long)h * width + w) * channels, total);
    }
}
