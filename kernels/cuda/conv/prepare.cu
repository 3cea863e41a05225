// Copies of filters in the layout that the products want. Macro BF16: the type of elements.

#if BF16
typedef unsigned short Element;
#else
typedef float Element;
#endif

// Filters (groups, K, taps, C) to (groups, C, taps, K).
// Launch: blocks of 32 by 8 threads; grid (ceil(C / 32), ceil(K / 32), groups * taps).
extern "C" __global__ void __launch_bounds__(256)
conv_turn(Element* __restrict__ out, const Element* __restrict__ in, long long filters,
          long long taps, long long channels) {
    __shared__ Element tile[32][33];
    const long long group = blockIdx.z / (int)taps, tap = blockIdx.z % (int)taps;
    const int c0 = blockIdx.x * 32, k0 = blockIdx.y * 32, x = threadIdx.x;
    for (int y = threadIdx.y; y < 32; y += 8) {
        const long long row = ((group * filters + k0 + y) * taps + tap) * channels;
        if (k0 + y < filters && c0 + x < channels) tile[y][x] = in[row + c0 + x];
    }
    __syncthreads();
    for (int y = threadIdx.y; y < 32; y += 8) {
        const long long row = ((group * channels + c0 + y) * taps + tap) * filters;
        if (c0 + y < channels && k0 + x < filters) out[row + k0 + x] = tile[x][y];
    }
}
